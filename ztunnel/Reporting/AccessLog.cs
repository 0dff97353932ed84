using System.Net;
using AmbientMesh.Model;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Connections;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Reporting;

/// <summary>One line for each connection's end, in the fields and order of L4 reference §11.3; ours are <c>connection.id</c>, <c>reason</c> and
/// <c>decided_by</c>, which stand before <c>error</c>.</summary>
public sealed class AccessLog(ILoggerFactory loggers)
{
    private const int IdentifyingFields = 13;

    private readonly ILogger _log = loggers.CreateLogger("access");

    public void Opened(ConnectionDescription connection, TraceContext trace)
    {
        if (!_log.IsEnabled(LogLevel.Debug)) return;
        var fields = new KeyValuePair<string, object?>[IdentifyingFields + 1];
        Identify(fields, connection);
        fields[IdentifyingFields] = Field("connection.id", trace.Id);
        _log.Write(LogLevel.Debug, "connection opened", fields);
    }

    /// <summary>The end of a connection that had been decided; an error line when <paramref name="reason"/> is not null.</summary>
    /// <param name="received">Bytes read from the downstream client.</param>
    /// <param name="sent">Bytes written to it.</param>
    public void Complete(ConnectionDescription connection, TraceContext trace, long received, long sent, TimeSpan duration, CloseReason? reason)
    {
        var level = reason is null ? LogLevel.Information : LogLevel.Error;
        if (!_log.IsEnabled(level)) return;
        // Seen from the application's side of the wire: outbound the application sends what we receive.
        var (bytesSent, bytesReceived) = connection.Direction == Direction.Inbound ? (sent, received) : (received, sent);
        var fields = new KeyValuePair<string, object?>[IdentifyingFields + (reason is null ? 4 : 7)];
        Identify(fields, connection);
        fields[IdentifyingFields] = Field("bytes_sent", bytesSent);
        fields[IdentifyingFields + 1] = Field("bytes_recv", bytesReceived);
        fields[IdentifyingFields + 2] = Field("duration", $"{(long)duration.TotalMilliseconds}ms");
        fields[IdentifyingFields + 3] = Field("connection.id", trace.Id);
        if (reason is not null) Explain(fields.AsSpan(IdentifyingFields + 4), reason);
        _log.Write(level, "connection complete", fields);
    }

    /// <summary>A connection refused before anything was known about it.</summary>
    public void Rejected(Direction direction, IPEndPoint source, IPEndPoint destination, TraceContext trace, CloseReason reason)
    {
        if (!_log.IsEnabled(LogLevel.Warning)) return;
        var fields = new KeyValuePair<string, object?>[7];
        fields[0] = Field("src.addr", source);
        fields[1] = Field("dst.addr", destination);
        fields[2] = Field("direction", Name(direction));
        fields[3] = Field("connection.id", trace.Id);
        Explain(fields.AsSpan(4), reason);
        _log.Write(LogLevel.Warning, "connection failed", fields);
    }

    private static void Explain(Span<KeyValuePair<string, object?>> fields, CloseReason reason)
    {
        fields[0] = Field("reason", reason.Reason.Word());
        fields[1] = Field("decided_by", reason.DecidedBy?.ToString());
        fields[2] = Field("error", reason.Text);
    }

    private static void Identify(Span<KeyValuePair<string, object?>> fields, ConnectionDescription connection)
    {
        fields[0] = Field("src.addr", connection.Source);
        fields[1] = Field("src.workload", Known(connection.SourcePeer?.LogName));
        fields[2] = Field("src.namespace", Known(connection.SourcePeer?.Namespace));
        fields[3] = Field("src.identity", connection.IsMutualTls ? connection.SourceIdentity?.ToString() : null);
        fields[4] = Field("src.cluster", Known(connection.SourcePeer?.Cluster));
        fields[5] = Field("dst.addr", connection.Destination);
        fields[6] = Field("dst.hbone_addr", connection.HboneTarget is { } target ? new Unquoted(target) : null);
        fields[7] = Field("dst.service", connection.Service?.Hostname);
        fields[8] = Field("dst.workload", Known(connection.DestinationPeer?.LogName));
        fields[9] = Field("dst.namespace", Known(connection.DestinationPeer?.Namespace));
        fields[10] = Field("dst.identity", connection.IsMutualTls ? connection.DestinationIdentity?.ToString() : null);
        fields[11] = Field("dst.cluster", Known(connection.DestinationPeer?.Cluster));
        fields[12] = Field("direction", Name(connection.Direction));
    }

    private static string Name(Direction direction) => direction == Direction.Inbound ? "inbound" : "outbound";

    private static string? Known(string? value) => string.IsNullOrEmpty(value) ? null : value;

    private static KeyValuePair<string, object?> Field(string key, object? value) => new(key, value);

    /// <summary>Addresses stand without quotes, also those that are names.</summary>
    private sealed record Unquoted(string Text)
    {
        public override string ToString() => Text;
    }
}
