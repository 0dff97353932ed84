using AmbientMesh.Hbone.Hpack;
using AmbientMesh.Hbone.Http2;

namespace AmbientMesh.Hbone;

public abstract partial class HboneConnection
{
    /// <summary>What each received frame does. Runs on the reader thread alone.</summary>
    private sealed class InputState : IFrameHandler
    {
        private const int CrumbBytes = 1024;

        private readonly HboneConnection _tunnel;
        private readonly FrameReader _frames;
        private readonly HpackDecoder _headers;
        private readonly AbuseBudget _resets;
        private readonly AbuseBudget _idleFrames;
        private readonly AbuseBudget _settings;
        private readonly AbuseBudget _crumbs;
        private readonly List<HeaderField> _fields = [];
        private StreamQueue _touched;
        private HboneStream? _data;        // stream of the DATA frame under way; null when its bytes go nowhere
        private HboneStream? _lastLent;    // owner of the bytes handed out last from this block
        private int _uncreditedPadding;
        private bool _dataEndsStream;
        private int _prefaceSeen;

        public InputState(HboneConnection tunnel)
        {
            _tunnel = tunnel;
            var clock = tunnel.Clock;
            _frames = new FrameReader(this, tunnel.Options.MaxFrameBytes, Math.Max(tunnel.MaxHeaderListBytes, 16 * 1024));
            _headers = new HpackDecoder(tunnel.MaxHeaderListBytes);
            _resets = new AbuseBudget("streams reset before they carried data", burst: 1000, perSecond: 200, clock);
            _idleFrames = new AbuseBudget("frames without effect (empty DATA, PING, PRIORITY, GOAWAY, unknown ones)", burst: 1000, perSecond: 200, clock);
            _crumbs = new AbuseBudget("WINDOW_UPDATE frames by a few bytes", burst: 10_000, perSecond: 2000, clock);
            _settings = new AbuseBudget("SETTINGS frames", burst: 100, perSecond: 10, clock);
            _prefaceSeen = tunnel.IsServer ? 0 : FrameWriter.Preface.Length;
        }

        /// <summary>Parses <c>block[0..end)</c>; returns where the rest begins, which is shorter than a frame header.</summary>
        public int Process(Block block, int end)
        {
            _lastLent = null;
            _tunnel.Writer.Cork();
            try
            {
                var start = 0;
                if (_prefaceSeen < FrameWriter.Preface.Length) start = TakePreface(block.Array.AsSpan(0, end));
                return _prefaceSeen < FrameWriter.Preface.Length ? start : _frames.Consume(block, start, end);
            }
            finally
            {
                _tunnel.Writer.Uncork();
            }
        }

        public void NotifyReaders()
        {
            while (_touched.TryDequeue(QueueKind.Touched, out var stream)) stream.Notify();
        }

        public void Release() => _frames.Release();

        private int TakePreface(ReadOnlySpan<byte> input)
        {
            var count = Math.Min(input.Length, FrameWriter.Preface.Length - _prefaceSeen);
            // As recorded: a wrong preface is answered by closing, without GOAWAY.
            if (!input[..count].SequenceEqual(FrameWriter.Preface.Slice(_prefaceSeen, count)))
                throw new ConnectionErrorException(ErrorCode.NoError, "the peer's first bytes are not the HTTP/2 preface");
            _prefaceSeen += count;
            if (_prefaceSeen == FrameWriter.Preface.Length) _tunnel.HeadersCame();
            return count;
        }

        public void OnData(int streamId, int flowBytes, int payloadBytes, bool endStream)
        {
            if (Interlocked.Add(ref _tunnel._connectionWindow, -flowBytes) < 0)
                throw new ConnectionErrorException(ErrorCode.FlowControlError, "DATA beyond the connection's window");
            _tunnel.GrowConnectionWindow();
            if (payloadBytes == 0 && !endStream) _idleFrames.Spend();
            _data = _tunnel.Find(streamId);
            _dataEndsStream = endStream;
            _uncreditedPadding = flowBytes - payloadBytes;
            if (_data is null)
            {
                OnStrayFrame(streamId, FrameType.Data);
                _uncreditedPadding = 0;
                _tunnel.CreditConnection(flowBytes);
                return;
            }
            if (_data.RemoteDone) StreamError(_data, ErrorCode.StreamClosed);
            else if (!_data.TakeWindow(flowBytes)) StreamError(_data, ErrorCode.FlowControlError);
            else if (_data.AwaitsAnswer && _data.EarlyBytes > _tunnel.Options.MaxEarlyBytes) StreamError(_data, ErrorCode.EnhanceYourCalm);
            if (_data is not null) return;
            // The stream is in error, and its bytes go nowhere; the connection's other streams must not pay for them (RFC 9113 §6.9).
            _uncreditedPadding = 0;
            _tunnel.CreditConnection(flowBytes);
        }

        public void OnDataBytes(Block block, int offset, int count)
        {
            if (_data is null) return;
            if (_data.Deliver(block, offset, count, mayCompact: _lastLent == _data)) _touched.Enqueue(QueueKind.Touched, _data);
            else _tunnel.CreditConnection(count);
            _lastLent = _data;
        }

