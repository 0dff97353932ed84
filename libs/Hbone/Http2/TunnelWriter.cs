using AmbientMesh.Hbone.Hpack;

namespace AmbientMesh.Hbone.Http2;

/// <summary>The sending half of a tunnel: control frames first, then DATA of the streams in turn, many frames per write of the transport.</summary>
/// <remarks>Whoever has something to send and finds the writer idle becomes the writer, so a lone request costs no thread switch; while a write is under
/// way everything else gathers for the next one. Per-byte speed: one copy into the output buffer, no allocation.</remarks>
internal sealed class TunnelWriter(ITransport transport)
{
    private const int OutputBytes = 15 * 16 * 1024;   // with what TLS adds it still fits a large block
    private const int ShareBytes = 64 * 1024;        // what a stream may send before the next one's turn
    private const int MaxDataFrame = 64 * 1024;
    private const int MaxControlBytes = 128 * 1024;  // acknowledgements a peer that does not read may make us keep

    private readonly OutputBuffer _control = new(512);
    private readonly OutputBuffer _output = new(4096);
    private readonly HpackEncoder _encoder = new();
    private readonly OutputBuffer _headerBlock = new(512);
    private readonly Signal _wake = new(inline: true);
    private StreamQueue _ready;
    private StreamQueue _sent;      // streams whose write was taken completely in this round
    private StreamQueue _finished;  // streams whose END_STREAM is in the output of this round
    private bool _idle;
    private bool _corked;
    private bool _stopping;
    private Exception? _failure;

    /// <summary>Guards everything that decides what goes out: queues, send windows, header compression, stream ids.</summary>
    public Lock Gate { get; } = new();
    public PeerSettings Peer { get; } = new();
    public int SendWindow { get; private set; } = FlowControl.DefaultWindow;

    /// <summary>Runs until <see cref="Stop"/> or a failure of the transport, which it throws.</summary>
    public async Task RunAsync(Action<HboneStream> localSideDone)
    {
        try
        {
            while (true)
            {
                if (!Fill(out var stop))
                {
                    if (stop) return;
                    await _wake.WaitAsync();
                    continue;
                }
                // Their END_STREAM is in the output: before the peer can have it, so that nobody sees the end of a stream that still counts here.
                while (_finished.TryDequeue(QueueKind.Finished, out var finished)) localSideDone(finished);
                var write = transport.WriteAsync(_output.Written);
                while (_sent.TryDequeue(QueueKind.Round, out var stream)) stream.CompleteWrite();
                await write;
            }
        }
        finally
        {
            lock (Gate)
            {
                _output.Release();
                _control.Release();
                _headerBlock.Release();
            }
        }
    }

    /// <summary>Holds control frames back until <see cref="Uncork"/>, so that one batch of input causes one write.</summary>
    public void Cork()
    {
        lock (Gate) _corked = true;
    }

    public void Uncork()
    {
        bool wake;
        lock (Gate)
        {
            _corked = false;
            wake = TakeWake();
        }
        if (wake) _wake.Set();
    }

    /// <summary>Starts the writer if something is queued and it is idle.</summary>
    public void Flush()
    {
        bool wake;
        lock (Gate) wake = TakeWake();
        if (wake) _wake.Set();
    }

    /// <summary>Lets the writer end once everything queued is sent.</summary>
    public void Stop()
    {
        bool wake;
        lock (Gate)
        {
            _stopping = true;
            _corked = false;
            wake = _idle;
            _idle = false;
        }
        if (wake) _wake.Set();
    }

    /// <summary>Fails every later write and ends the writer without sending what is queued.</summary>
    public void Fail(Exception failure)
    {
        lock (Gate)
        {
            _failure ??= failure;
            _control.Reset();
            _ready = default;
        }
        Stop();
    }

    public void Preface(ReadOnlySpan<(SettingId, uint)> settings, bool client)
    {
        lock (Gate)
        {
            if (client) _control.Append(FrameWriter.Preface);
            FrameWriter.Settings(_control, settings);
        }
    }

