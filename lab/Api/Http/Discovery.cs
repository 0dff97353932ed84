using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using Microsoft.AspNetCore.Http;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>What the server serves: aggregated and plain discovery.</summary>
internal sealed class Discovery(ApiServer server)
{
    private const string Aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

    /// <summary>Whether the path asks for discovery.</summary>
    public static bool Handles(string path) => path.Split('/', StringSplitOptions.RemoveEmptyEntries) is ["api"] or ["apis"] or ["api", "v1"] or ["apis", _] or ["apis", _, _];

    /// <summary>Answers a path that <see cref="Handles"/>.</summary>
    public Task HandleAsync(HttpContext context, string path)
    {
        var all = server.Store.Registry.All;
        var parts = path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        switch (parts)
        {
            case ["api"]:
                if (WantsAggregated(context)) return AggregatedAsync(context, all.Where(r => r.Group.Length == 0));
                return Responses.ObjectAsync(context, 200, new JsonObject
                {
                    ["kind"] = "APIVersions",
                    ["versions"] = new JsonArray("v1"),
                    ["serverAddressByClientCIDRs"] = new JsonArray(new JsonObject { ["clientCIDR"] = "0.0.0.0/0", ["serverAddress"] = context.Request.Host.ToString() }),
                });
            case ["apis"]:
                if (WantsAggregated(context)) return AggregatedAsync(context, all.Where(r => r.Group.Length > 0));
                var groups = all.Where(r => r.Group.Length > 0).GroupBy(r => r.Group, StringComparer.Ordinal).Select(g => Group(g.Key, g));
                return Responses.ObjectAsync(context, 200, new JsonObject { ["kind"] = "APIGroupList", ["apiVersion"] = "v1", ["groups"] = new JsonArray([.. groups]) });
            case ["api", "v1"]:
                return Responses.ObjectAsync(context, 200, ResourceList("v1", all.Where(r => r.Group.Length == 0)));
            case ["apis", var group]:
                var inGroup = all.Where(r => r.Group == group).ToList();
                if (inGroup.Count == 0) return Responses.NoPageAsync(context);
                var body = Group(group, inGroup);
                body.Insert(0, "kind", "APIGroup");
                body.Insert(1, "apiVersion", "v1");
                return Responses.ObjectAsync(context, 200, body);
            case ["apis", var g, var version]:
                var served = all.Where(r => r.Group == g && r.Version == version).ToList();
                return served.Count == 0 ? Responses.NoPageAsync(context) : Responses.ObjectAsync(context, 200, ResourceList($"{g}/{version}", served));
            default:
                return Responses.NoPageAsync(context);
        }
    }

    private static bool WantsAggregated(HttpContext context) =>
        context.Request.Headers.Accept.ToString().Split(',').Any(a => a.Contains("as=APIGroupDiscoveryList", StringComparison.Ordinal) && a.Contains("v=v2", StringComparison.Ordinal) && !a.Contains("v2beta1", StringComparison.Ordinal));

    private static JsonObject Group(string name, IEnumerable<ApiResource> resources)
    {
        var versions = Versions(resources).Select(v => new JsonObject { ["groupVersion"] = $"{name}/{v}", ["version"] = v }).ToList();
        return new JsonObject { ["name"] = name, ["versions"] = new JsonArray([.. versions]), ["preferredVersion"] = versions[0].Copy() };
    }

    /// <summary>Versions by priority: stable before beta before alpha, higher first.</summary>
    private static IEnumerable<string> Versions(IEnumerable<ApiResource> resources) =>
        resources.Select(r => r.Version).Distinct(StringComparer.Ordinal).OrderByDescending(VersionRank).ThenByDescending(v => v, StringComparer.Ordinal);

    internal static (int Stability, int Major, int Minor) VersionRank(string version)
    {
        var match = System.Text.RegularExpressions.Regex.Match(version, @"^v(\d+)(?:(alpha|beta)(\d+))?$");
        if (!match.Success) return (0, 0, 0);
        var stability = match.Groups[2].Value switch { "" => 3, "beta" => 2, _ => 1 };
        return (stability, int.Parse(match.Groups[1].Value), stability == 3 ? 0 : int.Parse(match.Groups[3].Value));
    }

