namespace AmbientMesh.Hbone.Http2;

/// <summary>Bytes of one stream that arrived and were not read: parts of the connection's own read blocks while the reader keeps up, compact copies of
/// its own once it falls behind, so that a slow stream does not hold blocks it uses a fraction of. Also the stream's receive window.</summary>
internal sealed class ReceiveQueue(int window)
{
    private const int MoveDownBytes = 32 * 1024;   // below this, joining two frames costs less than one more send
    private const int LendBytes = 8 * 1024;

    private Segment[] _segments = [];
    private int _head;
    private int _count;
    private int _window = window;         // what the peer may still send
    private int _windowSize = window;     // what it may have outstanding; grows with use
    private int _uncredited;
    private long _lastCredit;
    private bool _finished;
    private bool _discarding;
    private bool _lent;

    private struct Segment
    {
        public Block Block;
        public int Start;
        public int End;
        public bool IsOwn;   // a compact copy, filled by this queue alone
    }

    public Lock Gate { get; } = new();
    public bool ReaderWaits { get; set; }
    public bool HasBytes => _count > 0;
    public bool AtEnd => _finished && _count == 0;
    public Exception? Failure { get; private set; }

    /// <summary>The window's present size in bytes.</summary>
    public int WindowSize => _windowSize;

    /// <summary>Copies out what fits; 0 when nothing is there.</summary>
    public int Read(Span<byte> buffer)
    {
        var count = 0;
        lock (Gate)
        {
            while (_count > 0 && !buffer.IsEmpty)
            {
                ref var segment = ref _segments[_head];
                var part = Math.Min(buffer.Length, segment.End - segment.Start);
                segment.Block.Array.AsSpan(segment.Start, part).CopyTo(buffer);
                buffer = buffer[part..];
                count += part;
                Advance(part);
            }
            return count;
        }
    }

    public bool TryBorrow(out ReadOnlyMemory<byte> memory)
    {
        lock (Gate)
        {
            memory = default;
            if (_count == 0) return false;
            ref var segment = ref _segments[_head];
            memory = segment.Block.Array.AsMemory(segment.Start, segment.End - segment.Start);
            _lent = true;
            return true;
        }
    }

    public void Return(int consumed)
    {
        lock (Gate)
        {
            _lent = false;
            if (_discarding) DropAll();
            else Advance(consumed);
        }
    }

    public bool TakeWindow(int flowBytes)
    {
        lock (Gate)
        {
            if (flowBytes > _window) return false;
            _window -= flowBytes;
            return true;
        }
    }

    /// <summary>Keeps bytes of a received block.</summary>
    /// <param name="mayCompact">Nothing but this stream's bytes was handed out of the block since this stream's last ones, so that a gap (the
    /// frame header) may be closed by moving the new bytes down.</param>
    /// <returns>False when nobody will read the bytes any more.</returns>
    public bool Deliver(Block block, int offset, int count, bool mayCompact)
    {
        lock (Gate)
        {
            if (_discarding || _finished || Failure is not null) return false;
            if (_count > 0 && TryExtend(ref Tail(), block, offset, count, mayCompact)) return true;
            if (_count == 0 && (ReaderWaits || count >= LendBytes))
            {
                block.Retain();
                Append(new Segment { Block = block, Start = offset, End = offset + count });
                return true;
            }
            CopyIn(block.Array.AsSpan(offset, count));
            return true;
        }
    }

    /// <summary>Credit to announce, once a quarter of the window was used. The window doubles while the stream uses half of it per round trip.</summary>
    public int Credit(int consumed, TimeSpan? roundTrip, int maxWindow, TimeProvider clock)
    {
        lock (Gate)
        {
            _uncredited += consumed;
            if (_finished || _discarding || _uncredited < _windowSize / 4) return 0;
            var now = clock.GetTimestamp();
            var credit = _uncredited;
            if (_lastCredit != 0 && roundTrip is { } trip && clock.GetElapsedTime(_lastCredit, now) * 2 < trip && _windowSize < maxWindow)
            {
                var grown = Math.Min(_windowSize * 2, maxWindow);
                credit += grown - _windowSize;
                _windowSize = grown;
            }
            _lastCredit = now;
            _uncredited = 0;
            _window += credit;
            return credit;
        }
    }

    public void Finish()
    {
        lock (Gate) _finished = true;
    }

    public void Fail(Exception failure)
    {
        lock (Gate)
        {
            if (!_finished) Failure ??= failure;
        }
    }

    /// <summary>Drops what is unread and everything that still comes; returns the bytes dropped.</summary>
    public int Discard()
    {
        lock (Gate)
        {
            _discarding = true;
            var unread = 0;
            for (var i = 0; i < _count; i++)
            {
                ref var segment = ref _segments[(_head + i) % _segments.Length];
                unread += segment.End - segment.Start;
            }
            // Lent memory is still being read by somebody: it goes back with Return, never under their hands.
            if (_lent) return 0;
            DropAll();
            return unread;
        }
    }

    private void DropAll()
    {
        while (_count > 0) Pop();
    }

    private ref Segment Tail() => ref _segments[(_head + _count - 1) % _segments.Length];

    private bool TryExtend(ref Segment tail, Block block, int offset, int count, bool mayCompact)
    {
        if (tail.IsOwn || tail.Block != block) return false;
        if (tail.End != offset)
        {
            if (!mayCompact || count > MoveDownBytes) return AppendLent(block, offset, count);
            Buffer.BlockCopy(block.Array, offset, block.Array, tail.End, count);
        }
        tail.End += count;
        return true;
    }

    private bool AppendLent(Block block, int offset, int count)
    {
        block.Retain();
        Append(new Segment { Block = block, Start = offset, End = offset + count });
        return true;
    }

    private void CopyIn(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            if (_count == 0 || !Tail().IsOwn || Tail().End == Tail().Block.Array.Length)
            {
                var size = bytes.Length > 4096 || _count > 0 ? Block.Medium : 4096;
                Append(new Segment { Block = Block.Rent(size), IsOwn = true });
            }
            ref var tail = ref Tail();
            var part = Math.Min(bytes.Length, tail.Block.Array.Length - tail.End);
            bytes[..part].CopyTo(tail.Block.Array.AsSpan(tail.End));
            tail.End += part;
            bytes = bytes[part..];
        }
    }

    private void Append(Segment segment)
    {
        if (_count == _segments.Length)
        {
            var larger = new Segment[Math.Max(4, _count * 2)];
            for (var i = 0; i < _count; i++) larger[i] = _segments[(_head + i) % _segments.Length];
            _segments = larger;
            _head = 0;
        }
        _segments[(_head + _count++) % _segments.Length] = segment;
    }

    private void Advance(int count)
    {
        while (count > 0)
        {
            ref var segment = ref _segments[_head];
            var part = Math.Min(count, segment.End - segment.Start);
            segment.Start += part;
            count -= part;
            if (segment.Start == segment.End) Pop();
        }
    }

    private void Pop()
    {
        _segments[_head].Block.Release();
        _segments[_head] = default;
        _head = (_head + 1) % _segments.Length;
        _count--;
    }
}
