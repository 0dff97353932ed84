using System.Buffers.Binary;

namespace AmbientMesh.Hbone.Http2;

/// <summary>What a connection does with the frames it receives. Called by one thread, in wire order.</summary>
internal interface IFrameHandler
{
    /// <summary>A DATA frame begins; <paramref name="flowBytes"/> counts against the windows (payload with padding).</summary>
    void OnData(int streamId, int flowBytes, int payloadBytes, bool endStream);
    /// <summary>Some payload of the DATA frame begun last, in place.</summary>
    void OnDataBytes(Block block, int offset, int count);
    /// <summary>The DATA frame begun last is complete.</summary>
    void OnDataEnd();
    void OnHeaders(int streamId, ReadOnlySpan<byte> block, bool endStream);
    void OnPriority(int streamId);
    void OnReset(int streamId, ErrorCode code);
    void OnSettings(ReadOnlySpan<byte> payload);
    void OnSettingsAck();
    void OnPing(ulong payload, bool ack);
    void OnGoAway(int lastStreamId, ErrorCode code, string debug);
    void OnWindowUpdate(int streamId, int increment);
    /// <summary>A header block was begun and did not end in its HEADERS frame, or it did after all.</summary>
    void OnHeaderBlockOpen(bool open);
    /// <summary>A frame of an unknown type begins; its payload is passed over.</summary>
    void OnUnknown();
}

/// <summary>Cuts a byte stream into frames and checks what can be checked without connection state (RFC 9113 §4 and §6). DATA is handed on piece by
/// piece without copying; everything else is small and collected. Sizes are checked before memory is taken.</summary>
/// <exception cref="ConnectionErrorException">The peer broke the framing.</exception>
internal sealed class FrameReader(IFrameHandler handler, int maxFrameSize, int maxHeaderBlockBytes)
{
    private const int MaxContinuations = 16;
    private const int MaxSettingsBytes = 6 * 128;
    private const int GoAwayKeptBytes = 8 + 256;

    private enum Phase { Header, Data, Collect, Skip }

    private readonly OutputBuffer _collected = new(512);
    private readonly OutputBuffer _block = new(1024);
    private Phase _phase;
    private FrameHeader _frame;
    private int _remaining;   // payload bytes of the current frame not yet seen, without padding
    private int _padding;
    private bool _first = true;
    private int _blockStream;   // stream whose header block is open, 0 for none
    private bool _blockEndsStream;
    private int _continuations;

    /// <summary>Consumes what it can from <c>block[start..end)</c>; returns where the unconsumed rest (less than a frame header) begins.</summary>
    public int Consume(Block block, int start, int end)
    {
        while (true)
        {
            switch (_phase)
            {
                case Phase.Header:
                    if (end - start < FrameHeader.Size) return start;
                    Begin(FrameHeader.Read(block.Array.AsSpan(start)));
                    start += FrameHeader.Size;
                    break;
                case Phase.Data when _padding < 0:
                    if (start == end) return start;
                    BeginPadded(block.Array[start++]);
                    break;
                case Phase.Data:
                    if (!TakeData(block, ref start, end)) return start;
                    break;
                case Phase.Collect:
                    if (!TakeCollected(block, ref start, end)) return start;
                    break;
                case Phase.Skip:
                    var skipped = Math.Min(_remaining, end - start);
                    start += skipped;
                    _remaining -= skipped;
                    if (_remaining > 0) return start;
                    _phase = Phase.Header;
                    break;
            }
        }
    }

    public void Release()
    {
        _collected.Release();
        _block.Release();
    }

    private void Begin(FrameHeader frame)
    {
        _frame = frame;
        _remaining = frame.Length;
        _padding = 0;
        if (frame.Length > maxFrameSize) throw Fail(ErrorCode.FrameSizeError, $"{frame.Type} frame of {frame.Length} bytes; at most {maxFrameSize} are allowed");
        if (_first && (frame.Type != FrameType.Settings || frame.Has(FrameFlags.Ack))) throw Fail(ErrorCode.ProtocolError, $"the first frame is {frame.Type}, not SETTINGS");
        _first = false;
        if (_blockStream != 0 && (frame.Type != FrameType.Continuation || frame.StreamId != _blockStream))
            throw Fail(ErrorCode.ProtocolError, $"{frame.Type} on stream {frame.StreamId} inside the header block of stream {_blockStream}");
        _phase = Check(frame);
    }

