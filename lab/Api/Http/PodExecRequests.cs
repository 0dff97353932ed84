using System.Net.WebSockets;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Pods;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>
/// pods/exec over WebSocket, subprotocols v5.channel.k8s.io and v4.channel.k8s.io: the first byte of a message is its channel
/// (0 in, 1 out, 2 err, 3 outcome, 4 terminal size, 255 end of the channel named by the next byte).
/// </summary>
internal static class PodExecRequests
{
    private const byte Stdin = 0, Stdout = 1, Stderr = 2, Outcome = 3, Resize = 4, Close = 255;
    private static readonly TimeSpan ClosePatience = TimeSpan.FromSeconds(5);
    private static readonly string[] Protocols = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

    public static async Task HandleAsync(RequestContext c)
    {
        if (c.Info.Subresource == "attach") throw new ApiException(501, "NotImplemented", "the lab does not serve pods/attach");
        var command = c.Request.Query["command"].OfType<string>().ToList();
        var (pod, container) = PodTargets.Resolve(c, c.Query("container"), "exec");
        if (command.Count == 0) throw ApiErrors.BadRequest("you must specify at least 1 command for the container");
        if (!c.Http.WebSockets.IsWebSocketRequest) throw ApiErrors.BadRequest("Upgrade request required");
        var protocol = Protocols.FirstOrDefault(p => c.Http.WebSockets.WebSocketRequestedProtocols.Contains(p))
            ?? throw ApiErrors.BadRequest($"unable to upgrade: unable to negotiate protocol: client supports [{string.Join(" ", c.Http.WebSockets.WebSocketRequestedProtocols)}], server accepts [{string.Join(" ", Protocols)}]");
        var runtime = PodTargets.Runtime(c);
        bool Flag(string name) => c.Query(name) is { } value && RequestInfo.IsTrue(value);
        var request = new PodExecRequest(pod, container, command, Flag("stdin"), Flag("stdout"), Flag("stderr") && !Flag("tty"), Flag("tty"));

        using var socket = await c.Http.WebSockets.AcceptWebSocketAsync(protocol);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(c.Aborted, c.Server.Stopping);
        await using var connection = new Connection(socket);
        await connection.SendAsync(Stdout, ReadOnlyMemory<byte>.Empty, end.Token);
        var (outcome, receiving) = await RunAsync(connection, runtime, request, end.Token);
        await connection.SendAsync(Outcome, Responses.Bytes(outcome), end.Token);
        await connection.CloseAsync(end.Token);
        // A receive that is cancelled breaks the connection and loses what was sent, so the client's close is awaited instead.
        end.CancelAfter(ClosePatience);
        await receiving.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    /// <summary>What the command ended with, and the task that goes on receiving until the client closes.</summary>
    private static async Task<(JsonObject Outcome, Task Receiving)> RunAsync(Connection connection, IPodRuntime runtime, PodExecRequest request, CancellationToken cancellationToken)
    {
        IExecSession session;
        try
        {
            session = await runtime.ExecAsync(request, cancellationToken);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            return (new JsonObject
            {
                ["metadata"] = new JsonObject(),
                ["status"] = "Failure",
                ["message"] = $"Internal error occurred: error executing command in container: {e.Message}",
                ["reason"] = "InternalError",
                ["details"] = new JsonObject { ["causes"] = new JsonArray(new JsonObject { ["message"] = $"error executing command in container: {e.Message}" }) },
                ["code"] = 500,
            }, Task.CompletedTask);
        }
        await using (session)
        {
            using var gone = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var input = ReceiveAsync(connection, session, gone.Cancel, cancellationToken);
            var output = SendAsync(connection, Stdout, session.StandardOutput, gone.Token);
            var errors = SendAsync(connection, Stderr, session.StandardError, gone.Token);
            try
            {
                var exitCode = await session.ExitCode.WaitAsync(gone.Token);
                await Task.WhenAll(output, errors);
                return (Ended(exitCode), input);
            }
            finally
            {
                await Task.WhenAll(output, errors).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private static JsonObject Ended(int exitCode) => exitCode == 0
        ? new JsonObject { ["metadata"] = new JsonObject(), ["status"] = "Success" }
        : new JsonObject
        {
            ["metadata"] = new JsonObject(),
            ["status"] = "Failure",
            ["message"] = $"command terminated with non-zero exit code: command terminated with exit code {exitCode}",
            ["reason"] = "NonZeroExitCode",
            ["details"] = new JsonObject { ["causes"] = new JsonArray(new JsonObject { ["reason"] = "ExitCode", ["message"] = $"{exitCode}" }) },
        };

    private static async Task SendAsync(Connection connection, byte channel, Stream? from, CancellationToken cancellationToken)
    {
        if (from is null) return;
        var buffer = new byte[32 * 1024];
        int read;
        while ((read = await from.ReadAsync(buffer, cancellationToken)) > 0) await connection.SendAsync(channel, buffer.AsMemory(0, read), cancellationToken);
    }

    /// <summary>Feeds the command until the client closes its input; a client that goes away ends the command.</summary>
    private static async Task ReceiveAsync(Connection connection, IExecSession session, Action gone, CancellationToken cancellationToken)
    {
        while (await connection.ReceiveAsync(cancellationToken) is { } message)
        {
            if (message.IsEmpty) continue;
            switch (message.Span[0])
            {
                case Stdin when session.StandardInput is { } input:
                    try
                    {
                        await input.WriteAsync(message[1..], cancellationToken);
                        await input.FlushAsync(cancellationToken);
                    }
                    catch (Exception ended) when (ended is IOException or ObjectDisposedException)
                    {
                        // The command no longer reads; its exit code tells the rest.
                    }
                    break;
                case Close when message.Length > 1 && message.Span[1] == Stdin && session.StandardInput is { } input:
                    await input.DisposeAsync();
                    break;
                case Resize:
                    if (JsonNode.Parse(message.Span[1..]) is { } size && size.Number("Width") is { } width && size.Number("Height") is { } height) session.Resize((int)width, (int)height);
                    break;
            }
        }
        try
        {
            gone();
        }
        catch (ObjectDisposedException)
        {
            // The command had ended before.
        }
    }

    /// <summary>One socket with its writes in turn.</summary>
    private sealed class Connection(WebSocket socket) : IAsyncDisposable
    {
        private readonly SemaphoreSlim _turn = new(1);

        public async Task SendAsync(byte channel, ReadOnlyMemory<byte> data, CancellationToken cancellationToken)
        {
            var message = new byte[data.Length + 1];
            message[0] = channel;
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

        /// <summary>The next message; null once the client closed or broke the connection.</summary>
        public async Task<ReadOnlyMemory<byte>?> ReceiveAsync(CancellationToken cancellationToken)
        {
            var buffer = new byte[64 * 1024];
            var length = 0;
            try
            {
                while (true)
                {
                    var result = await socket.ReceiveAsync(buffer.AsMemory(length), cancellationToken);
                    if (result.MessageType == WebSocketMessageType.Close) return null;
                    length += result.Count;
                    if (result.EndOfMessage) return buffer.AsMemory(0, length);
                    if (length == buffer.Length) Array.Resize(ref buffer, buffer.Length * 2);
                }
            }
            catch (WebSocketException)
            {
                return null;
            }
        }

        public async Task CloseAsync(CancellationToken cancellationToken)
        {
            try
            {
                if (socket.State is WebSocketState.Open or WebSocketState.CloseReceived) await socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, null, cancellationToken);
            }
            catch (WebSocketException)
            {
                // The client closed first.
            }
        }

        public ValueTask DisposeAsync()
        {
            _turn.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
