using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Semantics.Ownership;

namespace AmbientMesh.Lab.Api.Storage;

/// <content>Server-side apply.</content>
public sealed partial class ClusterStore
{
    /// <summary>Server-side apply by a component of the cluster.</summary>
    public JsonObject Apply(GroupResource resource, JsonObject applied, WriteOptions options)
    {
        var r = Registry.Get(resource);
        applied = applied.Copy();
        applied["apiVersion"] ??= r.ApiVersion;
        applied["kind"] ??= r.Kind;
        return Apply(r, r.IsNamespaced ? applied.Namespace() : "", applied.Name(), "", applied, options).Object;
    }

    /// <summary>Applies a configuration: the manager's fields become what it says. Creates the object where there is none.</summary>
    internal (JsonObject Object, bool Created) Apply(ApiResource resource, string ns, string name, string subresource, JsonObject applied, WriteOptions options)
    {
        CheckIdentity(resource, applied, ns, name);
        options = options with { IsApply = true };
        lock (_gate)
        {
            if (TryGet(resource.GroupResource, ns, name) is null)
            {
                if (subresource.Length > 0) throw ApiErrors.NotFound(resource.GroupResource, name);
                if (applied.Uid().Length > 0) throw ApiErrors.Conflict(resource.GroupResource, name, $"uid mismatch: the provided object specified uid {applied.Uid()}, and no existing object was found");
                var fresh = new JsonObject { ["apiVersion"] = resource.ApiVersion, ["kind"] = resource.Kind };
                var first = FieldOwnership.Apply(resource, fresh, applied, options, subresource, _clock.GetUtcNow());
                return (Create(resource, first, ns, options), true);
            }
            return (Write(resource, ns, name, subresource, current => FieldOwnership.Apply(resource, current, applied, options, subresource, _clock.GetUtcNow()), options), false);
        }
    }

    private static void CheckIdentity(ApiResource resource, JsonObject applied, string ns, string name)
    {
        if (applied.Kind().Length == 0 || applied.ApiVersion().Length == 0)
        {
            var version = applied.ApiVersion();
            throw ApiErrors.BadRequest($"invalid object type: {(version.Contains('/', StringComparison.Ordinal) ? version : "/" + version)}, Kind={applied.Kind()}");
        }
        if (applied.Kind() != resource.Kind || applied.ApiVersion() != resource.ApiVersion)
            throw ApiErrors.BadRequest($"{applied.Kind()} in version \"{applied.ApiVersion()}\" cannot be handled as a {resource.Kind}");
        if (applied.Name().Length > 0 && applied.Name() != name) throw ApiErrors.BadRequest($"the name of the object ({applied.Name()}) does not match the name on the URL ({name})");
        applied.Metadata()["name"] = name;
        if (!resource.IsNamespaced || ns.Length == 0) return;
        if (applied.Namespace().Length > 0 && applied.Namespace() != ns)
            throw ApiErrors.BadRequest("the namespace of the provided object does not match the namespace sent on the request");
    }
}
