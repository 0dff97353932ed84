using System.Net;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Connections;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Reporting;

/// <summary>One line for each connection's end, in the fields and order of L4 reference §11.3.</summary>
public sealed class AccessLog(ILoggerFactory loggers)
{
    private readonly ILogger _log = loggers.CreateLogger("access");

    public void Opened(ConnectionDescription connection)
    {
        if (_log.IsEnabled(LogLevel.Debug)) _log.Write(LogLevel.Debug, "connection opened", [.. Fields(connection)]);
    }

    /// <summary>The end of a connection that had been decided; an error line when <paramref name="reason"/> is not null.</summary>
    /// <param name="received">Bytes read from the downstream client.</param>
    /// <param name="sent">Bytes written to it.</param>
    public void Complete(ConnectionDescription connection, long received, long sent, TimeSpan duration, CloseReason? reason)
    {
        var level = reason is null ? LogLevel.Information : LogLevel.Error;
        if (!_log.IsEnabled(level)) return;
        // Seen from the application's side of the wire: outbound the application sends what we receive.
        var (bytesSent, bytesReceived) = connection.Direction == Direction.Inbound ? (sent, received) : (received, sent);
        _log.Write(level, "connection complete",
        [
            .. Fields(connection), Field("bytes_sent", bytesSent), Field("bytes_recv", bytesReceived), Field("duration", $"{(long)duration.TotalMilliseconds}ms"), Field("error", reason?.Text),
        ]);
    }

    /// <summary>A connection refused before anything was known about it.</summary>
    public void Rejected(Direction direction, IPEndPoint source, IPEndPoint destination, CloseReason reason) => _log.Write(LogLevel.Warning, "connection failed",
        Field("src.addr", source), Field("dst.addr", destination), Field("direction", Name(direction)), Field("error", reason.Text));

    private static IEnumerable<KeyValuePair<string, object?>> Fields(ConnectionDescription connection) =>
    [
        Field("src.addr", connection.Source),
        Field("src.workload", Known(connection.SourcePeer?.LogName)),
        Field("src.namespace", Known(connection.SourcePeer?.Namespace)),
        Field("src.identity", connection.IsMutualTls ? connection.SourceIdentity?.ToString() : null),
        Field("src.cluster", Known(connection.SourcePeer?.Cluster)),
        Field("dst.addr", connection.Destination),
        Field("dst.hbone_addr", connection.HboneTarget is { } target ? new Unquoted(target) : null),
        Field("dst.service", connection.Service?.Hostname),
        Field("dst.workload", Known(connection.DestinationPeer?.LogName)),
        Field("dst.namespace", Known(connection.DestinationPeer?.Namespace)),
        Field("dst.identity", connection.IsMutualTls ? connection.DestinationIdentity?.ToString() : null),
        Field("dst.cluster", Known(connection.DestinationPeer?.Cluster)),
        Field("direction", Name(connection.Direction)),
    ];

    private static string Name(Direction direction) => direction == Direction.Inbound ? "inbound" : "outbound";

    private static string? Known(string? value) => string.IsNullOrEmpty(value) ? null : value;

    private static KeyValuePair<string, object?> Field(string key, object? value) => new(key, value);

    /// <summary>Addresses stand without quotes, also those that are names.</summary>
    private sealed record Unquoted(string Text)
    {
        public override string ToString() => Text;
    }
}
