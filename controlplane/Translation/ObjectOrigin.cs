using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Translation.Policy;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>The Kubernetes object, in one version, from which a resource follows.</summary>
/// <param name="Generation">Version of the object's spec; 0 for kinds without one (Service, EndpointSlice).</param>
/// <param name="ResourceVersion">Version of the whole object; empty when unknown.</param>
public sealed record ObjectOrigin(ResourceType Type, ObjectKey Key, long Generation, string ResourceVersion)
{
    public static ObjectOrigin Of<T>(T item) where T : KubernetesObject, IResource<T> =>
        new(T.Type, item.Key, item.Metadata.Generation ?? 0, item.Metadata.ResourceVersion ?? "");

    public static ObjectOrigin Of(ResourceType type, JsonObject item) =>
        new(type, GenericObjects.KeyOf(item), PolicyObject.GenerationOf(item), GenericObjects.VersionOf(item));

    public override string ToString() => $"{Type.Kind} {Key} generation {Generation}";
}