        public void OnDataEnd()
        {
            if (_data is not { } stream) return;
            _data = null;
            if (_uncreditedPadding > 0) _tunnel.Consumed(stream, _uncreditedPadding);
            if (_dataEndsStream) RemoteFinished(stream);
        }

        public void OnHeaderBlockOpen(bool open)
        {
            if (open) _tunnel.ExpectHeaders();
            else _tunnel.HeadersCame();
        }

        public void OnHeaders(int streamId, ReadOnlySpan<byte> block, bool endStream)
        {
            _fields.Clear();
            var verdict = _headers.Decode(block, _fields);
            if (verdict == HpackVerdict.Malformed) throw new ConnectionErrorException(ErrorCode.CompressionError, "header block is not HPACK or has a string over the limit");
            var stream = _tunnel.Find(streamId);
            if (stream is null && _tunnel.WasOpened(streamId))
            {
                if (_tunnel.WasResetHere(streamId)) return;
                throw new ConnectionErrorException(ErrorCode.StreamClosed, $"HEADERS on closed stream {streamId}");
            }
            _tunnel.OnHeaders(streamId, stream, _fields, verdict, endStream);
            if (endStream && stream is not null && !stream.IsReset) RemoteFinished(stream);
        }

        public void OnPriority(int streamId) => _idleFrames.Spend();

        public void OnReset(int streamId, ErrorCode code)
        {
            if (_tunnel.Find(streamId) is not { } stream)
            {
                RequireOpened(streamId, FrameType.RstStream);
                if (!_tunnel.WasResetHere(streamId)) _idleFrames.Spend();   // both ends may reset at once
                return;
            }
            if (!stream.CarriedData && _tunnel.IsServer) _resets.Spend();
            lock (_tunnel._streamsGate)
            {
                if (!_tunnel._streams.Remove(streamId)) return;
            }
            lock (_tunnel.Writer.Gate) stream.MarkReset();
            _tunnel.StreamEnded(stream);   // before anyone is told: who learns of the end finds the place free
            stream.EndByReset(code, byPeer: true);
        }

        public void OnSettings(ReadOnlySpan<byte> payload)
        {
            _settings.Spend();
            if (!_tunnel.Writer.Apply(payload, peerIsServer: !_tunnel.IsServer, _tunnel.OpenStreams()))
                throw new ConnectionErrorException(ErrorCode.FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE makes a stream's window exceed 2^31 - 1");
            _tunnel.OnSettingsApplied();
        }

        public void OnSettingsAck()
        {
            if (_tunnel._settingsSent != 0) _tunnel.NoteRoundTrip(_tunnel._settingsSent);
            else _idleFrames.Spend();
            _tunnel._settingsSent = 0;
        }

        public void OnPing(ulong payload, bool ack)
        {
            if (!ack)
            {
                _idleFrames.Spend();
                _tunnel.Writer.Ping(payload, ack: true);
                return;
            }
            if (payload == KeepAlive.Payload && _tunnel._keepAlive.Answered()) return;
            _idleFrames.Spend();
            _tunnel.OnPong(payload);
        }

        public void OnGoAway(int lastStreamId, ErrorCode code, string debug)
        {
            _idleFrames.Spend();
            _tunnel.OnGoAway(lastStreamId, code, debug);
        }

        public void OnUnknown() => _idleFrames.Spend();

        public void OnWindowUpdate(int streamId, int increment)
        {
            if (increment < CrumbBytes) _crumbs.Spend();
            if (streamId == 0)
            {
                if (increment == 0) throw new ConnectionErrorException(ErrorCode.ProtocolError, "WINDOW_UPDATE by 0");
                if (!_tunnel.Writer.AddCredit(increment)) throw new ConnectionErrorException(ErrorCode.FlowControlError, "connection window exceeds 2^31 - 1");
                return;
            }
            if (_tunnel.Find(streamId) is not { } stream) RequireOpened(streamId, FrameType.WindowUpdate);
            else if (increment == 0) StreamError(stream, ErrorCode.ProtocolError);
            else if (!_tunnel.Writer.AddCredit(stream, increment)) StreamError(stream, ErrorCode.FlowControlError);
        }

        private void RemoteFinished(HboneStream stream)
        {
            _tunnel.SideDone(stream, local: false);   // first: who reads the end finds the stream accounted for
            stream.RemoteFinished();
            _touched.Enqueue(QueueKind.Touched, stream);
        }

        /// <summary>The peer broke a rule on one stream: it is reset, and counted, since making us reset is an attack too (CVE-2025-8671).</summary>
        private void StreamError(HboneStream stream, ErrorCode code)
        {
            _resets.Spend();
            if (_data == stream) _data = null;
            _tunnel.ResetLocally(stream, code);
        }

        /// <summary>A frame for a stream that is not open: an error for an idle one, ignored for one we reset, answered for one that is closed.</summary>
        private void OnStrayFrame(int streamId, FrameType type)
        {
            RequireOpened(streamId, type);
            if (_tunnel.WasResetHere(streamId)) return;
            _resets.Spend();
            _tunnel.Writer.Reset(streamId, ErrorCode.StreamClosed);
        }

        private void RequireOpened(int streamId, FrameType type)
        {
            if (!_tunnel.WasOpened(streamId)) throw new ConnectionErrorException(ErrorCode.ProtocolError, $"{type} on idle stream {streamId}");
        }
    }
}
