using System.Net.Sockets;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.InPod;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Dns;

/// <summary>Serves queries over TCP; several on a connection are answered as their answers come (RFC 7766 §6.2.1.1).</summary>
public sealed class StreamServer : IAsyncDisposable
{
    /// <summary>Connections of a pod at a time; more are closed at once.</summary>
    public const int MaxConnections = 128;

    private const int MaxQueriesPerConnection = 32;
    private static readonly TimeSpan Idle = TimeSpan.FromSeconds(5);

    private readonly QueryAnswering _answering;
    private readonly PodContext _pod;
    private readonly CancellationTokenSource _closing = new();
    private readonly Listener _listener;
    private int _open;

    /// <summary>Starts accepting on a listening socket, which is owned from now on.</summary>
    public StreamServer(Socket socket, QueryAnswering answering, PodContext pod, ILogger log)
    {
        (_answering, _pod) = (answering, pod);
        _listener = new Listener(socket, ServeAsync, pod.Services.Clock, log);
    }

    /// <summary>Accepts no more; what is open ends when it is idle.</summary>
    public void Drain() => _listener.Close();

    /// <summary>Ends every connection; completes when they have ended.</summary>
    public async ValueTask DisposeAsync()
    {
        _listener.Close();
        await _closing.CancelAsync();
        await _listener.Completion;
        _closing.Dispose();
    }

    /// <summary>Completes when it is drained.</summary>
    public Task Completion => _listener.Completion;

    private async Task ServeAsync(Socket client)
    {
        try
        {
            if (Interlocked.Increment(ref _open) > MaxConnections) return;
            await using var stream = new NetworkStream(client, ownsSocket: true);
            client.NoDelay = true;
            await ConverseAsync(stream, client);
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or ObjectDisposedException)
        {
            // The client has finished, was silent too long, or has gone.
        }
        finally
        {
            Interlocked.Decrement(ref _open);
        }
    }

    private async Task ConverseAsync(NetworkStream stream, Socket client)
    {
        var peer = Listener.Canonical(client.RemoteEndPoint);
        using var room = new SemaphoreSlim(MaxQueriesPerConnection);
        using var writing = new SemaphoreSlim(1);
        var answering = new HashSet<Task>();
        try
        {
            while (await NextAsync(stream, IsAnswering) is { } message)
            {
                await room.WaitAsync(_closing.Token);
                answering.RemoveWhere(task => task.IsCompleted);
                answering.Add(AnswerAsync(message));
            }
        }
        finally
        {
            await Task.WhenAll(answering);
        }

        bool IsAnswering() => answering.Any(task => !task.IsCompleted);

        async Task AnswerAsync(byte[] message)
        {
            try
            {
                if (await _answering.AnswerAsync(message, DnsTransport.Tcp, peer, WriteAsync, _closing.Token) is { } answer) await WriteAsync(answer);
            }
            catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or ObjectDisposedException)
            {
                client.Dispose();   // it has gone; or we have
            }
            finally
            {
                room.Release();
            }
        }

        async Task WriteAsync(byte[] answer)
        {
            using var limit = new CancellationTokenSource(Idle, _pod.Services.Clock);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, _closing.Token);
            await writing.WaitAsync(either.Token);
            try
            {
                await DnsStream.WriteAsync(stream, answer, either.Token);
            }
            finally
            {
                writing.Release();
            }
        }
    }

    /// <summary>The next query; null when the client has finished.</summary>
    /// <param name="isAnswering">Whether an answer is still owed, e.g. the rest of a zone transfer: so long the client may be silent.</param>
    /// <exception cref="OperationCanceledException">It was silent too long, or the server ends.</exception>
    private async Task<byte[]?> NextAsync(NetworkStream stream, Func<bool> isAnswering)
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(_closing.Token);
        var reading = DnsStream.ReadAsync(stream, over.Token);
        while (!reading.IsCompleted && !over.IsCancellationRequested)
        {
            using var waiting = CancellationTokenSource.CreateLinkedTokenSource(over.Token);
            var silence = Task.Delay(Idle, _pod.Services.Clock, waiting.Token);
            if (await Task.WhenAny(reading, silence) == silence && !isAnswering()) await over.CancelAsync();
            await waiting.CancelAsync();
        }
        return await reading;
    }
}
