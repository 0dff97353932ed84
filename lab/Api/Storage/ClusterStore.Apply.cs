using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Semantics.Patching;

namespace AmbientMesh.Lab.Api.Storage;

/// <content>Server-side apply.</content>
public sealed partial class ClusterStore
{
    /// <summary>Applies a configuration: the manager's fields become what it says. Creates the object where there is none.</summary>
    internal (JsonObject Object, bool Created) Apply(ApiResource resource, string ns, string name, string subresource, JsonObject applied, WriteOptions options)
    {
        lock (_gate)
        {
            if (TryGet(resource.GroupResource, ns, name) is null) return (Create(resource, applied, ns, options), true);
            return (Write(resource, ns, name, subresource, current =>
            {
                var copy = current.Copy();
                MergePatch.Apply(copy, applied);
                return copy;
            }, options), false);
        }
    }
}
