using System.Buffers.Text;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>Lists: resourceVersion, chunks, forms.</summary>
internal static class ListRequests
{
    private const string TokenVersion = "meta.k8s.io/v1";

    public static Task ListAsync(RequestContext c) => AnswerAsync(c, Read(c));

    private static ObjectList Read(RequestContext c)
    {
        var selection = c.Selection();
        var version = c.Query("resourceVersion") ?? "";
        var match = c.Query("resourceVersionMatch") ?? "";
        var token = c.Query("continue") ?? "";
        var limit = long.TryParse(c.Query("limit"), out var l) ? l : 0;
        CheckOptions(c, version, match, token);
        if (token.Length > 0)
        {
            if (version is not ("" or "0")) throw ApiErrors.BadRequest("specifying resource version is not allowed when using continue");
            return Continue(c, selection, token, limit);
        }
        if (version.Length > 0 && !ulong.TryParse(version, out _))
            throw ApiErrors.BadRequest($"invalid resource version: resourceVersion: Invalid value: {FieldError.Quote(version)}: strconv.ParseUint: parsing {FieldError.Quote(version)}: invalid syntax");
        CheckNotTooNew(c, version);
        var exact = match == "Exact" || (match.Length == 0 && limit > 0 && version is not ("" or "0"));
        var list = exact ? c.Store.ListAt(c.Resource.GroupResource, selection, long.Parse(version)) : c.Store.List(c.Resource.GroupResource, selection);
        return version == "0" ? list : Chunk(c, list, selection, limit, "");
    }

