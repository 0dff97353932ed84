using System.Net;
using AmbientMesh.Hbone;
using AmbientMesh.Identity;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Reporting;

namespace AmbientMesh.Ztunnel.Connections;

/// <summary>What a connection is shown as in the configuration dump.</summary>
/// <param name="OriginalDestination">Null for HBONE inbound.</param>
/// <param name="Protocol">TCP or HBONE.</param>
public sealed record ConnectionView(Direction Direction, IPEndPoint Source, string? OriginalDestination, string ActualDestination, string Protocol);

/// <summary>One connection from its acceptance to its end. It can be closed from outside with a reason. Thread-safe.</summary>
public sealed class OpenConnection : IDisposable
{
    private readonly ConnectionTable _table;
    private readonly CancellationTokenSource _closing = new();
    private CloseReason? _reason;
    private ByteRelay? _relay;
    private ByteCounters? _counters;
    private long _countedReceived;
    private long _countedSent;

    internal OpenConnection(ConnectionTable table, TraceContext trace) => (_table, Trace) = (table, trace);

    /// <summary>Its place in a trace; the trace id is its id. Set once more when a client has told of its own.</summary>
    public TraceContext Trace { get; set; }

    /// <summary>The pod at which it was captured or to which it came.</summary>
    public WorkloadInfo Pod => _table.Pod;

    /// <summary>What is reported of it; null until it is decided and opened.</summary>
    public ConnectionAccount? Account { get; set; }

    /// <summary>Fires when the connection must end.</summary>
    public CancellationToken Closing => _closing.Token;

    /// <summary>Why it was closed from outside; null when it was not.</summary>
    public CloseReason? Reason => Volatile.Read(ref _reason);

    /// <summary>Null until it is decided.</summary>
    public ConnectionView? View { get; set; }

    /// <summary>The inputs of the inbound verdict, to be judged again when policies change; null for outbound.</summary>
    public ConnectionFacts? Facts { get; set; }

    /// <summary>The certificates the peer's proof rests on; empty without a tunnel.</summary>
    public IReadOnlyList<CertificateSerial> PeerPath { get; set; } = [];

    /// <summary>Who the peer proved to be; null without a tunnel.</summary>
    public SpiffeId? PeerIdentity { get; set; }

    /// <summary>Ends it; the first reason counts.</summary>
    public void Close(CloseReason reason)
    {
        Mark(reason);
        End();
    }

    /// <summary>Sets the reason without ending it yet, so that connections ended together all show it.</summary>
    internal void Mark(CloseReason reason) => Interlocked.CompareExchange(ref _reason, reason, null);

    internal void End()
    {
        try
        {
            _closing.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // It ended by itself in this moment.
        }
    }

    /// <summary>Carries bytes between the downstream client (or application) and its upstream, counting them as they pass.</summary>
    public async Task<RelayResult> RelayAsync(ITransport downstream, ITransport upstream, ByteCounters counters)
    {
        _counters = counters;
        Volatile.Write(ref _relay, new ByteRelay(downstream, upstream));
        var result = await _relay!.RunAsync(Closing);
        CountBytes();
        return result;
    }

    /// <summary>Bytes carried so far: read from the downstream client, and written to it.</summary>
    public (long Received, long Sent) Carried => Volatile.Read(ref _relay) is { } relay ? (relay.FirstToSecondBytes, relay.SecondToFirstBytes) : (0, 0);

    /// <summary>Brings the byte counters up to date; also done while the connection is open, before each scrape.</summary>
    public void CountBytes()
    {
        if (Volatile.Read(ref _relay) is not { } relay || _counters is not { } counters) return;
        lock (_closing)
        {
            Count(relay.FirstToSecondBytes, ref _countedReceived, counters.Received, counters.Total);
            Count(relay.SecondToFirstBytes, ref _countedSent, counters.Sent, counters.Total);
        }
    }

    public void Dispose()
    {
        _table.Remove(this);
        _closing.Dispose();
    }

    private static void Count(long total, ref long counted, Counter counter, ByteTotal all)
    {
        counter.Add(total - counted);
        all.Add(total - counted);
        counted = total;
    }
}
