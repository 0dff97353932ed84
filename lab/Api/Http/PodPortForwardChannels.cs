using System.Buffers.Binary;
using System.Globalization;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Text;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Pods;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>
/// pods/portforward over WebSocket with subprotocol <c>v4.channel.k8s.io</c>: the i-th of the query's ports has channel 2i for data and 2i+1
/// for errors; the first byte of a message is its channel; on each channel the port goes first, as two bytes, little endian.
/// </summary>
/// <remarks>As the kubelet does it (cri/streaming/portforward/websocket.go): one connection to a port, and when all have ended the WebSocket is closed.</remarks>
internal static class PodPortForwardChannels
{
    public const string Protocol = "v4.channel.k8s.io";
    private static readonly TimeSpan ClosePatience = TimeSpan.FromSeconds(5);

    public static async Task HandleAsync(RequestContext c, PodReference pod, IPodRuntime runtime)
    {
        var ports = Ports([.. c.Request.Query["ports"].OfType<string>().SelectMany(p => p.Split(','))]);
        using var socket = await c.Http.WebSockets.AcceptWebSocketAsync(Protocol);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(c.Aborted, c.Server.Stopping);
        using var session = new Session(socket);
        try
        {
            for (var i = 0; i < ports.Length; i++) await session.SayPortAsync(i, ports[i], end.Token);
            var targets = ports.Select((port, i) => session.ForwardAsync(i, port, pod, runtime, end.Token)).ToList();
            var receiving = session.ReceiveAsync(end.Token);
            await Task.WhenAny(Task.WhenAll(targets), receiving);
            await socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, "", end.Token);
            // A receive that is cancelled breaks the connection and loses what was sent, so the client's close is awaited instead.
            end.CancelAfter(ClosePatience);
            await receiving;
            await end.CancelAsync();
            await Task.WhenAll(targets);
        }
        catch (Exception e) when (e is IOException or WebSocketException or OperationCanceledException)
        {
            // The client is gone; the forwarded connections go with it.
        }
    }

    private static ushort[] Ports(string[] asked)
    {
        if (asked.Length == 0) throw ApiErrors.BadRequest("query parameter \"port\" is required");
        return [.. asked.Select(port => ushort.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number > 0 ? number : throw ApiErrors.BadRequest($"invalid port \"{port}\""))];
    }

    private sealed class Session(WebSocket socket) : IDisposable
    {
        private const int LargestPiece = 32 * 1024;
        private readonly SemaphoreSlim _turn = new(1);
        private readonly Dictionary<int, TaskCompletionSource<Stream>> _targets = [];

        public async Task SayPortAsync(int index, ushort port, CancellationToken cancellationToken)
        {
            _targets[index] = new TaskCompletionSource<Stream>(TaskCreationOptions.RunContinuationsAsynchronously);
            var name = new byte[2];
            BinaryPrimitives.WriteUInt16LittleEndian(name, port);
            await SendAsync(2 * index, name, cancellationToken);
            await SendAsync((2 * index) + 1, name, cancellationToken);
        }

        /// <summary>Connects and carries the pod's bytes to the client until the pod closes.</summary>
        public async Task ForwardAsync(int index, ushort port, PodReference pod, IPodRuntime runtime, CancellationToken cancellationToken)
        {
            try
            {
                await using var target = await runtime.ConnectAsync(pod, port, cancellationToken);
                _targets[index].TrySetResult(target);
                var buffer = new byte[LargestPiece];
                int read;
                while ((read = await target.ReadAsync(buffer, cancellationToken)) > 0) await SendAsync(2 * index, buffer.AsMemory(0, read), cancellationToken);
            }
            catch (Exception e) when (e is IOException or SocketException or ApiException)
            {
                _targets[index].TrySetCanceled(CancellationToken.None);
                await SendAsync((2 * index) + 1, Encoding.UTF8.GetBytes($"error forwarding port {port} to pod {pod.Uid}, uid : {e.Message}"), cancellationToken);
            }
            catch (OperationCanceledException)
            {
                // The other ports or the client ended first.
            }
        }

        /// <summary>Hands the client's bytes to the pod until the client closes.</summary>
        public async Task ReceiveAsync(CancellationToken cancellationToken)
        {
            var buffer = new byte[LargestPiece];
            var channel = -1;
            try
            {
                while (socket.State is WebSocketState.Open or WebSocketState.CloseSent)
                {
                    var piece = await socket.ReceiveAsync(buffer.AsMemory(), cancellationToken);
                    if (piece.MessageType == WebSocketMessageType.Close) return;
                    var skip = channel < 0 && piece.Count > 0 ? 1 : 0;
                    if (skip > 0) channel = buffer[0];
                    if (channel >= 0 && channel % 2 == 0 && piece.Count > skip) await WriteAsync(channel / 2, buffer.AsMemory(skip, piece.Count - skip), cancellationToken);
                    if (piece.EndOfMessage) channel = -1;
                }
            }
            catch (Exception e) when (e is OperationCanceledException or WebSocketException)
            {
                // Closed from the other direction.
            }
        }

        private async Task WriteAsync(int index, ReadOnlyMemory<byte> data, CancellationToken cancellationToken)
        {
            if (!_targets.TryGetValue(index, out var target)) return;
            try
            {
                await (await target.Task.WaitAsync(cancellationToken)).WriteAsync(data, cancellationToken);
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException or TaskCanceledException)
            {
                // The pod's end closed or never opened; its own direction says so to the client.
            }
        }

        private async Task SendAsync(int channel, ReadOnlyMemory<byte> data, CancellationToken cancellationToken)
        {
            var message = new byte[data.Length + 1];
            message[0] = (byte)channel;
            data.CopyTo(message.AsMemory(1));
            await _turn.WaitAsync(cancellationToken);
            try
            {
                await socket.SendAsync(message, WebSocketMessageType.Binary, true, cancellationToken);
            }
            finally
            {
                _turn.Release();
            }
        }

        public void Dispose() => _turn.Dispose();
    }
}
