using AmbientMesh.Model;
using AmbientMesh.Model.Decoding;
using AmbientMesh.Protocol.Discovery;
using AmbientMesh.Protocol.Security;
using AmbientMesh.Telemetry;
using AmbientMesh.Xds;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.State;

/// <summary>Takes policies from the control plane into the mesh snapshot. A refused policy leaves its last good version in force.</summary>
public sealed class AuthorizationHandler(MeshStore store, ILogger log) : IResourceHandler
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
                if (WireResource.TryParse(resource, Authorization.Parser, out var wire, out var reason) && PolicyDecoding.TryDecode(wire, out var policy, out reason)) edit.Set(policy);
                else rejections.Add(new Rejection(resource.Name, reason));
            }
            foreach (var name in removals)
                if (PolicyName.TryParse(name, out var key)) edit.RemovePolicy(key);
        });
        return rejections;
    }
}
