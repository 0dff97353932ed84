using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Text;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Pods;
using Microsoft.AspNetCore.Http.Features;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>
/// pods/portforward: WebSocket with subprotocol <c>SPDY/3.1+portforward.k8s.io</c>, whose binary messages carry a SPDY connection.
/// Each forwarded connection is a pair of streams, <c>error</c> and <c>data</c>, that name the port. The older form without SPDY is
/// <see cref="PodPortForwardChannels"/>.
/// </summary>
internal static class PodPortForwardRequests
{
    private const string Protocol = "SPDY/3.1+portforward.k8s.io";

    public static async Task HandleAsync(RequestContext c)
    {
        var pod = PodTargets.Reference(c);
        var runtime = PodTargets.Runtime(c);
        if (c.Http.WebSockets.IsWebSocketRequest && c.Http.WebSockets.WebSocketRequestedProtocols.Contains(PodPortForwardChannels.Protocol))
        {
            await PodPortForwardChannels.HandleAsync(c, pod, runtime);
            return;
        }
        if (!c.Http.WebSockets.IsWebSocketRequest || !c.Http.WebSockets.WebSocketRequestedProtocols.Contains(Protocol))
            throw ApiErrors.BadRequest($"unable to upgrade: the lab forwards ports over WebSocket with subprotocol {Protocol} or {PodPortForwardChannels.Protocol}");
        using var socket = await AcceptAsync(c);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(c.Aborted, c.Server.Stopping);
        await using var transport = new WebSocketBytes(socket);
        using var frames = new SpdyFrames(transport);
        var session = new Session(frames, runtime, pod, end);
        try
        {
            await session.RunAsync();
        }
        catch (Exception e) when (e is IOException or WebSocketException or OperationCanceledException)
        {
            // The client is gone; the forwarded connections go with it.
        }
        finally
        {
            await end.CancelAsync();
            await session.EndAsync();
        }
    }

    /// <summary>The framework refuses subprotocol names with a slash, so the upgrade is answered here (RFC 6455 §4.2.2).</summary>
    private static async Task<WebSocket> AcceptAsync(RequestContext c)
    {
        var upgrade = c.Http.Features.Get<IHttpUpgradeFeature>() is { IsUpgradableRequest: true } feature ? feature : throw ApiErrors.BadRequest("Upgrade request required");
        var headers = c.Http.Response.Headers;
        headers.Connection = "Upgrade";
        headers.Upgrade = "websocket";
        headers.SecWebSocketAccept = Convert.ToBase64String(SHA1.HashData(Encoding.ASCII.GetBytes($"{c.Request.Headers.SecWebSocketKey}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
        headers.SecWebSocketProtocol = Protocol;
        return WebSocket.CreateFromStream(await upgrade.UpgradeAsync(), new WebSocketCreationOptions { IsServer = true });
    }

    private sealed class Session(SpdyFrames frames, IPodRuntime runtime, PodReference pod, CancellationTokenSource end)
    {
        private readonly ConcurrentDictionary<int, Forwarding> _byStream = new();
        private readonly Dictionary<string, int> _errorStreams = new(StringComparer.Ordinal);
        private readonly ConcurrentBag<Task> _running = [];

        public async Task RunAsync()
        {
            while (await frames.ReadAsync(end.Token) is { } frame)
            {
                switch (frame.Type)
                {
                    case SpdyFrame.SynStream:
                        await OpenAsync(frame);
                        break;
                    case SpdyFrame.Data:
                        if (_byStream.TryGetValue(frame.Stream, out var forwarding)) await forwarding.ReceiveAsync(frame.Payload, frame.IsFinal, end.Token);
                        break;
                    case SpdyFrame.Reset:
                        if (_byStream.TryRemove(frame.Stream, out var broken)) await broken.CloseAsync();
                        break;
                    case SpdyFrame.Ping:
                        await frames.WriteControlAsync(SpdyFrame.Ping, 0, frame.Payload, end.Token);
                        break;
                    case SpdyFrame.GoAway:
                        return;
                }
            }
        }

        private async Task OpenAsync(SpdyFrame frame)
        {
            var headers = frames.Headers(frame);
            await frames.ReplyAsync(frame.Stream, end.Token);
            var request = headers.GetValueOrDefault("requestid", "");
            if (headers.GetValueOrDefault("streamtype") == "error")
            {
                _errorStreams[request] = frame.Stream;
                return;
            }
            _errorStreams.Remove(request, out var errorStream);
            var forwarding = new Forwarding(frames, frame.Stream, errorStream);
            _byStream[frame.Stream] = forwarding;
            _running.Add(ForwardAsync(forwarding, headers.GetValueOrDefault("port", "")));
        }

        private async Task ForwardAsync(Forwarding forwarding, string port)
        {
            try
            {
                if (!int.TryParse(port, out var number)) throw new IOException($"{port} is no port");
                await forwarding.RunAsync(await runtime.ConnectAsync(pod, number, end.Token), end.Token);
            }
            catch (Exception e) when (e is IOException or SocketException or ApiException)
            {
                await forwarding.FailAsync($"error forwarding port {port} to pod {pod.Name}: {e.Message}", end.Token);
            }
            finally
            {
                _byStream.TryRemove(forwarding.Stream, out _);
                await forwarding.CloseAsync();
            }
        }

        public Task EndAsync() => Task.WhenAll(_running).ContinueWith(static _ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
    }

    /// <summary>One forwarded connection.</summary>
    private sealed class Forwarding(SpdyFrames frames, int stream, int errorStream)
    {
        private readonly TaskCompletionSource<Stream> _target = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public int Stream => stream;

        /// <summary>Carries the pod's bytes to the client until the pod closes.</summary>
        public async Task RunAsync(Stream target, CancellationToken cancellationToken)
        {
            _target.TrySetResult(target);
            var buffer = new byte[32 * 1024];
            int read;
            while ((read = await target.ReadAsync(buffer, cancellationToken)) > 0) await frames.WriteDataAsync(stream, buffer.AsMemory(0, read), false, cancellationToken);
            await frames.WriteDataAsync(stream, ReadOnlyMemory<byte>.Empty, true, cancellationToken);
            await frames.WriteDataAsync(errorStream, ReadOnlyMemory<byte>.Empty, true, cancellationToken);
        }

        /// <summary>Hands the client's bytes to the pod, once it is connected.</summary>
        public async Task ReceiveAsync(byte[] data, bool final, CancellationToken cancellationToken)
        {
            try
            {
                var target = await _target.Task.WaitAsync(cancellationToken);
                if (data.Length > 0) await target.WriteAsync(data, cancellationToken);
                if (final && target is NetworkStream network) network.Socket.Shutdown(SocketShutdown.Send);
            }
            catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
            {
                // The pod's end closed or never opened; its own direction says so to the client.
            }
        }

        public async Task FailAsync(string message, CancellationToken cancellationToken)
        {
            _target.TrySetException(new IOException(message));
            await frames.WriteDataAsync(errorStream, Encoding.UTF8.GetBytes(message), true, cancellationToken);
            await frames.WriteDataAsync(stream, ReadOnlyMemory<byte>.Empty, true, cancellationToken);
        }

        public async Task CloseAsync()
        {
            _target.TrySetException(new IOException("closed"));
            if (_target.Task.IsCompletedSuccessfully) await (await _target.Task).DisposeAsync();
            else _ = _target.Task.Exception;   // observed: nobody waits any more
        }
    }
}
