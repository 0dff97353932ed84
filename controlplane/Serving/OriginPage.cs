using System.Text.Json;
using AmbientMesh.ControlPlane.Translation;

namespace AmbientMesh.ControlPlane.Serving;

/// <summary><c>/debug/origins</c>: which Kubernetes objects made the resources asked for. One entry per resource and object, in the order asked.</summary>
/// <remarks>
/// <c>resource</c> and <c>typeUrl</c> are those of the wire; <c>kind</c>, <c>apiVersion</c>, <c>namespace</c>, <c>name</c>, <c>generation</c> and <c>resourceVersion</c> the object's,
/// in the version that is in force: of an object whose newest version cannot be used, that is an older one. A name that no resource has gives no entry.
/// </remarks>
internal static class OriginPage
{
    /// <param name="mesh">Read here and now: call it on the loop.</param>
    /// <param name="names">Resource names: uids, <c>namespace/hostname</c>, <c>namespace/policy</c>; none asks for all there are.</param>
    public static void Write(Utf8JsonWriter json, MeshCollections mesh, IReadOnlyList<string> names)
    {
        var asked = names.Count > 0 ? names : [.. mesh.Addresses.Items.Select(i => i.Key).Concat(mesh.Authorizations.Items.Select(i => i.Key)).Distinct().Order(StringComparer.Ordinal)];
        json.WriteStartArray();
        foreach (var name in asked)
            foreach (var (typeUrl, origin) in mesh.OriginsOf(name))
                WriteOrigin(json, name, typeUrl, origin);
        json.WriteEndArray();
    }

    private static void WriteOrigin(Utf8JsonWriter json, string resource, string typeUrl, ObjectOrigin origin)
    {
        json.WriteStartObject();
        json.WriteString("resource", resource);
        json.WriteString("typeUrl", typeUrl);
        json.WriteString("kind", origin.Type.Kind);
        json.WriteString("apiVersion", origin.Type.ApiVersion);
        json.WriteString("namespace", origin.Key.Namespace);
        json.WriteString("name", origin.Key.Name);
        json.WriteNumber("generation", origin.Generation);
        json.WriteString("resourceVersion", origin.ResourceVersion);
        json.WriteEndObject();
    }
}
