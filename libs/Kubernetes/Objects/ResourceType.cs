using System.Text;

namespace AmbientMesh.Kubernetes;

/// <summary>A kind of object as the API server addresses it.</summary>
/// <param name="Group">Empty for the core group.</param>
/// <param name="Plural">Lower-case plural of the path, e.g. <c>endpointslices</c>.</param>
public readonly record struct ResourceType(string Group, string Version, string Plural, string Kind, bool IsNamespaced)
{
    /// <summary><c>v1</c> or <c>group/version</c>.</summary>
    public string ApiVersion => Group.Length == 0 ? Version : $"{Group}/{Version}";

    public override string ToString() => Group.Length == 0 ? Plural : $"{Plural}.{Group}";

    /// <summary>The path of the collection, or of an object when <paramref name="name"/> is given; names are escaped.</summary>
    /// <param name="ns">Null or empty: all namespaces, or a cluster-scoped kind.</param>
    /// <param name="subresource">E.g. <c>status</c>; only with a name.</param>
    /// <exception cref="ArgumentException">A name or namespace that could leave its path segment, or a namespace for a cluster-scoped kind.</exception>
    public string Path(string? ns = null, string? name = null, string? subresource = null)
    {
        var path = new StringBuilder(Group.Length == 0 ? "/api/" : "/apis/").Append(ApiVersion);
        if (!string.IsNullOrEmpty(ns))
        {
            if (!IsNamespaced) throw new ArgumentException($"{this} are cluster-scoped, but namespace '{ns}' was given.", nameof(ns));
            path.Append("/namespaces/").Append(Segment(ns));
        }
        path.Append('/').Append(Plural);
        if (name is null) return path.ToString();
        if (IsNamespaced && string.IsNullOrEmpty(ns)) throw new ArgumentException($"{this} '{name}' was asked for without its namespace.", nameof(ns));
        path.Append('/').Append(Segment(name));
        return subresource is null ? path.ToString() : path.Append('/').Append(subresource).ToString();
    }

    private static string Segment(string name) =>
        name is "" or "." or ".." || name.Contains('/') || name.Contains('%')
            ? throw new ArgumentException($"'{name}' is not an object name.", nameof(name))
            : Uri.EscapeDataString(name);
}
