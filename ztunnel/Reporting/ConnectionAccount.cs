using AmbientMesh.Ztunnel.Connections;

namespace AmbientMesh.Ztunnel.Reporting;

/// <summary>What is reported of one connection from its opening to its end; it ends once, with at most one reason.</summary>
public sealed class ConnectionAccount
{
    private readonly ConnectionReports _reports;
    private readonly OpenConnection _connection;
    private readonly long _started;
    private int _isClosed;

    internal ConnectionAccount(ConnectionReports reports, OpenConnection connection, ConnectionDescription description, ByteCounters counters)
    {
        (_reports, _connection, Description, Counters) = (reports, connection, description, counters);
        _started = reports.Clock.GetTimestamp();
        OpenedAt = reports.Clock.GetUtcNow();
    }

    public ConnectionDescription Description { get; private set; }
    public ByteCounters Counters { get; private set; }
    public DateTimeOffset OpenedAt { get; }

    /// <summary>Its first endpoint was not reached, another is tried. Each is counted as opened; the former as closed, too. Before bytes are carried.</summary>
    public void MoveTo(ConnectionDescription description, CloseReason because)
    {
        var counters = _reports.Moved(Counters, description, because);
        (Description, Counters) = (description, counters);
    }

    /// <summary>Reports the end; later calls do nothing.</summary>
    /// <param name="reason">Null when both sides finished.</param>
    /// <param name="received">Bytes read from the downstream client.</param>
    /// <param name="sent">Bytes written to it.</param>
    public void Close(CloseReason? reason, long received = 0, long sent = 0)
    {
        if (Interlocked.Exchange(ref _isClosed, 1) != 0) return;
        _reports.Closed(new EndedConnection
        {
            Trace = _connection.Trace,
            Pod = _connection.Pod,
            Description = Description,
            OpenedAt = OpenedAt,
            Duration = _reports.Clock.GetElapsedTime(_started),
            Received = received,
            Sent = sent,
            Reason = reason,
        }, Counters);
    }
}
