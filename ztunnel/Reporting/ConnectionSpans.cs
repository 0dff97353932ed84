using System.Net;
using AmbientMesh.Model;
using AmbientMesh.Telemetry.Otlp;

namespace AmbientMesh.Ztunnel.Reporting;

/// <summary>One span for each sampled connection, of the workload whose connection it is, not of the proxy: the graph of a tracing backend shows workloads.</summary>
/// <remarks>The client's span has the id that went out in <c>traceparent</c>, so that the server's ztunnel, and whatever traces behind it, hang below it.</remarks>
public sealed class ConnectionSpans(OtlpSettings settings, Action<Span> export)
{
    private const int MaxResources = 1024;

    private readonly Lock _gate = new();
    private readonly Dictionary<(WorkloadInfo Pod, PeerLabels? Labels), SpanResource> _resources = [];

    public TraceSampling Sampling => settings.Sampling;

    /// <summary>Does nothing unless the connection is sampled.</summary>
    public void Record(in EndedConnection ended)
    {
        if (!ended.Trace.IsSampled) return;
        var connection = ended.Description;
        var isOutbound = connection.Direction == Direction.Outbound;
        var own = isOutbound ? connection.SourcePeer : connection.DestinationPeer;
        export(new Span
        {
            Resource = ResourceOf(ended.Pod, own),
            Context = ended.Trace,
            Name = NameOf(connection, isOutbound),
            Kind = isOutbound ? SpanKind.Client : SpanKind.Server,
            Start = ended.OpenedAt,
            End = ended.OpenedAt + ended.Duration,
            Attributes = Attributes(ended),
            Error = ended.Reason?.Text,
        });
    }

    // Few values: services and workloads, never addresses.
    private static string NameOf(ConnectionDescription connection, bool isOutbound)
    {
        var destination = connection.Service is { } service ? service.Name.Length > 0 ? service.Name : service.Hostname : connection.DestinationPeer?.Workload;
        var peer = string.IsNullOrEmpty(destination) ? "unknown" : destination;
        return isOutbound ? $"connect {peer}" : $"accept {peer}";
    }

    private SpanResource ResourceOf(WorkloadInfo pod, PeerLabels? labels)
    {
        lock (_gate)
        {
            if (_resources.TryGetValue((pod, labels), out var known)) return known;
            if (_resources.Count >= MaxResources) _resources.Clear();
            var name = labels is { CanonicalService.Length: > 0 } ? labels.CanonicalService : pod.Name;
            KeyValuePair<string, string>[] more =
            [
                .. settings.Resource.Where(given => !given.Key.StartsWith("service.", StringComparison.Ordinal)),   // those are the proxy's own
                new("service.namespace", pod.Namespace), new("k8s.namespace.name", pod.Namespace), new("k8s.pod.name", pod.Name),
                new("k8s.cluster.name", labels?.Cluster ?? ""), new("cloud.region", labels?.Region ?? ""), new("cloud.availability_zone", labels?.Zone ?? ""),
            ];
            return _resources[(pod, labels)] = OtlpExport.ResourceOf(settings with { Resource = [] }, name, labels?.CanonicalRevision ?? "", more);
        }
    }

    private static KeyValuePair<string, object?>[] Attributes(in EndedConnection ended)
    {
        var connection = ended.Description;
        IPEndPoint[] ends = connection.Direction == Direction.Outbound ? [connection.Source, connection.Destination] : [connection.Destination, connection.Source];
        return
        [
            new("network.transport", "tcp"),
            new("network.local.address", ends[0].Address.ToString()), new("network.local.port", ends[0].Port),
            new("network.peer.address", ends[1].Address.ToString()), new("network.peer.port", ends[1].Port),
            new("server.address", connection.Service?.Hostname ?? connection.DestinationPeer?.LogName),
            new("istio.mesh.reporter", connection.Direction == Direction.Outbound ? "source" : "destination"),
            new("ambientmesh.connection.security", connection.IsMutualTls ? "mutual_tls" : "plaintext"),
            new("ambientmesh.hbone.target", connection.HboneTarget),
            new("ambientmesh.source.workload", connection.SourcePeer?.Workload), new("ambientmesh.source.namespace", connection.SourcePeer?.Namespace),
            new("ambientmesh.source.principal", connection.IsMutualTls ? connection.SourceIdentity?.ToString() : null),
            new("ambientmesh.destination.workload", connection.DestinationPeer?.Workload), new("ambientmesh.destination.namespace", connection.DestinationPeer?.Namespace),
            new("ambientmesh.destination.principal", connection.IsMutualTls ? connection.DestinationIdentity?.ToString() : null),
            new("ambientmesh.bytes_received", ended.Received), new("ambientmesh.bytes_sent", ended.Sent),
            new("error.type", ended.Reason?.Reason.Word()), new("ambientmesh.decided_by", ended.Reason?.DecidedBy?.ToString()),
        ];
    }
}
