using AmbientMesh.Hbone.Http2;

namespace AmbientMesh.Hbone;

/// <summary>One HTTP/2 connection carrying CONNECT streams; what client and server have in common. Safe for use from several threads.</summary>
/// <remarks>Two loops: the reader parses input and hands bytes to streams, the writer gathers output (<see cref="TunnelWriter"/>). Per-byte speed.</remarks>
public abstract partial class HboneConnection : IAsyncDisposable
{
    private readonly Lock _streamsGate = new();
    private readonly Dictionary<int, HboneStream> _streams = [];
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly KeepAlive _keepAlive;
    private Task _writing = Task.CompletedTask;
    private int _closing;

    private protected HboneConnection(ITransport transport, HboneOptions options, TlsPeer? peer, TimeProvider? clock, bool isServer)
    {
        Transport = transport;
        Options = options;
        Peer = peer;
        Clock = clock ?? TimeProvider.System;
        IsServer = isServer;
        Writer = new TunnelWriter(transport);
        MaxHeaderListBytes = options.MaxHeaderListBytes ?? (isServer ? 64 : 16) * 1024;
        _keepAlive = new KeepAlive(Clock, options.PingInterval, options.PingTimeout, SendKeepAlive, PingTimedOut);
        _connectionWindow = options.ConnectionWindowBytes;
        _connectionWindowSize = options.ConnectionWindowBytes;
        _input = new InputState(this);
    }

    public HboneOptions Options { get; }

    /// <summary>Who is at the other end, as its certificate says; null on a connection without TLS.</summary>
    public TlsPeer? Peer { get; }

    /// <summary>Why the connection ended; null while it runs and after an orderly end.</summary>
    public Exception? Failure { get; private set; }

    /// <summary>Completes, never with an error, when the connection is closed and both its loops have ended.</summary>
    public Task Completion => _ended.Task;

    /// <summary>Streams open now.</summary>
    public int ActiveStreams
    {
        get { lock (_streamsGate) return _streams.Count; }
    }

    internal TunnelWriter Writer { get; }
    private protected ITransport Transport { get; }
    private protected TimeProvider Clock { get; }
    private protected bool IsServer { get; }
    private protected int MaxHeaderListBytes { get; }

    /// <summary>Whether closing was begun, by either end.</summary>
    public bool IsClosing => Volatile.Read(ref _closing) != 0;

    /// <summary>Ends the connection now. A client resets its open streams first (CANCEL), a server just closes, as the reference does at its drain
    /// deadline.</summary>
    public async ValueTask CloseAsync()
    {
        if (Interlocked.Exchange(ref _closing, 1) == 0)
        {
            if (!IsServer) foreach (var stream in OpenStreams()) ResetLocally(stream, ErrorCode.Cancel);
            End(null);
        }
        await Completion;
    }

    /// <summary>Drops the connection without a word.</summary>
    public void Abort(string reason = "tunnel aborted")
    {
        Interlocked.Exchange(ref _closing, 1);
        End(new TunnelLostException(reason), sendRest: false);
    }

    public ValueTask DisposeAsync() => CloseAsync();

    private protected void Run(ReadOnlySpan<(SettingId, uint)> settings)
    {
        Writer.Preface(settings, client: !IsServer);
        if (!IsServer) AnnounceConnectionWindow();
        _settingsSent = Clock.GetTimestamp();
        _writing = Writer.RunAsync(LocalSideDone);
        _ = RunAsync();
    }

    private async Task RunAsync()
    {
        _ = WatchWriterAsync();
        try
        {
            await ReadFramesAsync();
            End(ActiveStreams > 0 ? new TunnelLostException("the peer closed the tunnel with open streams") : null);
        }
        catch (ConnectionErrorException e)
        {
            if (e.Code != ErrorCode.NoError) Writer.GoAway(LastPeerStream, e.Code, e.Message);
            End(e);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException or InvalidOperationException)
        {
            End(e as TunnelLostException ?? new TunnelLostException(e.Message, e), sendRest: false);
        }
        await FinishAsync();
    }

    private async Task WatchWriterAsync()
    {
        try
        {
            await _writing;
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException or InvalidOperationException)
        {
            End(new TunnelLostException(e.Message, e), sendRest: false);
        }
    }

    /// <summary>Begins the end: streams fail, what is queued is sent unless the transport is beyond use, then the transport is closed.</summary>
    private void End(Exception? failure, bool sendRest = true)
    {
        lock (_streamsGate)
        {
            if (_isOver) return;
            _isOver = true;
            Failure = failure;
        }
        Interlocked.Exchange(ref _closing, 1);
        _keepAlive.Dispose();
        _headerTimer?.Dispose();
        var lost = failure ?? new TunnelLostException("tunnel closed");
        foreach (var stream in OpenStreams())
        {
            lock (Writer.Gate) stream.MarkReset();
            stream.EndByLoss(lost);
        }
        lock (_streamsGate) _streams.Clear();
        if (sendRest) Writer.Stop();
        else
        {
            Writer.Fail(lost);
            Transport.Abort();
        }
        Ended();
        _ = CloseTransportAsync();
    }

    private async Task CloseTransportAsync()
    {
        // A peer that does not read must not keep us: the writer gets as long as an unanswered PING would.
        var stopped = await Task.WhenAny(_writing, Task.Delay(Options.PingTimeout, Clock)) == _writing;
        if (!stopped) Transport.Abort();
        else if (_writing.IsCompletedSuccessfully) await CloseQuietlyAsync();
        await Transport.DisposeAsync();
    }

    private async Task CloseQuietlyAsync()
    {
        try
        {
            await Transport.ShutdownWriteAsync();
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or InvalidOperationException)
        {
            // The peer went first.
        }
    }

    private async Task FinishAsync()
    {
        try
        {
            await _writing;
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException or InvalidOperationException)
        {
            // Already the reason of the end, or a consequence of it.
        }
        _input.Release();
        _ended.TrySetResult();
    }

    private protected HboneStream[] OpenStreams()
    {
        lock (_streamsGate) return [.. _streams.Values];
    }

    /// <summary>Called once, when the end begins.</summary>
    private protected virtual void Ended() { }

    private void SendKeepAlive() => Writer.Ping(KeepAlive.Payload, ack: false);

    private void PingTimedOut()
    {
        // As the reference: a server says GOAWAY into the silence, a client just drops.
        if (IsServer) Writer.GoAway(LastPeerStream, ErrorCode.NoError);
        Interlocked.Exchange(ref _closing, 1);
        End(new TunnelLostException($"the peer did not answer a PING within {Options.PingTimeout.TotalSeconds} s"), sendRest: IsServer);
    }
}