    public void Ping(ulong payload, bool ack) => Send(static (output, s) => FrameWriter.Ping(output, s.payload, s.ack), (payload, ack), isAnswer: ack);
    public void WindowUpdate(int stream, int increment) => Send(static (output, s) => FrameWriter.WindowUpdate(output, s.stream, s.increment), (stream, increment));
    public void Reset(int stream, ErrorCode code) => Send(static (output, s) => FrameWriter.RstStream(output, s.stream, s.code), (stream, code));
    public void GoAway(int last, ErrorCode code, string debug = "") => Send(static (output, s) => FrameWriter.GoAway(output, s.last, s.code, s.debug), (last, code, debug));

    /// <summary>Credit for a stream and its connection in one go; zero increments are left out.</summary>
    public void WindowUpdates(int stream, int streamIncrement, int connectionIncrement) => Send(
        static (output, s) =>
        {
            if (s.streamIncrement > 0) FrameWriter.WindowUpdate(output, s.stream, s.streamIncrement);
            if (s.connectionIncrement > 0) FrameWriter.WindowUpdate(output, 0, s.connectionIncrement);
        },
        (stream, streamIncrement, connectionIncrement));

    public void Headers(HboneStream stream, ReadOnlySpan<HeaderField> fields, bool endStream)
    {
        bool wake;
        lock (Gate)
        {
            HeadersLocked(stream, fields, endStream);
            wake = TakeWake();
        }
        if (wake) _wake.Set();
    }

    /// <summary>Appends a header block; the caller holds <see cref="Gate"/> and calls <see cref="Flush"/> afterwards.</summary>
    public void HeadersLocked(HboneStream stream, ReadOnlySpan<HeaderField> fields, bool endStream)
    {
        if (_failure is not null) return;
        if (endStream) stream.SendFinished = true;
        _headerBlock.Reset();
        _encoder.Encode(fields, _headerBlock);
        FrameWriter.Headers(_control, stream.Id, _headerBlock.Written.Span, endStream, Peer.MaxFrameSize);
    }

    /// <summary>Queues the stream's bytes; the stream's write signal is set when they are copied. False when the stream or tunnel is over.</summary>
    public bool TryWrite(HboneStream stream, ReadOnlyMemory<byte> bytes)
    {
        bool wake;
        lock (Gate)
        {
            if (_failure is not null || stream.SendFinished || stream.IsReset) return false;
            stream.Pending = bytes;
            _ready.Enqueue(QueueKind.Ready, stream);
            wake = TakeWake();
        }
        if (wake) _wake.Set();
        return true;
    }

    /// <summary>Queues END_STREAM behind the stream's bytes.</summary>
    public void Finish(HboneStream stream)
    {
        bool wake;
        lock (Gate)
        {
            if (_failure is not null || stream.SendFinished || stream.IsReset) return;
            stream.SendFinished = true;
            stream.FinishQueued = true;
            _ready.Enqueue(QueueKind.Ready, stream);
            wake = TakeWake();
        }
        if (wake) _wake.Set();
    }

    /// <summary>The peer's new settings; true when every open stream's window stayed within bounds.</summary>
    public bool Apply(ReadOnlySpan<byte> settings, bool peerIsServer, IEnumerable<HboneStream> streams)
    {
        lock (Gate)
        {
            var before = Peer.InitialWindowSize;
            Peer.Apply(settings, peerIsServer);
            _encoder.LimitTable(Peer.HeaderTableSize);
            var delta = (long)Peer.InitialWindowSize - before;
            foreach (var stream in streams)
            {
                if (stream.SendWindow + delta > FlowControl.MaxWindow) return false;
                stream.SendWindow += delta;
                if (stream.HasSomethingToSend) _ready.Enqueue(QueueKind.Ready, stream);
            }
            FrameWriter.SettingsAck(_control);
            return true;
        }
    }

