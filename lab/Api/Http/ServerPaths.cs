using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Access;
using AmbientMesh.Lab.Api.Objects;
using Microsoft.AspNetCore.Http;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>Paths that are no resource: version, health, OpenID, the list of paths.</summary>
internal static class ServerPaths
{
    private static readonly string[] Checks = ["ping", "log", "informer-sync", "poststarthook/rbac/bootstrap-roles", "poststarthook/bootstrap-controller", "shutdown"];

    /// <summary>The version the lab answers as.</summary>
    public static JsonObject Version => new()
    {
        ["major"] = "1",
        ["minor"] = "36",
        ["emulationMajor"] = "1",
        ["emulationMinor"] = "36",
        ["minCompatibilityMajor"] = "1",
        ["minCompatibilityMinor"] = "35",
        ["gitVersion"] = "v1.36.2",
        ["gitCommit"] = "0000000000000000000000000000000000000000",
        ["gitTreeState"] = "clean",
        ["buildDate"] = "2026-08-21T00:00:00Z",
        ["goVersion"] = "go1.26.11",
        ["compiler"] = "gc",
        ["platform"] = "linux/amd64",
    };

    public static Task HandleAsync(HttpContext context, string path, ApiServer server)
    {
        if (!HttpMethods.IsGet(context.Request.Method) && !HttpMethods.IsHead(context.Request.Method)) return Responses.NoPageAsync(context);
        switch (path)
        {
            case "/version":
                return Responses.ObjectAsync(context, 200, Version);
            case "/":
                return Responses.ObjectAsync(context, 200, Paths(server));
            case "/metrics":
                return Responses.TextAsync(context, 200, $"# TYPE lab_objects_revision counter\nlab_objects_revision {server.Store.Revision}\n", "text/plain; version=0.0.4");
            case "/.well-known/openid-configuration":
                return Responses.ObjectAsync(context, 200, OpenId(context));
            case "/openid/v1/jwks":
                return KeySetAsync(context, server);
        }
        var parts = path.Split('/', 3, StringSplitOptions.RemoveEmptyEntries);
        return parts.Length > 0 && parts[0] is "healthz" or "readyz" or "livez" ? HealthAsync(context, parts[0], parts.Length > 1 ? string.Join('/', parts[1..]) : null) : Responses.NoPageAsync(context);
    }

    private static Task HealthAsync(HttpContext context, string endpoint, string? check)
    {
        if (check is not null) return Checks.Contains(check, StringComparer.Ordinal) ? Responses.TextAsync(context, 200, "ok") : Responses.NoPageAsync(context);
        if (!context.Request.Query.ContainsKey("verbose")) return Responses.TextAsync(context, 200, "ok");
        var excluded = context.Request.Query["exclude"].OfType<string>().ToHashSet(StringComparer.Ordinal);
        var lines = Checks.Select(c => excluded.Contains(c) ? $"[+]{c} excluded: ok" : $"[+]{c} ok");
        return Responses.TextAsync(context, 200, string.Join('\n', lines) + $"\n{endpoint} check passed\n");
    }

    private static JsonObject OpenId(HttpContext context) => new()
    {
        ["issuer"] = ServiceAccountTokens.Issuer,
        ["jwks_uri"] = $"https://{context.Request.Host}/openid/v1/jwks",
        ["response_types_supported"] = new JsonArray("id_token"),
        ["subject_types_supported"] = new JsonArray("public"),
        ["id_token_signing_alg_values_supported"] = new JsonArray("RS256"),
    };

    private static Task KeySetAsync(HttpContext context, ApiServer server)
    {
        var accept = context.Request.Headers.Accept.ToString();
        if (accept.Length > 0 && !accept.Contains("*/*", StringComparison.Ordinal) && !accept.Contains("application/jwk-set+json", StringComparison.Ordinal))
            throw new ApiException(406, "NotAcceptable", "406: Not Acceptable\n\nAvailable representations: application/jwk-set+json", []);
        return Responses.ObjectAsync(context, 200, server.Tokens.KeySet(), contentType: "application/jwk-set+json");
    }

    private static JsonObject Paths(ApiServer server)
    {
        var paths = new SortedSet<string>(StringComparer.Ordinal)
        {
            "/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/apis/", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/openapi/v3/", "/openid/v1/jwks", "/readyz", "/version",
        };
        foreach (var resource in server.Store.Registry.All.Where(r => r.Group.Length > 0))
        {
            paths.Add($"/apis/{resource.Group}");
            paths.Add($"/apis/{resource.Group}/{resource.Version}");
        }
        return new JsonObject { ["paths"] = new JsonArray([.. paths.Select(p => (JsonNode)JsonValue.Create(p)!)]) };
    }
}
