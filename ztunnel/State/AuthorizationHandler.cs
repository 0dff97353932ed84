using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Model.Decoding;
using AmbientMesh.Protocol.Discovery;
using AmbientMesh.Protocol.Security;
using AmbientMesh.Telemetry;
using AmbientMesh.Xds;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.State;

/// <summary>Takes policies from the control plane into the mesh snapshot. A refused policy leaves its last good version in force; without one, whatever it may
/// cover is denied: a policy that was received is never without effect.</summary>
/// <param name="ignoresUnreadable">As the reference does: a policy that cannot be read has no effect.</param>
public sealed class AuthorizationHandler(MeshStore store, ILogger log, bool ignoresUnreadable = false) : IResourceHandler
{
    public string TypeUrl => TypeUrls.Authorization;

    public IReadOnlyList<Rejection> Apply(IReadOnlyList<Resource> updates, IReadOnlyList<string> removals)
    {
        var rejections = new List<Rejection>();
        store.Edit(edit =>
        {
            foreach (var resource in updates)
            {
                log.Write(LogLevel.Information, $"handling RBAC update {resource.Name}");
                if (Set(edit, resource) is { } reason) rejections.Add(new Rejection(resource.Name, reason));
            }
            foreach (var name in removals)
                if (PolicyName.TryParse(name, out var key)) edit.RemovePolicy(key);
        });
        return rejections;
    }

    /// <summary>Null when it was taken, else why not.</summary>
    private string? Set(MeshEdit edit, Resource resource)
    {
        PolicyScope? scope = null;
        if (WireResource.TryParse(resource, Authorization.Parser, out var wire, out var reason))
        {
            if (PolicyDecoding.TryDecode(wire, out var policy, out reason))
            {
                edit.Set(policy);
                return null;
            }
            if (wire.DryRun) return reason;   // it would not have been enforced
            if (Enum.IsDefined((PolicyScope)wire.Scope)) scope = (PolicyScope)wire.Scope;
        }
        if (ignoresUnreadable || !PolicyName.TryParse(resource.Name, out var name) || edit.FindPolicy(name) is { Unreadable: null }) return reason;
        edit.Set(AuthorizationPolicy.InPlaceOf(name, scope, reason));
        log.Write(LogLevel.Error, $"policy {name} cannot be read and no earlier version of it is known: what it may cover is denied",
            new KeyValuePair<string, object?>("scope", scope?.ToString() ?? "unknown, taken as Namespace"), new KeyValuePair<string, object?>("reason", reason));
        return reason;
    }
}
