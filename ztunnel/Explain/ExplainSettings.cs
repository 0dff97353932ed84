using AmbientMesh.Model;
using AmbientMesh.Model.Explanation;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.Dns;
using AmbientMesh.Ztunnel.Inbound;

namespace AmbientMesh.Ztunnel.Explain;

/// <summary>The settings decisions depend on, as the proxy itself passes them.</summary>
/// <param name="RequiresWaypoint">A workload that is bound to a waypoint takes connections from it alone.</param>
public sealed record ExplainSettings(string Network, NameSettings Names, InboundSettings Inbound, bool RequiresWaypoint)
{
    public static ExplainSettings Of(ZtunnelSettings settings) => new(
        settings.Network,
        new NameSettings(settings.ClusterDomain, settings.PreferredServiceNamespace, settings.IPv6Enabled),
        new InboundSettings(settings.Network, settings.PreferredServiceNamespace, settings.LocalhostAppTunnel),
        settings.RequireWaypoint);
}

internal static class RefusalReports
{
    public static RefusalReport Of(CloseReason reason) => new(reason.Reason.Word(), reason.Text, reason.DecidedBy);
}
