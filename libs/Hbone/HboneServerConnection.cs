using System.Threading.Channels;
using AmbientMesh.Hbone.Hpack;
using AmbientMesh.Hbone.Http2;

namespace AmbientMesh.Hbone;

/// <summary>The server end of a tunnel: turns incoming HEADERS into requests.</summary>
/// <example><code>
/// await using var tunnel = HboneServerConnection.Start(transport, new HboneOptions(), peer);
/// await foreach (var request in tunnel.RequestsAsync())
///     _ = ServeAsync(request);        // decide, then AcceptAsync or RejectAsync
/// </code></example>
public sealed class HboneServerConnection : HboneConnection
{
    private const ulong DrainPing = 0x0b7ba2f08b9bfe54;
    private const int NoLimitYet = int.MaxValue;

    private readonly Channel<HboneRequest> _requests = Channel.CreateUnbounded<HboneRequest>();   // bounded by MaxConcurrentStreams
    private readonly AbuseBudget _refused;
    private bool _windowAnnounced;
    private bool _draining;
    private bool _drainAnnounced;   // the last stream id was told: later streams are ignored

    private HboneServerConnection(ITransport transport, HboneOptions options, TlsPeer? peer, TimeProvider? clock)
        : base(transport, options, peer, clock, isServer: true) => _refused = new AbuseBudget("refused streams", burst: 1000, perSecond: 200, Clock);

    /// <summary>Begins to serve on a transport whose TLS handshake is done. Owns the transport.</summary>
    public static HboneServerConnection Start(ITransport transport, HboneOptions options, TlsPeer? peer = null, TimeProvider? clock = null)
    {
        var connection = new HboneServerConnection(transport, options, peer, clock);
        connection.Run(
        [
            (SettingId.MaxConcurrentStreams, (uint)options.MaxConcurrentStreams),
            (SettingId.InitialWindowSize, (uint)options.StreamWindowBytes),
            (SettingId.MaxFrameSize, (uint)options.MaxFrameBytes),
            (SettingId.MaxHeaderListSize, (uint)connection.MaxHeaderListBytes),
        ]);
        return connection;
    }

    /// <summary>Every well-formed request in order of arrival, until the connection ends. Each must be accepted or rejected.</summary>
    public IAsyncEnumerable<HboneRequest> RequestsAsync(CancellationToken cancellationToken = default) => _requests.Reader.ReadAllAsync(cancellationToken);

    /// <summary>Takes no new streams and lets open ones run: GOAWAY(2³¹−1) and PING, after the answer GOAWAY(last stream); closes when the last stream
    /// ends. The caller's deadline is <see cref="HboneConnection.CloseAsync"/>.</summary>
    public void BeginDrain()
    {
        lock (Writer.Gate)
        {
            if (_draining) return;
            _draining = true;
        }
        Writer.GoAway(NoLimitYet, ErrorCode.NoError);
        Writer.Ping(DrainPing, ack: false);
    }

    private protected override void OnPong(ulong payload)
    {
        if (payload != DrainPing || !_draining || _drainAnnounced) return;
        _drainAnnounced = true;
        Writer.GoAway(LastPeerStream, ErrorCode.NoError);
        CloseIfDrained();
    }

    private protected override void StreamEnded(HboneStream stream) => CloseIfDrained();

    private void CloseIfDrained()
    {
        if (_drainAnnounced && ActiveStreams == 0) _ = CloseAsync().AsTask();
    }

    private protected override void OnHeaders(int streamId, HboneStream? stream, List<HeaderField> fields, HpackVerdict verdict, bool endStream)
    {
        if (stream is not null)
        {
            _refused.Spend();
            // Trailers end other requests, which are refused anyway; a connected stream carries DATA only (RFC 9113 §8.1, §8.5).
            if (stream.TakesTrailers && endStream && !stream.RemoteDone && verdict == HpackVerdict.Ok && !fields.Exists(f => f.Name.StartsWith(':'))) return;
            ResetLocally(stream, stream.RemoteDone ? ErrorCode.StreamClosed : ErrorCode.ProtocolError);
            return;
        }
        if (streamId % 2 == 0) throw new ConnectionErrorException(ErrorCode.ProtocolError, $"the client opened stream {streamId}, an even number");
        LastPeerStream = streamId;
        if (_drainAnnounced) return;   // told that it will not be processed
        if (verdict == HpackVerdict.TooLarge) Refuse(streamId, ErrorCode.EnhanceYourCalm);
        else if (ActiveStreams >= Options.MaxConcurrentStreams) Refuse(streamId, ErrorCode.RefusedStream);
        else if (!RequestHeaders.TryParse(fields, out var headers)) Refuse(streamId, ErrorCode.ProtocolError);
        else Open(streamId, headers, endStream);
    }

    private void Open(int streamId, RequestHeaders headers, bool endStream)
    {
        var stream = new HboneStream(this, Options.StreamWindowBytes) { Id = streamId, AwaitsAnswer = true, TakesTrailers = headers.Method != "CONNECT" };
        lock (Writer.Gate) stream.SendWindow = Writer.Peer.InitialWindowSize;
        if (!TryAdd(stream)) return;
        if (endStream)
        {
            stream.RemoteFinished();
            SideDone(stream, local: false);
        }
        _requests.Writer.TryWrite(new HboneRequest(this, stream, headers, endStream));
    }

    /// <summary>The answer to a request that had ended carried END_STREAM: the stream is done.</summary>
    internal void FinishRejected(HboneStream stream) => SideDone(stream, local: true);

    private void Refuse(int streamId, ErrorCode code)
    {
        _refused.Spend();
        Writer.Reset(streamId, code);
    }

    private protected override bool WasOpened(int streamId) => streamId % 2 == 1 && streamId <= LastPeerStream;
    private protected override void OnGoAway(int lastStreamId, ErrorCode code, string debug) { }   // clients close by themselves

    private protected override void OnSettingsApplied()
    {
        if (_windowAnnounced) return;
        _windowAnnounced = true;
        AnnounceConnectionWindow();
    }

    private protected override void Ended() => _requests.Writer.TryComplete();
}
