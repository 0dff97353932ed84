using System.Net;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Connections;

namespace AmbientMesh.Ztunnel.Reporting;

/// <summary>Tells of every connection in all places alike: metrics, access log, the connections that can be asked for afterwards. Thread-safe.</summary>
/// <param name="spans">Null when no spans are recorded.</param>
public sealed class ConnectionReports(TcpMetrics metrics, AccessLog log, TimeProvider clock, ConnectionSpans? spans = null)
{
    public TcpMetrics Metrics => metrics;
    public TimeProvider Clock => clock;
    public EndedConnections Ended { get; } = new();

    /// <summary>A trace that begins with a connection of this node.</summary>
    public TraceContext NewTrace() => spans?.Sampling.Begin() ?? TraceContext.New();

    /// <summary>A trace the other end told of.</summary>
    public TraceContext Continue(TraceContext told) => spans?.Sampling.Continue(told) ?? told;

    /// <summary>A connection was decided and is now set up; its account must be closed.</summary>
    public ConnectionAccount Opened(OpenConnection connection, ConnectionDescription description)
    {
        var account = new ConnectionAccount(this, connection, description, metrics.Opened(description));
        connection.Account = account;
        log.Opened(description, connection.Trace);
        return account;
    }

    /// <summary>A connection failed: its account is closed when it had been opened, else it is reported as refused.</summary>
    public void Failed(OpenConnection connection, Direction direction, IPEndPoint source, IPEndPoint destination, CloseReason reason)
    {
        if (connection.Account is { } account)
        {
            var (received, sent) = connection.Carried;
            account.Close(reason, received, sent);
            return;
        }
        metrics.Refused(direction, reason.Reason);
        log.Rejected(direction, source, destination, connection.Trace, reason);
        var ended = new EndedConnection
        {
            Trace = connection.Trace,
            Pod = connection.Pod,
            Description = new ConnectionDescription { Direction = direction, Source = source, Destination = destination },
            OpenedAt = clock.GetUtcNow(),
            Reason = reason,
        };
        Ended.Add(ended);
        spans?.Record(ended);
    }

    internal ByteCounters Moved(ByteCounters from, ConnectionDescription to, CloseReason because)
    {
        metrics.Closed(from, because);
        metrics.Moved(because.Reason);
        return metrics.Opened(to);
    }

    internal void Closed(in EndedConnection ended, ByteCounters opened)
    {
        metrics.Closed(opened, ended.Reason);
        if (ended.Reason is { } reason) metrics.Refused(ended.Description.Direction, reason.Reason);
        log.Complete(ended.Description, ended.Trace, ended.Received, ended.Sent, ended.Duration, ended.Reason);
        Ended.Add(ended);
        spans?.Record(ended);
    }
}
