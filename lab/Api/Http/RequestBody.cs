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
    public static async Task<JsonObject> ObjectAsync(HttpRequest request, string kind)
    {
        var bytes = await BytesAsync(request);
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
            throw Unrecognized(kind, JsonProblem(e, bytes), bytes);
        }
        catch (ArgumentException)
        {
            throw ApiErrors.BadRequest("the object provided is unrecognized: duplicate keys");
        }
    }

    private static string JsonProblem(JsonException e, byte[] bytes)
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
