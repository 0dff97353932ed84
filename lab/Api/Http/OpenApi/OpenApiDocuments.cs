using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using Microsoft.AspNetCore.Http;

namespace AmbientMesh.Lab.Api.Http.OpenApi;

/// <summary>OpenAPI v3: one document a group and version, found through the root with content hashes. Version 2 is not served.</summary>
internal sealed class OpenApiDocuments(ApiServer server)
{
    private readonly ConcurrentDictionary<string, (object Source, byte[] Body, string Hash)> _cache = new(StringComparer.Ordinal);

    public Task HandleAsync(HttpContext context, string path)
    {
        if (path == "/openapi/v3") return RootAsync(context);
        if (!path.StartsWith("/openapi/v3/", StringComparison.Ordinal)) return Responses.NoPageAsync(context);
        var key = path["/openapi/v3/".Length..];
        if (Document(key) is not { } document) return Responses.NoPageAsync(context);
        var asked = context.Request.Query["hash"].ToString();
        if (asked.Length > 0 && asked != document.Hash)
        {
            context.Response.Redirect($"{path}?hash={document.Hash}", permanent: true);
            return Task.CompletedTask;
        }
        var tag = $"\"{document.Hash}\"";
        context.Response.Headers.ETag = tag;
        context.Response.Headers.Vary = "Accept";
        if (asked.Length > 0) context.Response.Headers.CacheControl = "public, immutable";
        if (context.Request.Headers.IfNoneMatch.ToString() == tag)
        {
            context.Response.StatusCode = 304;
            return Task.CompletedTask;
        }
        return Responses.BytesAsync(context, 200, document.Body, "application/json");
    }

    private Task RootAsync(HttpContext context)
    {
        var paths = new JsonObject();
        foreach (var key in Keys().Order(StringComparer.Ordinal))
            paths[key] = new JsonObject { ["serverRelativeURL"] = $"/openapi/v3/{key}?hash={Document(key)!.Value.Hash}" };
        return Responses.BytesAsync(context, 200, Responses.Bytes(new JsonObject { ["paths"] = paths }), "text/plain; charset=utf-8");
    }

    private IEnumerable<string> Keys() => server.Store.Registry.All.Select(KeyOf).Distinct(StringComparer.Ordinal);

    private static string KeyOf(ApiResource r) => r.Group.Length == 0 ? $"api/{r.Version}" : $"apis/{r.Group}/{r.Version}";

    private (byte[] Body, string Hash)? Document(string key)
    {
        var resources = server.Store.Registry.All.Where(r => KeyOf(r) == key).ToList();
        if (resources.Count == 0) return null;
        // Built-in groups never change; custom ones are rebuilt when any of their versions was replaced.
        object source = resources.Exists(r => r.IsCustom) ? string.Join(",", resources.Select(r => System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(r))) : "";
        if (_cache.TryGetValue(key, out var cached) && Equals(cached.Source, source)) return (cached.Body, cached.Hash);
        var body = Responses.Bytes(OpenApiWriter.Document(resources));
        var hash = Convert.ToHexString(SHA512.HashData(body));
        _cache[key] = (source, body, hash);
        return (body, hash);
    }
}
