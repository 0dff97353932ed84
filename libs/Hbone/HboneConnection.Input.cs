using AmbientMesh.Hbone.Hpack;
using AmbientMesh.Hbone.Http2;

namespace AmbientMesh.Hbone;

/// <summary>The receiving half: reads large blocks, parses frames in place, lends the bytes to streams, wakes their readers once per block.</summary>
public abstract partial class HboneConnection
{
    private readonly InputState _input;
    private readonly RecentIds _resetHere = new(256);
    private bool _isOver;
    private int _connectionWindow;       // what the peer may still send on the connection
    private int _connectionWindowSize;   // what it may have outstanding; grows while slow streams hold credit
    private int _uncredited;
    private long _settingsSent;
    private ITimer? _headerTimer;

    /// <summary>Least time between one of our frames and its acknowledgement; null until the first came.</summary>
    private protected TimeSpan? RoundTrip { get; private set; }

    /// <summary>Highest id of a stream the peer opened; 0 for none.</summary>
    private protected int LastPeerStream { get; set; }

    private protected abstract void OnHeaders(int streamId, HboneStream? stream, List<HeaderField> fields, HpackVerdict verdict, bool endStream);
    private protected abstract void OnGoAway(int lastStreamId, ErrorCode code, string debug);
    private protected abstract void OnSettingsApplied();
    private protected virtual void OnPong(ulong payload) { }

    /// <summary>Whether frames for this id may come although no such stream is open.</summary>
    private protected abstract bool WasOpened(int streamId);

    private protected HboneStream? Find(int streamId)
    {
        lock (_streamsGate) return _streams.GetValueOrDefault(streamId);
    }

    /// <summary>False when the connection is over.</summary>
    private protected bool TryAdd(HboneStream stream)
    {
        lock (_streamsGate)
        {
            if (_isOver) return false;
            _streams.Add(stream.Id, stream);
            return true;
        }
    }

    private async Task ReadFramesAsync()
    {
        Block? block = null;
        var end = 0;
        var size = Block.Medium;
        var idle = true;
        if (IsServer) ExpectHeaders();
        try
        {
            while (true)
            {
                if (end == 0 && idle)
                {
                    block?.Release();
                    block = null;
                    await Transport.ReadAsync(Memory<byte>.Empty);
                }
                block = Resize(block, end, size);
                var count = await Transport.ReadAsync(block.Array.AsMemory(end));
                if (count == 0) return;
                idle = count < 4096;
                if (count == block.Array.Length - end) size = Block.Large;
                end += count;
                var start = _input.Process(block, end);
                _input.NotifyReaders();
                // The rest is shorter than a frame header. A block that readers still hold parts of is not written to again.
                var rest = block.Array.AsSpan(start, end - start);
                var next = block.IsShared ? Block.Rent(size) : block;
                rest.CopyTo(next.Array);
                if (next != block) block.Release();
                block = next;
                end = rest.Length;
            }
        }
        finally
        {
            block?.Release();
        }
    }

    /// <summary>A block of the wished size, with the rest of the last one.</summary>
    private static Block Resize(Block? block, int kept, int size)
    {
        if (block is not null && block.Array.Length >= size) return block;
        var next = Block.Rent(size);
        block?.Array.AsSpan(0, kept).CopyTo(next.Array);
        block?.Release();
        return next;
    }

    /// <summary>Bytes of a stream were used: gives the peer credit, in few and large steps.</summary>
    internal void Consumed(HboneStream stream, int count)
    {
        var forStream = stream.Credit(count, RoundTrip, Options.MaxStreamWindowBytes, Clock);
        var forConnection = TakeConnectionCredit(count);
        if (forStream > 0 || forConnection > 0) Writer.WindowUpdates(stream.Id, stream.IsReset ? 0 : forStream, forConnection);
    }

    internal void CreditConnection(int count)
    {
        var credit = TakeConnectionCredit(count);
        if (credit > 0) Writer.WindowUpdate(0, credit);
    }

    private int TakeConnectionCredit(int count)
    {
        if (Interlocked.Add(ref _uncredited, count) < Options.ConnectionWindowBytes / 4) return 0;
        var credit = Interlocked.Exchange(ref _uncredited, 0);
        Interlocked.Add(ref _connectionWindow, credit);
        return credit;
    }

    /// <summary>Streams that are not read hold connection credit; others must not starve for it (T-08), up to four times the announced window.</summary>
    private void GrowConnectionWindow()
    {
        if (Volatile.Read(ref _connectionWindow) >= Options.ConnectionWindowBytes / 2 || _connectionWindowSize >= Options.ConnectionWindowBytes * 4L) return;
        var more = Options.ConnectionWindowBytes / 2;
        _connectionWindowSize += more;
        Interlocked.Add(ref _connectionWindow, more);
        Writer.WindowUpdate(0, more);
    }

    private protected void AnnounceConnectionWindow()
    {
        var increment = Options.ConnectionWindowBytes - FlowControl.DefaultWindow;
        if (increment > 0) Writer.WindowUpdate(0, increment);
    }

    /// <summary>Our RST_STREAM: the stream ends here, whatever was queued for it is dropped.</summary>
    /// <param name="outcome">What a CONNECT that still waits for its answer is told; null for a failure by this reset.</param>
    internal void ResetLocally(HboneStream stream, ErrorCode code, ConnectOutcome? outcome = null)
    {
        lock (_streamsGate)
        {
            if (!_streams.Remove(stream.Id)) return;
            _resetHere.Add(stream.Id);
        }
        lock (Writer.Gate) stream.MarkReset();
        Writer.Reset(stream.Id, code);
        StreamEnded(stream);   // before anyone is told: who learns of the end finds the place free
        stream.EndByReset(code, byPeer: false, outcome);
    }

    internal bool IsDone(HboneStream stream)
    {
        lock (_streamsGate) return !_streams.ContainsKey(stream.Id);
    }

    private bool WasResetHere(int streamId)
    {
        lock (_streamsGate) return _resetHere.Contains(streamId);
    }

    /// <summary>Whether the peer has finished and our own end is queued: nothing but END_STREAM is left to send.</summary>
    internal bool IsFinishing(HboneStream stream)
    {
        lock (_streamsGate)
        {
            if (!stream.RemoteDone) return false;
        }
        lock (Writer.Gate) return stream.SendFinished && stream.Pending.IsEmpty;
    }

    private void LocalSideDone(HboneStream stream) => SideDone(stream, local: true);

    private protected void SideDone(HboneStream stream, bool local)
    {
        lock (_streamsGate)
        {
            if (local) stream.LocalDone = true;
            else stream.RemoteDone = true;
            if (!stream.LocalDone || !stream.RemoteDone || !_streams.Remove(stream.Id)) return;
        }
        StreamEnded(stream);
    }

    /// <summary>A stream left the table. Called before its reader, its writer or its opener are told.</summary>
    private protected virtual void StreamEnded(HboneStream stream) { }

    /// <summary>A header block or the preface must be complete within the header timeout.</summary>
    private void ExpectHeaders()
    {
        _headerTimer ??= Clock.CreateTimer(
            static s => ((HboneConnection)s!).End(new TunnelLostException("the peer did not complete its preface or header block in time")),
            this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _headerTimer.Change(Options.HeaderTimeout, Timeout.InfiniteTimeSpan);
    }

    private void HeadersCame() => _headerTimer?.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);

    private void NoteRoundTrip(long sent)
    {
        var elapsed = Clock.GetElapsedTime(sent);
        if (RoundTrip is null || elapsed < RoundTrip) RoundTrip = elapsed;
    }
}
