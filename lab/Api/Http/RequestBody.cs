using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using Microsoft.AspNetCore.Http;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>Reads request bodies: JSON, YAML, Kubernetes protobuf.</summary>
internal static class RequestBody
{
    private const int LimitBytes = 3 * 1024 * 1024;

    public static async Task<byte[]> BytesAsync(HttpRequest request)
    {
        if (request.ContentLength > LimitBytes) throw TooLarge();
        using var buffer = new MemoryStream();
        var chunk = new byte[16 * 1024];
        int read;
        while ((read = await request.Body.ReadAsync(chunk, request.HttpContext.RequestAborted)) > 0)
        {
            if (buffer.Length + read > LimitBytes) throw TooLarge();
            buffer.Write(chunk, 0, read);
        }
        return buffer.ToArray();
    }

    private static ApiException TooLarge() => new(413, "RequestEntityTooLarge", $"Request entity too large: limit is {LimitBytes}");

    public static string ContentType(HttpRequest request) => (request.ContentType ?? "").Split(';')[0].Trim().ToLowerInvariant();

    /// <summary>An object of <paramref name="kind"/>; 400 when unreadable, 415 for another content type.</summary>
    public static async Task<JsonObject> ObjectAsync(HttpRequest request, string kind) => (await ObjectWithDuplicatesAsync(request, kind)).Object;

    /// <summary>As <see cref="ObjectAsync"/>, with the keys that occurred twice.</summary>
    public static async Task<(JsonObject Object, List<string> Duplicates)> ObjectWithDuplicatesAsync(HttpRequest request, string kind)
    {
        var bytes = await BytesAsync(request);
        var o = Decoded(request, bytes, kind);
        return (o, ContentType(request) is "" or "application/json" ? Duplicates(bytes) : []);
    }

    private static JsonObject Decoded(HttpRequest request, byte[] bytes, string kind)
    {
        switch (ContentType(request))
        {
            case "" or "application/json":
                return Json(bytes, kind);
            case "application/yaml" or "application/x-yaml" or "text/yaml":
                return YamlText.Parse(Encoding.UTF8.GetString(bytes)) as JsonObject ?? throw Unrecognized(kind, "not an object", bytes);
            case "application/vnd.kubernetes.protobuf":
                return ProtobufObjects.Decode(bytes);
            default:
                throw new ApiException(415, "UnsupportedMediaType",
                    "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf");
        }
    }

    /// <summary>Keys that occur twice in one object of a JSON body, as <c>duplicate field "a.b"</c>.</summary>
    public static List<string> Duplicates(byte[] json)
    {
        var found = new List<string>();
        if (json.Length == 0 || json[0] != (byte)'{') return found;
        var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = 256 });
        var open = new Stack<Level>();
        var path = "";
        while (reader.Read())
        {
            var inList = open.TryPeek(out var level) && level.IsList;
            if (inList && reader.TokenType is not (JsonTokenType.EndArray or JsonTokenType.EndObject)) path = $"{level!.Path}[{level.Items++}]";
            switch (reader.TokenType)
            {
                case JsonTokenType.StartObject or JsonTokenType.StartArray:
                    open.Push(new Level(path, reader.TokenType == JsonTokenType.StartArray));
                    break;
                case JsonTokenType.EndObject or JsonTokenType.EndArray:
                    open.Pop();
                    break;
                case JsonTokenType.PropertyName:
                    var name = reader.GetString()!;
                    path = level!.Path.Length == 0 ? name : $"{level.Path}.{name}";
                    if (!level.Keys.Add(name)) found.Add($"duplicate field \"{path}\"");
                    break;
            }
        }
        return found;
    }

    private sealed class Level(string path, bool isList)
    {
        public string Path => path;
        public bool IsList => isList;
        public int Items { get; set; }
        public HashSet<string> Keys { get; } = new(StringComparer.Ordinal);
    }

    private static JsonObject Json(byte[] bytes, string kind)
    {
        if (bytes.Length == 0) throw Unrecognized(kind, "unexpected end of JSON input", bytes);
        try
        {
            var node = JsonNode.Parse(bytes, documentOptions: new JsonDocumentOptions { MaxDepth = 256 });
            return node as JsonObject ?? throw Unrecognized(kind, "not an object", bytes);
        }
        catch (JsonException e)
        {
            throw Unrecognized(kind, Problem(e, bytes), bytes);
        }
        catch (ArgumentException)
        {
            throw ApiErrors.BadRequest("the object provided is unrecognized: duplicate keys");
        }
    }

    /// <summary>What is wrong with a JSON text, in the words of Go's decoder.</summary>
    public static string Problem(JsonException e, byte[] bytes)
    {
        var at = (int)(e.BytePositionInLine ?? 0);
        if (e.LineNumber == 0 && at < bytes.Length && at > 0 && bytes[at - 1] == '{') return $"invalid character '{(char)bytes[at]}' looking for beginning of object key string";
        return at >= bytes.Length ? "unexpected end of JSON input" : $"invalid character '{(char)bytes[at]}' looking for beginning of value";
    }

    private static ApiException Unrecognized(string kind, string problem, byte[] bytes)
    {
        var shown = bytes.Length == 0 ? "<empty>" : Encoding.UTF8.GetString(bytes.AsSpan(0, Math.Min(bytes.Length, 1024)));
        return ApiErrors.BadRequest($"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {problem} ({shown})");
    }

    /// <summary>An optional options object (DeleteOptions): null when the body is empty.</summary>
    public static async Task<JsonObject?> OptionalAsync(HttpRequest request, string kind)
    {
        var bytes = await BytesAsync(request);
        if (bytes.Length == 0) return null;
        return ContentType(request) == "application/vnd.kubernetes.protobuf" ? ProtobufObjects.Decode(bytes) : Json(bytes, kind);
    }
}
