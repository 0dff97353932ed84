using System.Net.WebSockets;
using System.Text;

namespace AmbientMesh.Kubernetes;

/// <summary>One forwarded port as a stream. Each message begins with its channel: 0 data, 1 error; on each channel the server first says the port.</summary>
/// <remarks>
/// <code>
/// server: [0][port, 2 bytes little endian] [1][port, 2 bytes] then [0][data …]* [1][text of the failure]?   client: [0][data …]*
/// </code>
/// Source: kubelet, cri/streaming/portforward/websocket.go. One reader and one writer at a time.
/// </remarks>
internal sealed class ForwardedPort(WebSocket socket, string what) : Stream
{
    private const byte Data = 0, Error = 1;
    private const int PortBytes = 2;
    private const int LargestMessage = 32 * 1024;

    private readonly byte[] _received = new byte[LargestMessage];
    private readonly byte[] _sending = new byte[LargestMessage];
    private readonly StringBuilder _error = new();
    private readonly int[] _portBytesLeft = [PortBytes, PortBytes];
    private ReadOnlyMemory<byte> _unread;
    private int _channel = -1;

    public override bool CanRead => true;
    public override bool CanWrite => true;
    public override bool CanSeek => false;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (_unread.IsEmpty)
            if (!await ReceiveAsync(cancellationToken)) return _error.Length == 0 ? 0 : throw new IOException($"{what}: {_error}");
        var count = Math.Min(buffer.Length, _unread.Length);
        _unread[..count].CopyTo(buffer);
        _unread = _unread[count..];
        return count;
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (!buffer.IsEmpty)
        {
            var count = Math.Min(buffer.Length, LargestMessage - 1);
            _sending[0] = Data;
            buffer[..count].CopyTo(_sending.AsMemory(1));
            try
            {
                await socket.SendAsync(_sending.AsMemory(0, count + 1), WebSocketMessageType.Binary, true, cancellationToken);
            }
            catch (WebSocketException e)
            {
                throw new IOException($"{what}: {e.Message}", e);
            }
            buffer = buffer[count..];
        }
    }

    /// <summary>Takes in one piece of a message; false at the end of the connection.</summary>
    private async ValueTask<bool> ReceiveAsync(CancellationToken cancellationToken)
    {
        ValueWebSocketReceiveResult piece;
        try
        {
            piece = await socket.ReceiveAsync(_received.AsMemory(), cancellationToken);
        }
        catch (WebSocketException e)
        {
            // Servers end the connection of a closed port without the closing handshake.
            return e.WebSocketErrorCode == WebSocketError.ConnectionClosedPrematurely ? false : throw new IOException($"{what}: {e.Message}", e);
        }
        if (piece.MessageType == WebSocketMessageType.Close) return false;
        ReadOnlyMemory<byte> content = _received.AsMemory(0, piece.Count);
        if (_channel < 0 && !content.IsEmpty)
        {
            _channel = content.Span[0] is Data or Error ? content.Span[0] : throw new IOException($"{what}: the server sent a message on channel {content.Span[0]}, which was not asked for");
            content = content[1..];
        }
        if (_channel >= 0) Take(content);
        if (piece.EndOfMessage) _channel = -1;
        return true;
    }

    private void Take(ReadOnlyMemory<byte> content)
    {
        var port = Math.Min(_portBytesLeft[_channel], content.Length);
        _portBytesLeft[_channel] -= port;
        content = content[port..];
        if (_channel == Data) _unread = content;
        else if (_error.Length < LargestMessage) _error.Append(Encoding.UTF8.GetString(content.Span));
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("read asynchronously");
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException("write asynchronously");
    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
    public override void Flush() { }
    public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing) socket.Dispose();
        base.Dispose(disposing);
    }
}