    /// <summary>Fixed sizes, stream ids and limits by type; says how the payload is taken.</summary>
    private Phase Check(FrameHeader frame)
    {
        switch (frame.Type)
        {
            case FrameType.Data:
                RequireStream(frame);
                if (frame.Has(FrameFlags.Padded) && frame.Length == 0) throw Fail(ErrorCode.FrameSizeError, "DATA without its padding length");
                if (frame.Has(FrameFlags.Padded)) _padding = -1;   // the first payload byte tells
                else handler.OnData(frame.StreamId, frame.Length, frame.Length, frame.Has(FrameFlags.EndStream));
                return Phase.Data;
            case FrameType.Headers:
                RequireStream(frame);
                RequireBlockRoom(frame.Length);
                handler.OnHeaderBlockOpen(true);
                return Phase.Collect;
            case FrameType.Continuation:
                if (_blockStream == 0) throw Fail(ErrorCode.ProtocolError, "CONTINUATION without an open header block");
                if (++_continuations > MaxContinuations) throw Fail(ErrorCode.EnhanceYourCalm, $"more than {MaxContinuations} CONTINUATION frames in one header block");
                RequireBlockRoom(frame.Length);
                return Phase.Collect;
            case FrameType.Priority:
                RequireStream(frame);
                return RequireLength(frame, 5);
            case FrameType.RstStream:
                RequireStream(frame);
                return RequireLength(frame, 4);
            case FrameType.Settings:
                RequireConnection(frame);
                if (frame.Has(FrameFlags.Ack)) return RequireLength(frame, 0);
                if (frame.Length % 6 != 0) throw Fail(ErrorCode.FrameSizeError, $"SETTINGS of {frame.Length} bytes");
                if (frame.Length > MaxSettingsBytes) throw Fail(ErrorCode.EnhanceYourCalm, $"SETTINGS of {frame.Length} bytes");
                return Phase.Collect;
            case FrameType.PushPromise:
                throw Fail(ErrorCode.ProtocolError, "PUSH_PROMISE, which is not enabled");
            case FrameType.Ping:
                RequireConnection(frame);
                return RequireLength(frame, 8);
            case FrameType.GoAway:
                RequireConnection(frame);
                if (frame.Length < 8) throw Fail(ErrorCode.FrameSizeError, $"GOAWAY of {frame.Length} bytes");
                return Phase.Collect;
            case FrameType.WindowUpdate:
                return RequireLength(frame, 4);
            default:
                handler.OnUnknown();
                return Phase.Skip;   // ignored (§5.5)
        }
    }

    private void BeginPadded(int padding)
    {
        if (padding >= _frame.Length) throw Fail(ErrorCode.ProtocolError, $"DATA of {_frame.Length} bytes with {padding} bytes of padding");
        _padding = padding;
        _remaining = _frame.Length - 1 - padding;
        handler.OnData(_frame.StreamId, _frame.Length, _remaining, _frame.Has(FrameFlags.EndStream));
    }

    private bool TakeData(Block block, ref int start, int end)
    {
        if (_remaining > 0)
        {
            var count = Math.Min(_remaining, end - start);
            if (count > 0) handler.OnDataBytes(block, start, count);
            start += count;
            _remaining -= count;
            if (_remaining > 0) return false;
        }
        handler.OnDataEnd();
        _remaining = _padding;
        _phase = Phase.Skip;
        return true;
    }

    private bool TakeCollected(Block block, ref int start, int end)
    {
        var available = block.Array.AsSpan(start, Math.Min(_remaining, end - start));
        if (_collected.Count == 0 && available.Length == _remaining)
        {
            start += available.Length;
            _phase = Phase.Header;
            Dispatch(available);
            return true;
        }
        // Only the beginning of a GOAWAY's debug text is kept.
        var kept = _frame.Type == FrameType.GoAway ? Math.Clamp(GoAwayKeptBytes - _collected.Count, 0, available.Length) : available.Length;
        _collected.Append(available[..kept]);
        start += available.Length;
        _remaining -= available.Length;
        if (_remaining > 0) return false;
        _phase = Phase.Header;
        Dispatch(_collected.Written.Span);
        _collected.Release();
        return true;
    }

