using AmbientMesh.Model;

namespace AmbientMesh.Ztunnel.Inbound;

/// <summary>Which service an inbound connection is counted for; never used to decide anything (L4 reference §10.3).</summary>
public static class DestinationService
{
    /// <summary>The service the client named, else one of the workload's whose target port it is; null when unknown.</summary>
    public static MeshService? Of(MeshSnapshot mesh, Workload local, string? forwardedHost, ushort port)
    {
        MeshService? byPort = null;
        foreach (var (name, ports) in local.Services)
        {
            if (mesh.FindService(name) is not { } service) continue;
            if (forwardedHost is not null && service.Hostname == forwardedHost) return service;
            if (ports.LeadsTo(port) || service.Ports.LeadsTo(port)) byPort ??= service;
        }
        return byPort;
    }
}
