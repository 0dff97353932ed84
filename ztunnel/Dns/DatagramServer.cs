using System.Net;
using System.Net.Sockets;

namespace AmbientMesh.Ztunnel.Dns;

/// <summary>Serves queries that come as datagrams on one socket.</summary>
public sealed class DatagramServer : IAsyncDisposable
{
    private const int LongestQuery = 4096;
    private const int DiscardPort = 9;
    private const int ReceiveBufferBytes = 512 * 1024;   // a burst of a thousand questions; the kernel may allow less

    private readonly Socket _socket;
    private readonly QueryAnswering _answering;
    private readonly CancellationTokenSource _closing = new();
    private readonly TaskCompletionSource _idle = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Task _receiving;
    private volatile bool _draining;
    private int _waiting;

    /// <summary>Starts receiving on a bound socket, which is owned from now on.</summary>
    public DatagramServer(Socket socket, QueryAnswering answering)
    {
        (_socket, _answering) = (socket, answering);
        EndPoint = (IPEndPoint)socket.LocalEndPoint!;
        socket.ReceiveBufferSize = ReceiveBufferBytes;
        _receiving = Task.Run(ReceiveAsync, CancellationToken.None);
    }

    public IPEndPoint EndPoint { get; }

    /// <summary>Takes no more queries and answers those it has; another process on the same port gets the rest.</summary>
    /// <remarks>A connected socket gets only its peer's datagrams, and nobody sends from the discard port; what it got before stays readable, and it can still answer.</remarks>
    public async Task DrainAsync(CancellationToken cancellationToken)
    {
        try
        {
            await _socket.ConnectAsync(new IPEndPoint(EndPoint.AddressFamily == AddressFamily.InterNetworkV6 ? IPAddress.IPv6Loopback : IPAddress.Loopback, DiscardPort), cancellationToken);
            _draining = true;
            if (_socket.Available == 0 && Volatile.Read(ref _waiting) == 0) return;
            await _idle.Task.WaitAsync(cancellationToken);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // What is left is asked again by the resolver.
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _closing.CancelAsync();
        _socket.Dispose();
        await _receiving;
        _closing.Dispose();
    }

    private async Task ReceiveAsync()
    {
        var buffer = new byte[LongestQuery];
        var from = new SocketAddress(EndPoint.AddressFamily);
        while (!_closing.IsCancellationRequested)
        {
            try
            {
                var length = await _socket.ReceiveFromAsync(buffer, SocketFlags.None, from, _closing.Token);
                var peer = (IPEndPoint)EndPoint.Create(from);
                var answering = _answering.AnswerAsync(buffer.AsMemory(0, length).ToArray(), DnsTransport.Udp, peer, null, _closing.Token);
                if (answering.IsCompletedSuccessfully)
                {
                    if (answering.Result is { } answer) await _socket.SendToAsync(answer, SocketFlags.None, from, _closing.Token);
                }
                else
                {
                    Interlocked.Increment(ref _waiting);
                    _ = FinishAsync(answering, peer);
                }
                SignalWhenIdle();
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException) when (!_closing.IsCancellationRequested)
            {
                // A client that has gone before its answer (ICMP): the others are served on.
            }
            catch (SocketException)
            {
                return;
            }
        }
    }

    private async Task FinishAsync(ValueTask<byte[]?> answering, IPEndPoint peer)
    {
        try
        {
            if (await answering is { } answer) await _socket.SendToAsync(answer, SocketFlags.None, peer, _closing.Token);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException or ObjectDisposedException)
        {
            // The client has gone, or the proxy ends.
        }
        finally
        {
            Interlocked.Decrement(ref _waiting);
            SignalWhenIdle();
        }
    }

    private void SignalWhenIdle()
    {
        if (!_draining) return;
        try
        {
            if (_socket.Available == 0 && Volatile.Read(ref _waiting) == 0) _idle.TrySetResult();
        }
        catch (ObjectDisposedException)
        {
            _idle.TrySetResult();
        }
    }
}