    private static JsonObject ResourceList(string groupVersion, IEnumerable<ApiResource> resources)
    {
        var list = new JsonArray();
        foreach (var r in resources.OrderBy(r => r.IsCustom ? "" : r.Plural, StringComparer.Ordinal))
        {
            var entry = new JsonObject { ["name"] = r.Plural, ["singularName"] = r.Singular, ["namespaced"] = r.IsNamespaced, ["kind"] = r.Kind, ["verbs"] = Texts(r.Verbs) };
            if (r.ShortNames.Count > 0) entry["shortNames"] = Texts(r.ShortNames);
            if (r.Categories.Count > 0) entry["categories"] = Texts(r.Categories);
            if (r.IsStored && r.Plural != "componentstatuses") entry["storageVersionHash"] = Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes($"{r.Group}/{r.Version}/{r.Kind}")).AsSpan(0, 8));
            list.Add(entry);
            foreach (var sub in r.IsCustom ? r.Subresources : [.. r.Subresources.Order(StringComparer.Ordinal)])
            {
                var (kind, verbs) = Subresource(r, sub);
                var child = new JsonObject { ["name"] = $"{r.Plural}/{sub}", ["singularName"] = "", ["namespaced"] = r.IsNamespaced };
                if (kind.Group != r.Group || kind.Version != r.Version)
                {
                    child["group"] = kind.Group;
                    child["version"] = kind.Version;
                }
                child["kind"] = kind.Kind;
                child["verbs"] = Texts(verbs);
                list.Add(child);
            }
        }
        var result = new JsonObject { ["kind"] = "APIResourceList", ["groupVersion"] = groupVersion, ["resources"] = list };
        if (groupVersion != "v1") result.Insert(1, "apiVersion", "v1");   // the core group's list has none
        return result;
    }

    private static JsonArray Texts(IEnumerable<string> values) => new([.. values.Select(v => (JsonNode)JsonValue.Create(v)!)]);

    private static ((string Group, string Version, string Kind) Kind, string[] Verbs) Subresource(ApiResource r, string sub) => sub switch
    {
        "status" or "approval" or "ephemeralcontainers" or "resize" => ((r.Group, r.Version, r.Kind), ["get", "patch", "update"]),
        "scale" => (("autoscaling", "v1", "Scale"), ["get", "patch", "update"]),
        "finalize" => ((r.Group, r.Version, r.Kind), ["update"]),
        "token" => (("authentication.k8s.io", "v1", "TokenRequest"), ["create"]),
        "binding" => ((r.Group, r.Version, "Binding"), ["create"]),
        "eviction" => (("policy", "v1", "Eviction"), ["create"]),
        "log" => ((r.Group, r.Version, r.Kind), ["get"]),
        "exec" => ((r.Group, r.Version, "PodExecOptions"), ["create", "get"]),
        "attach" => ((r.Group, r.Version, "PodAttachOptions"), ["create", "get"]),
        "portforward" => ((r.Group, r.Version, "PodPortForwardOptions"), ["create", "get"]),
        _ => ((r.Group, r.Version, $"{r.Kind}ProxyOptions"), ["create", "delete", "get", "patch", "update"]),
    };

    private static async Task AggregatedAsync(HttpContext context, IEnumerable<ApiResource> resources)
    {
        var items = new JsonArray();
        foreach (var group in resources.GroupBy(r => r.Group, StringComparer.Ordinal))
        {
            var versions = new JsonArray([.. Versions(group).Select(v => new JsonObject
            {
                ["version"] = v, ["resources"] = new JsonArray([.. group.Where(r => r.Version == v).OrderBy(r => r.Plural, StringComparer.Ordinal).Select(Aggregate)]), ["freshness"] = "Current",
            })]);
            items.Add(new JsonObject { ["metadata"] = group.Key.Length == 0 ? new JsonObject() : new JsonObject { ["name"] = group.Key }, ["versions"] = versions });
        }
        var body = Responses.Bytes(new JsonObject { ["kind"] = "APIGroupDiscoveryList", ["apiVersion"] = "apidiscovery.k8s.io/v2", ["metadata"] = new JsonObject(), ["items"] = items });
        var tag = $"\"{Convert.ToHexString(SHA512.HashData(body))}\"";
        context.Response.Headers.ETag = tag;
        context.Response.Headers.Vary = "Accept";
        context.Response.Headers.CacheControl = "public";
        if (context.Request.Headers.IfNoneMatch.ToString() == tag)
        {
            context.Response.StatusCode = 304;
            return;
        }
        await Responses.BytesAsync(context, 200, body, Aggregated);
    }

    private static JsonObject Aggregate(ApiResource r)
    {
        JsonObject Kind(string group, string version, string kind) => new()
        {
            ["group"] = r.IsCustom || group != r.Group ? group : "",
            ["version"] = r.IsCustom || group != r.Group ? version : "",
            ["kind"] = kind,
        };
        var result = new JsonObject
        {
            ["resource"] = r.Plural,
            ["responseKind"] = Kind(r.Group, r.Version, r.Kind),
            ["scope"] = r.IsNamespaced ? "Namespaced" : "Cluster",
            ["singularResource"] = r.Singular,
            ["verbs"] = Texts(r.Verbs),
        };
        if (r.ShortNames.Count > 0) result["shortNames"] = Texts(r.ShortNames);
        if (r.Categories.Count > 0) result["categories"] = Texts(r.Categories);
        if (r.Subresources.Count == 0) return result;
        result["subresources"] = new JsonArray([.. (r.IsCustom ? r.Subresources : [.. r.Subresources.Order(StringComparer.Ordinal)]).Select(s =>
        {
            var (kind, verbs) = Subresource(r, s);
            return new JsonObject { ["subresource"] = s, ["responseKind"] = Kind(kind.Group, kind.Version, kind.Kind), ["verbs"] = Texts(verbs) };
        })]);
        return result;
    }
}
