using AmbientMesh.Hbone.Hpack;
using AmbientMesh.Hbone.Http2;

namespace AmbientMesh.Hbone;

/// <summary>How a CONNECT ended. Exactly one case holds.</summary>
public abstract record ConnectOutcome
{
    private ConnectOutcome() { }

    /// <summary>200: the stream carries bytes; its disposal is the caller's.</summary>
    public sealed record Established(HboneStream Stream, IReadOnlyList<HeaderField> Headers) : ConnectOutcome;

    /// <summary>Another status; our stream was reset (CANCEL). Not to be retried.</summary>
    public sealed record Rejected(int Status) : ConnectOutcome
    {
        /// <summary>Further headers of the answer, as the peer sent them.</summary>
        public IReadOnlyList<HeaderField> Headers { get; init; } = [];
    }

    /// <summary>The peer did not act on the request (limit, GOAWAY, REFUSED_STREAM): another tunnel may be tried.</summary>
    /// <param name="BeforeSending">Nothing was sent: this connection had no room.</param>
    public sealed record NotProcessed(string Reason, bool BeforeSending = false) : ConnectOutcome;

    /// <summary>The stream or its tunnel broke before an answer; whether the peer acted on it is unknown.</summary>
    public sealed record Failed(Exception Error) : ConnectOutcome;
}

/// <summary>The client end of a tunnel: opens CONNECT streams.</summary>
public sealed class HboneClientConnection : HboneConnection
{
    private readonly TaskCompletionSource _settings = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly int _maxStreams;
    private readonly AbuseBudget _interim;
    private int _nextId = 1;
    private int _reserved;   // streams being opened or open, under the writer's gate
    private int _lastAllowed = int.MaxValue;

    private HboneClientConnection(ITransport transport, HboneOptions options, TlsPeer? peer, TimeProvider? clock, int maxStreams)
        : base(transport, options, peer, clock, isServer: false) =>
        (_maxStreams, _interim) = (maxStreams, new AbuseBudget("interim answers", burst: 100, perSecond: 10, Clock));

    /// <summary>Begins to speak on a transport whose TLS handshake is done. Owns the transport.</summary>
    /// <param name="maxStreams">Streams this connection carries at most; the peer's own limit holds as well once it is known, and until then one.</param>
    public static HboneClientConnection Start(
        ITransport transport, HboneOptions options, TlsPeer? peer = null, TimeProvider? clock = null, int maxStreams = 100)
    {
        var connection = new HboneClientConnection(transport, options, peer, clock, maxStreams);
        connection.Run(
        [
            (SettingId.EnablePush, 0),
            (SettingId.InitialWindowSize, (uint)options.StreamWindowBytes),
            (SettingId.MaxFrameSize, (uint)options.MaxFrameBytes),
            (SettingId.MaxHeaderListSize, (uint)connection.MaxHeaderListBytes),
        ]);
        return connection;
    }

    /// <summary>Completes when the peer's first SETTINGS were applied, or the connection ended before.</summary>
    public Task SettingsReceived => _settings.Task;

    /// <summary>Whether the peer said GOAWAY; open streams go on, new ones need another connection.</summary>
    public bool IsGoingAway { get; private set; }

    /// <summary>Called when a stream ended, the peer's limits changed, or the connection can take no more streams. Must not block.</summary>
    public Action<HboneClientConnection>? Changed { get; set; }

    /// <summary>Opens a stream for <paramref name="authority"/>. The headers follow <c>:method</c> and <c>:authority</c> in the given order.</summary>
    /// <exception cref="OperationCanceledException">Cancelled while waiting for the answer; the stream was reset.</exception>
    public async Task<ConnectOutcome> ConnectAsync(HboneAuthority authority, IReadOnlyList<HeaderField> headers, CancellationToken cancellationToken = default)
    {
        var answer = new TaskCompletionSource<ConnectOutcome>(TaskCreationOptions.RunContinuationsAsynchronously);
        var stream = new HboneStream(this, Options.StreamWindowBytes) { Connecting = answer };
        if (Open(stream, [new(":method", "CONNECT"), new(":authority", authority.ToString()), .. headers]) is { } problem)
            return new ConnectOutcome.NotProcessed(problem, BeforeSending: true);
        // Whichever is first counts: an answer that is here is not taken back.
        await using var registration = cancellationToken.UnsafeRegister(static (s, token) =>
        {
            var waiting = (HboneStream)s!;
            if (waiting.Connecting!.TrySetCanceled(token)) waiting.Abort();
        }, stream);
        return await answer.Task;
    }

    /// <summary>Whether <see cref="ConnectAsync"/> would find room now.</summary>
    public bool HasRoom
    {
        get { lock (Writer.Gate) return Refusal() is null; }
    }

