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
    private readonly CancellationTokenSource _draining = new();
    private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Task _receiving;

    // The answers that are being made, and the receiving, which alone knows whether it has a query in hand.
    private int _unfinished = 1;

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
            await _draining.CancelAsync();
            await _done.Task.WaitAsync(cancellationToken);
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
        _draining.Dispose();
        _closing.Dispose();
    }

    private async Task ReceiveAsync()
    {
        using var taking = CancellationTokenSource.CreateLinkedTokenSource(_closing.Token, _draining.Token);
        var buffer = new byte[LongestQuery];
        var from = new SocketAddress(EndPoint.AddressFamily);
        while (!_closing.IsCancellationRequested)
        {
            try
            {
                // A cancelled receive has taken nothing: what came before the drain is still there, and what is not there by then never comes.
                var draining = _draining.IsCancellationRequested;
                if (draining && !_socket.Poll(0, SelectMode.SelectRead)) break;
                var length = await _socket.ReceiveFromAsync(buffer, SocketFlags.None, from, draining ? _closing.Token : taking.Token);
                var peer = (IPEndPoint)EndPoint.Create(from);
                var answering = _answering.AnswerAsync(buffer.AsMemory(0, length).ToArray(), DnsTransport.Udp, peer, null, _closing.Token);
                if (answering.IsCompletedSuccessfully)
                {
                    if (answering.Result is { } answer) await _socket.SendToAsync(answer, SocketFlags.None, from, _closing.Token);
                }
                else
                {
                    Interlocked.Increment(ref _unfinished);
                    _ = FinishAsync(answering, peer);
                }
            }
            catch (OperationCanceledException) when (!_closing.IsCancellationRequested)
            {
                // The drain begins.
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                break;
            }
            catch (SocketException) when (!_closing.IsCancellationRequested)
            {
                // A client that has gone before its answer (ICMP): the others are served on.
            }
            catch (SocketException)
            {
                break;
            }
        }
        Finished();
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
            Finished();
        }
    }

    private void Finished()
    {
        if (Interlocked.Decrement(ref _unfinished) == 0) _done.TrySetResult();
    }
}