    /// <summary>Credit for the connection; false when it exceeds 2^31 − 1.</summary>
    public bool AddCredit(int increment)
    {
        bool wake;
        lock (Gate)
        {
            if ((long)SendWindow + increment > FlowControl.MaxWindow) return false;
            SendWindow += increment;
            wake = TakeWake();
        }
        if (wake) _wake.Set();
        return true;
    }

    /// <summary>Credit for one stream; false when it exceeds 2^31 − 1.</summary>
    public bool AddCredit(HboneStream stream, int increment)
    {
        bool wake;
        lock (Gate)
        {
            if (stream.SendWindow + increment > FlowControl.MaxWindow) return false;
            stream.SendWindow += increment;
            if (stream.HasSomethingToSend) _ready.Enqueue(QueueKind.Ready, stream);
            wake = TakeWake();
        }
        if (wake) _wake.Set();
        return true;
    }

    private void Send<TState>(Action<OutputBuffer, TState> append, TState state, bool isAnswer = false)
    {
        bool wake;
        lock (Gate)
        {
            if (_failure is not null || _stopping) return;
            if (isAnswer && _control.Count > MaxControlBytes)
                throw new ConnectionErrorException(ErrorCode.EnhanceYourCalm, "the peer does not read while it makes us answer");
            append(_control, state);
            wake = TakeWake();
        }
        if (wake) _wake.Set();
    }

    private bool TakeWake()
    {
        if (!_idle || _corked || (_control.Count == 0 && _ready.IsEmpty)) return false;
        _idle = false;
        return true;
    }

    /// <summary>Gathers the next write. False when there is nothing to send now.</summary>
    private bool Fill(out bool stop)
    {
        lock (Gate)
        {
            _output.Reset();
            if (_control.Count > 0)
            {
                _output.Append(_control.Written.Span);
                _control.Reset();
            }
            while (_output.Count < OutputBytes && _ready.TryDequeue(QueueKind.Ready, out var stream))
            {
                if (!Take(stream)) break;
            }
            stop = false;
            if (_output.Count > 0) return true;
            stop = _stopping || _failure is not null;
            _output.Release();   // an idle tunnel holds no output memory
            _control.Release();
            _idle = true;
            _wake.Reset();
            return false;
        }
    }

    /// <summary>Copies one stream's share. False when the connection's window is used up.</summary>
    private bool Take(HboneStream stream)
    {
        var share = _ready.IsEmpty ? OutputBytes - _output.Count : Math.Min(ShareBytes, OutputBytes - _output.Count);
        var wanted = Math.Min(share, stream.Pending.Length);
        _output.Reserve(wanted + (((wanted / Math.Min(MaxDataFrame, Peer.MaxFrameSize)) + 2) * FrameHeader.Size));   // grown once, not by doubling
        while (!stream.Pending.IsEmpty && share > 0)
        {
            var count = (int)Math.Min(Math.Min(stream.Pending.Length, share), Math.Min(stream.SendWindow, Math.Min(MaxDataFrame, Peer.MaxFrameSize)));
            if (count <= 0) return true;   // the stream's own window is used up; credit brings it back
            if (SendWindow < count)
            {
                if (SendWindow <= 0)
                {
                    _ready.EnqueueFirst(QueueKind.Ready, stream);
                    return false;
                }
                count = SendWindow;
            }
            FrameWriter.Data(_output, stream.Id, stream.Pending.Span[..count], endStream: false);
            stream.Pending = stream.Pending[count..];
            stream.SendWindow -= count;
            SendWindow -= count;
            share -= count;
            if (stream.Pending.IsEmpty && stream.WriteWaiting) _sent.Enqueue(QueueKind.Round, stream);
        }
        if (!stream.Pending.IsEmpty) _ready.Enqueue(QueueKind.Ready, stream);
        else if (stream.FinishQueued)
        {
            FrameWriter.Data(_output, stream.Id, default, endStream: true);
            stream.FinishQueued = false;
            _finished.Enqueue(QueueKind.Finished, stream);
        }
        return true;
    }
}
