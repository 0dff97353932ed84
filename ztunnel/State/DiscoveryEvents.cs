using AmbientMesh.Rpc;
using AmbientMesh.Telemetry;
using AmbientMesh.Xds;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.State;

/// <summary>Counts and logs what happens on the discovery stream.</summary>
public sealed class DiscoveryEvents : DiscoveryClientObserver
{
    private readonly CounterFamily _terminations;
    private readonly CounterFamily _messages;
    private readonly CounterFamily _bytes;
    private readonly Uri _server;
    private readonly ILogger _log;

    public DiscoveryEvents(MetricRegistry metrics, Uri server, ILogger log)
    {
        (_server, _log) = (server, log);
        _terminations = metrics.Counter("istio_xds_connection_terminations", "The total number of completed connections to xds server (unstable).", "reason");
        _messages = metrics.Counter("istio_xds_message", "Total number of messages received (unstable).", "url");
        _bytes = metrics.Counter("istio_xds_message_bytes", "Total number of bytes received (unstable).", "url");
        _bytes.Unit = "bytes";
    }

    public override void Connected() => _log.Write(LogLevel.Information, "Stream established");

    public override void Terminated(ConnectionTermination reason, RpcException? failure, TimeSpan retryIn)
    {
        _terminations.With(reason.ToString()).Add();
        var expected = reason is ConnectionTermination.Reconnect or ConnectionTermination.Complete;
        _log.Write(expected ? LogLevel.Information : LogLevel.Warning,
            $"XDS client {(reason is ConnectionTermination.ConnectionError ? "connection error" : "stream ended")}: {_server}: {failure?.Message ?? "completed"}, retrying in {retryIn.TotalMilliseconds:0}ms");
    }

    public override void Received(string typeUrl, int bytes)
    {
        _messages.With(typeUrl).Add();
        _bytes.With(typeUrl).Add(bytes);
    }

    public override void Rejected(string typeUrl, Rejection rejection) =>
        _log.Write(LogLevel.Warning, $"rejected {typeUrl} {rejection.Name}: {rejection.Reason}; its last good version stays in force");
}
