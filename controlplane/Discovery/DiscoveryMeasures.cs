using System.Collections.Concurrent;
using AmbientMesh.ControlPlane.Serving;
using AmbientMesh.Protocol.Core;
using AmbientMesh.Protocol.Discovery;
using AmbientMesh.Xds;
using Google.Protobuf.WellKnownTypes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Discovery;

/// <summary>Counts what discovery does and logs what clients reject.</summary>
/// <param name="publisher">Tells when what is being sent was published.</param>
/// <param name="metrics">Counts.</param>
/// <param name="clock">The one the publisher uses.</param>
/// <param name="log">Told of rejections.</param>
public sealed partial class DiscoveryMeasures(ResourcePublisher publisher, ControlPlaneMetrics metrics, TimeProvider clock, ILogger log) : DiscoveryObserver
{
    private readonly ConcurrentDictionary<Node, long> _seen = new(ReferenceEqualityComparer.Instance);   // the last publication each client was sent something of

    /// <summary>The short names istiod's metrics use.</summary>
    internal static string ShortName(string typeUrl) => typeUrl switch
    {
        TypeUrls.Address or TypeUrls.Workload => "wds",
        TypeUrls.Authorization => "wads",
        _ => "unknown",   // a client chooses type URLs freely, labels must stay few
    };

    public override void ClientConnected(Node node)
    {
        _seen[node] = publisher.Last.Number;
        metrics.ClientCount(Version(node), +1);
    }

    public override void ClientDisconnected(Node node)
    {
        _seen.TryRemove(node, out _);
        metrics.ClientCount(Version(node), -1);
    }

    public override void Sent(Node node, DeltaDiscoveryResponse response)
    {
        metrics.Pushed(ShortName(response.TypeUrl), response.CalculateSize());
        var last = publisher.Last;
        if (!_seen.TryGetValue(node, out var seen) || seen == last.Number || !_seen.TryUpdate(node, last.Number, seen)) return;
        var queued = clock.GetElapsedTime(last.Made);
        metrics.Converged(queued, last.Waited + last.Took + queued);
    }

    public override void Timed(string typeUrl, TimeSpan made, TimeSpan written) => metrics.Timed(ShortName(typeUrl), made, written);

    public override void SendFailed(Node node, string typeUrl) => metrics.SendFailed(ShortName(typeUrl));

    public override void Rejected(Node node, ResourceRejection rejection)
    {
        metrics.Rejected(ShortName(rejection.TypeUrl));
        RejectedBy(node.Id, rejection.TypeUrl, rejection.Name, rejection.Reason);
    }

    private static string Version(Node node) =>
        node.Metadata?.Fields.TryGetValue("ISTIO_VERSION", out var value) == true && value.KindCase == Value.KindOneofCase.StringValue && value.StringValue.Length is > 0 and <= 64
            ? value.StringValue
            : "unknown";

    [LoggerMessage(3010, LogLevel.Warning, "{Node} rejected {TypeUrl} {Resource}: {Reason}")]
    private partial void RejectedBy(string node, string typeUrl, string resource, string reason);
}