    private static void CheckOptions(RequestContext c, string version, string match, string token)
    {
        List<FieldError> errors = [];
        if (match.Length > 0)
        {
            if (version.Length == 0) errors.Add(FieldError.Forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"));
            if (token.Length > 0) errors.Add(FieldError.Forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"));
            if (match is not ("Exact" or "NotOlderThan")) errors.Add(FieldError.Unsupported("resourceVersionMatch", FieldError.Quote(match), ["Exact", "NotOlderThan", ""]));
            if (match == "Exact" && version == "0") errors.Add(FieldError.Forbidden("resourceVersionMatch", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
        }
        if (c.Query("sendInitialEvents") is not null) errors.Add(FieldError.Forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        if (errors.Count > 0) throw ApiErrors.Invalid("meta.k8s.io", "ListOptions", "", errors);
    }

    /// <summary>504 when a client asks for a state this server has not reached.</summary>
    public static void CheckNotTooNew(RequestContext c, string? version)
    {
        if (!long.TryParse(version, out var wanted) || wanted <= c.Store.Revision) return;
        throw new ApiException(504, "Timeout", $"Timeout: Too large resource version: {wanted}, current: {c.Store.Revision}", new JsonObject
        {
            ["causes"] = new JsonArray(new JsonObject { ["reason"] = "ResourceVersionTooLarge", ["message"] = "Too large resource version" }),
            ["retryAfterSeconds"] = JsonTree.Number(1),
        });
    }

    private static ObjectList Continue(RequestContext c, Selection selection, string token, long limit)
    {
        var (revision, start) = ReadToken(token);
        ObjectList list;
        try
        {
            list = revision < 0 ? c.Store.List(c.Resource.GroupResource, selection) : c.Store.ListAt(c.Resource.GroupResource, selection, revision);
        }
        catch (ApiException e) when (e.Code == 410)
        {
            throw new ApiException(410, "Expired",
                "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.")
            {
                Continue = WriteToken(-1, start),
            };
        }
        return Chunk(c, list, selection, limit, start);
    }

    private static ObjectList Chunk(RequestContext c, ObjectList list, Selection selection, long limit, string start)
    {
        var key = start.TrimStart('/');
        var items = key.Length == 0 ? list.Items : [.. list.Items.Where(o => string.CompareOrdinal(Key(o, selection), key) >= 0)];
        if (limit <= 0 || items.Count <= limit) return list with { Items = items };
        var chunk = items.Take((int)limit).ToList();
        var hasSelector = selection.Labels is { IsEverything: false } || selection.Fields is { IsEverything: false };
        return list with
        {
            Items = chunk,
            Continue = WriteToken(list.ResourceVersion, "/" + Key(chunk[^1], selection) + "\0"),
            Remaining = hasSelector ? null : items.Count - limit,
        };
    }

    private static string Key(JsonObject o, Selection selection) => selection.Namespace is null && o.Namespace().Length > 0 ? $"{o.Namespace()}/{o.Name()}" : o.Name();

    private static string WriteToken(long revision, string start)
    {
        var json = $"{{\"v\":\"{TokenVersion}\",\"rv\":{revision},\"start\":{JsonSerializer.Serialize(start)}}}";
        return Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json));
    }

    /// <summary>Unpadded base64 whose last character may carry surplus bits.</summary>
    private static byte[] Lenient(string token)
    {
        const string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        var text = token.TrimEnd('=');
        var surplus = (text.Length % 4) switch { 2 => 15, 3 => 3, _ => 0 };
        var last = text.Length > 0 ? alphabet.IndexOf(text[^1], StringComparison.Ordinal) : -1;
        return Base64Url.DecodeFromChars(surplus > 0 && last >= 0 ? text[..^1] + alphabet[last & ~surplus] : text);
    }

    private static (long Revision, string Start) ReadToken(string token)
    {
        try
        {
            var json = JsonNode.Parse(Lenient(token));
            if (json.Text("v") == TokenVersion && json.Text("start") is { Length: > 0 } start && json.Number("rv") is { } revision) return (revision, start);
            throw ApiErrors.BadRequest("continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)");
        }
        catch (FormatException)
        {
            throw ApiErrors.BadRequest("invalid continue token: continue key is not valid: illegal base64 data at input byte 0");
        }
        catch (JsonException)
        {
            var first = Encoding.Latin1.GetString(Lenient(token))[..1];
            throw ApiErrors.BadRequest($"invalid continue token: continue key is not valid: invalid character '{first}' looking for beginning of value");
        }
    }

    /// <summary>Answers with a list in the form the client asked for.</summary>
    public static Task AnswerAsync(RequestContext c, ObjectList list)
    {
        var accept = Negotiation.Of(c.Request, c.Resource.IsCustom);
        var metadata = new JsonObject { ["resourceVersion"] = list.ResourceVersion.ToString() };
        if (list.Continue is not null || (c.Resource.IsCustom && accept.Form == ObjectForm.Full)) metadata["continue"] = list.Continue ?? "";
        if (list.Remaining is { } remaining) metadata["remainingItemCount"] = JsonTree.Number(remaining);
        var items = list.Items.Select(c.View.Out).ToList();
        switch (accept.Form)
        {
            case ObjectForm.Table:
                var table = Tables.TableWriter.Of(c, items, null);
                table["metadata"] = metadata;
                return Responses.ObjectAsync(c.Http, 200, table, accept.Yaml);
            case ObjectForm.PartialMetadata:
                return WriteAsync(c, "PartialObjectMetadataList", "meta.k8s.io/v1", metadata, items.Select(PartialMetadata.Of), accept.Yaml);
            default:
                return WriteAsync(c, c.View.Requested.ListKind, c.View.Requested.ApiVersion, metadata,
                    c.Resource.IsCustom ? items.Select(i => i.Copy()) : items.Select(WithoutKind), accept.Yaml);
        }
    }

    private static JsonObject WithoutKind(JsonObject o)
    {
        var copy = o.Copy();
        copy.Remove("kind");
        copy.Remove("apiVersion");
        return copy;
    }

    private static Task WriteAsync(RequestContext c, string kind, string apiVersion, JsonObject metadata, IEnumerable<JsonObject> items, bool yaml) =>
        Responses.ObjectAsync(c.Http, 200, c.Resource.IsCustom && kind == c.View.Requested.ListKind
            ? new JsonObject { ["apiVersion"] = apiVersion, ["items"] = new JsonArray([.. items]), ["kind"] = kind, ["metadata"] = metadata }
            : new JsonObject { ["kind"] = kind, ["apiVersion"] = apiVersion, ["metadata"] = metadata, ["items"] = new JsonArray([.. items]) }, yaml);
}