    /// <summary>Streams open or being opened.</summary>
    public int Streams
    {
        get { lock (Writer.Gate) return _reserved; }
    }

    /// <summary>Whether no further stream can ever be opened here.</summary>
    public bool IsRetired => IsGoingAway || IsClosing || _nextId < 0;

    /// <summary>Whether the peer is up but its limit is 0, which some use to drain (CVE-2021-32780).</summary>
    internal bool AllowsNoStreams => !IsRetired && _settings.Task.IsCompleted && Writer.Peer.MaxConcurrentStreams == 0;

    private string? Refusal() =>
        IsClosing ? "the tunnel is closed"
        : IsGoingAway ? "the peer is going away"
        : _nextId < 0 ? "the tunnel ran out of stream ids"
        : _reserved >= Limit() ? "the tunnel carries as many streams as it may"
        : null;

    private long Limit() => _settings.Task.IsCompleted ? Math.Min((uint)_maxStreams, Writer.Peer.MaxConcurrentStreams) : 1;

    private string? Open(HboneStream stream, ReadOnlySpan<HeaderField> fields)
    {
        lock (Writer.Gate)
        {
            if (Refusal() is { } problem) return problem;
            stream.Id = _nextId;
            stream.SendWindow = Writer.Peer.InitialWindowSize;
            if (!TryAdd(stream)) return "the tunnel is closed";
            _nextId = _nextId > int.MaxValue - 2 ? -1 : _nextId + 2;
            _reserved++;
            Writer.HeadersLocked(stream, fields, endStream: false);
        }
        Writer.Flush();
        return null;
    }

    private protected override void StreamEnded(HboneStream stream)
    {
        bool isDone;
        lock (Writer.Gate) isDone = --_reserved == 0 && IsGoingAway;
        if (isDone) _ = SayGoodbyeAsync();
        Changed?.Invoke(this);
    }

    /// <summary>Closes an unused connection the polite way: GOAWAY(0), then the transport.</summary>
    public async Task SayGoodbyeAsync()
    {
        if (!IsClosing) Writer.GoAway(0, ErrorCode.NoError);
        await CloseAsync();
    }

    private protected override void OnHeaders(int streamId, HboneStream? stream, List<HeaderField> fields, HpackVerdict verdict, bool endStream)
    {
        if (stream is null) throw new ConnectionErrorException(ErrorCode.ProtocolError, $"HEADERS on stream {streamId}, which we did not open");
        if (stream.Connecting!.Task.IsCompleted || verdict == HpackVerdict.TooLarge || !TryParseStatus(fields, out var status))
        {
            ResetLocally(stream, ErrorCode.ProtocolError);
            return;
        }
        if (status is >= 100 and < 200)
        {
            _interim.Spend();   // they say nothing, and one that ends the stream is malformed (RFC 9113 §8.1)
            if (endStream) ResetLocally(stream, ErrorCode.ProtocolError);
            return;
        }
        if (status == 200)
        {
            stream.Connecting.TrySetResult(new ConnectOutcome.Established(stream, [.. fields.Where(f => !f.Name.StartsWith(':'))]));
            return;
        }
        ResetLocally(stream, ErrorCode.Cancel, new ConnectOutcome.Rejected(status) { Headers = [.. fields.Where(f => !f.Name.StartsWith(':'))] });
    }

    private static bool TryParseStatus(List<HeaderField> fields, out int status)
    {
        status = 0;
        return fields.Count > 0 && fields[0].Name == ":status" && fields[0].Value.Length == 3 && int.TryParse(fields[0].Value, out status) && status is >= 100 and <= 599;
    }

    private protected override bool WasOpened(int streamId) => streamId % 2 == 1 && (_nextId < 0 || streamId < _nextId);

    private protected override void OnGoAway(int lastStreamId, ErrorCode code, string debug)
    {
        bool isDone;
        // Under the gate: a stream that is just being opened is either counted, or sees that it must go elsewhere.
        lock (Writer.Gate)
        {
            IsGoingAway = true;
            isDone = _reserved == 0;
        }
        if (lastStreamId < _lastAllowed)
        {
            _lastAllowed = lastStreamId;
            foreach (var stream in OpenStreams())
            {
                if (stream.Id <= lastStreamId) continue;
                ResetLocally(stream, ErrorCode.Cancel, new ConnectOutcome.NotProcessed("the peer is going away and did not take the stream"));
            }
        }
        if (isDone) _ = SayGoodbyeAsync();
        Changed?.Invoke(this);
    }

    private protected override void OnSettingsApplied()
    {
        _settings.TrySetResult();
        Changed?.Invoke(this);
    }

    private protected override void Ended()
    {
        _settings.TrySetResult();
        Changed?.Invoke(this);
    }
}