    private void Dispatch(ReadOnlySpan<byte> payload)
    {
        switch (_frame.Type)
        {
            case FrameType.Headers: BeginBlock(payload); break;
            case FrameType.Continuation: ContinueBlock(payload); break;
            case FrameType.Priority: handler.OnPriority(_frame.StreamId); break;
            case FrameType.RstStream: handler.OnReset(_frame.StreamId, (ErrorCode)BinaryPrimitives.ReadUInt32BigEndian(payload)); break;
            case FrameType.Settings when _frame.Has(FrameFlags.Ack): handler.OnSettingsAck(); break;
            case FrameType.Settings: handler.OnSettings(payload); break;
            case FrameType.Ping: handler.OnPing(BinaryPrimitives.ReadUInt64BigEndian(payload), _frame.Has(FrameFlags.Ack)); break;
            case FrameType.GoAway:
                handler.OnGoAway(
                    (int)(BinaryPrimitives.ReadUInt32BigEndian(payload) & 0x7fff_ffff),
                    (ErrorCode)BinaryPrimitives.ReadUInt32BigEndian(payload[4..]),
                    System.Text.Encoding.Latin1.GetString(payload[8..Math.Min(payload.Length, GoAwayKeptBytes)]));
                break;
            case FrameType.WindowUpdate:
                handler.OnWindowUpdate(_frame.StreamId, (int)(BinaryPrimitives.ReadUInt32BigEndian(payload) & 0x7fff_ffff));
                break;
        }
    }

    private void BeginBlock(ReadOnlySpan<byte> payload)
    {
        var padding = 0;
        if (_frame.Has(FrameFlags.Padded))
        {
            if (payload.IsEmpty) throw Fail(ErrorCode.FrameSizeError, "HEADERS without its padding length");
            padding = payload[0];
            payload = payload[1..];
        }
        if (_frame.Has(FrameFlags.Priority))
        {
            if (payload.Length < 5) throw Fail(ErrorCode.FrameSizeError, "HEADERS without its priority");
            payload = payload[5..];
        }
        if (padding > payload.Length) throw Fail(ErrorCode.ProtocolError, $"HEADERS with {padding} bytes of padding");
        payload = payload[..^padding];
        _continuations = 0;
        if (_frame.Has(FrameFlags.EndHeaders))
        {
            handler.OnHeaderBlockOpen(false);
            handler.OnHeaders(_frame.StreamId, payload, _frame.Has(FrameFlags.EndStream));
            return;
        }
        _blockStream = _frame.StreamId;
        _blockEndsStream = _frame.Has(FrameFlags.EndStream);
        _block.Append(payload);
    }

    private void ContinueBlock(ReadOnlySpan<byte> payload)
    {
        _block.Append(payload);
        if (!_frame.Has(FrameFlags.EndHeaders)) return;
        var stream = _blockStream;
        _blockStream = 0;
        handler.OnHeaderBlockOpen(false);
        handler.OnHeaders(stream, _block.Written.Span, _blockEndsStream);
        _block.Release();
    }

    private void RequireBlockRoom(int more)
    {
        if (_block.Count + more > maxHeaderBlockBytes)
            throw Fail(ErrorCode.EnhanceYourCalm, $"header block of more than {maxHeaderBlockBytes} bytes");
    }

    private static Phase RequireLength(FrameHeader frame, int length) =>
        frame.Length == length ? Phase.Collect : throw Fail(ErrorCode.FrameSizeError, $"{frame.Type} of {frame.Length} bytes; {length} expected");

    private static void RequireStream(FrameHeader frame)
    {
        if (frame.StreamId == 0) throw Fail(ErrorCode.ProtocolError, $"{frame.Type} on stream 0");
    }

    private static void RequireConnection(FrameHeader frame)
    {
        if (frame.StreamId != 0) throw Fail(ErrorCode.ProtocolError, $"{frame.Type} on stream {frame.StreamId}");
    }

    private static ConnectionErrorException Fail(ErrorCode code, string message) => new(code, message);
}
