using System.Net.Sockets;

namespace AmbientMesh.Ztunnel.Dns;

/// <summary>The messages of a zone transfer after the first (over TCP, RFC 5936 §2.2), from the name server that sent it.</summary>
/// <param name="stream">The server's connection, owned from now on.</param>
/// <param name="next">The next message with the client's id; null when the server has finished.</param>
public sealed class ZoneTransfer(NetworkStream stream, Func<CancellationToken, Task<byte[]?>> next, TimeProvider clock) : IDisposable
{
    /// <summary>After this silence of the server it is over: servers keep the connection when they have sent all.</summary>
    private static readonly TimeSpan Idle = TimeSpan.FromSeconds(5);

    /// <summary>Hands every message on; returns when the server is done or silent.</summary>
    /// <remarks>Which of the two is not told apart: the client sees by the records whether it has all.</remarks>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public async Task CopyAsync(Func<byte[], Task> write, CancellationToken cancellationToken)
    {
        while (await NextAsync(cancellationToken) is { } message) await write(message);
    }

    public void Dispose() => stream.Dispose();

    private async Task<byte[]?> NextAsync(CancellationToken cancellationToken)
    {
        using var idle = new CancellationTokenSource(Idle, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(idle.Token, cancellationToken);
        try
        {
            return await next(either.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return null;
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            return null;
        }
    }
}
