using Microsoft.AspNetCore.Http;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>What a request path and method ask for.</summary>
public sealed record RequestInfo
{
    public required string Path { get; init; }
    /// <summary>RBAC verb: get, list, watch, create, update, patch, delete, deletecollection; the lower-case method for other paths.</summary>
    public required string Verb { get; init; }
    public bool IsResource { get; init; }
    public string Group { get; init; } = "";
    public string Version { get; init; } = "";
    public string Namespace { get; init; } = "";
    public string Resource { get; init; } = "";
    public string Name { get; init; } = "";
    /// <summary>The name access is judged by: <see cref="Name"/>, or the one a list selects by <c>metadata.name</c>.</summary>
    public string AccessName { get; init; } = "";
    public string Subresource { get; init; } = "";
    /// <summary>What follows the subresource (proxy paths).</summary>
    public string Rest { get; init; } = "";

    /// <summary>Reads <c>/api/v1/…</c> and <c>/apis/GROUP/VERSION/…</c>; anything else is a plain path.</summary>
    public static RequestInfo Of(HttpRequest request)
    {
        var path = request.Path.Value ?? "/";
        var parts = path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        var plain = new RequestInfo { Path = path, Verb = request.Method.ToLowerInvariant() };
        int at;
        string group, version;
        if (parts is ["api", _, _, ..]) (group, version, at) = ("", parts[1], 2);
        else if (parts is ["apis", _, _, _, ..]) (group, version, at) = (parts[1], parts[2], 3);
        else return plain;

        var isWatchPath = parts[at] == "watch" && parts.Length > at + 1;
        if (isWatchPath) at++;
        var ns = "";
        // namespaces/NAME/RESOURCE…; namespaces/NAME and its own subresources stay with the namespace.
        if (parts[at] == "namespaces" && parts.Length > at + 2 && !(group.Length == 0 && parts.Length == at + 3 && parts[at + 2] is "status" or "finalize"))
        {
            ns = parts[at + 1];
            at += 2;
        }
        var resource = parts[at];
        var name = parts.Length > at + 1 ? parts[at + 1] : "";
        if (resource == "namespaces" && ns.Length == 0) ns = name;
        return plain with
        {
            IsResource = true,
            Group = group,
            Version = version,
            Namespace = ns,
            Resource = resource,
            Name = name,
            AccessName = name.Length > 0 ? name : SelectedName(request),
            Subresource = parts.Length > at + 2 ? parts[at + 2] : "",
            Rest = parts.Length > at + 3 ? string.Join('/', parts[(at + 3)..]) : "",
            Verb = ResourceVerb(request, name, isWatchPath),
        };
    }

    private static string SelectedName(HttpRequest request)
    {
        if (request.Method is not ("GET" or "HEAD" or "DELETE")) return "";
        foreach (var term in request.Query["fieldSelector"].ToString().Split(','))
            if (term.StartsWith("metadata.name=", StringComparison.Ordinal)) return term["metadata.name=".Length..].TrimStart('=');
        return "";
    }

    private static string ResourceVerb(HttpRequest request, string name, bool isWatchPath) => request.Method switch
    {
        "GET" or "HEAD" when isWatchPath || (IsTrue(request.Query["watch"]) && name.Length == 0) => "watch",
        "GET" or "HEAD" => name.Length == 0 ? "list" : "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => name.Length == 0 ? "deletecollection" : "delete",
        _ => request.Method.ToLowerInvariant(),
    };

    /// <summary>How Kubernetes reads a boolean query value.</summary>
    public static bool IsTrue(string? value) => value is not null && value.ToLowerInvariant() is "1" or "true" or "t" or "" && value is not null;
}
