using System.Net.Sockets;

namespace AmbientMesh.Linux;

/// <summary>Listens on a Unix socket of type SOCK_SEQPACKET; message borders are kept and descriptors can travel along.</summary>
public sealed class SeqPacketListener : IDisposable
{
    private readonly Socket _socket;
    private readonly string _path;

    private SeqPacketListener(Socket socket, string path)
    {
        _socket = socket;
        _path = path;
    }

    /// <summary>Binds <paramref name="path"/>, readable and writable by the owner only. A socket file left by a dead process is replaced.</summary>
    /// <exception cref="IOException">A live process listens there, the folder is missing, or the path is longer than 107 bytes.</exception>
    public static SeqPacketListener Bind(string path, int backlog = 16)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Seqpacket, ProtocolType.Unspecified);
        try
        {
            RemoveStale(path);
            socket.Bind(new UnixDomainSocketEndPoint(path));
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            socket.Listen(backlog);
            return new SeqPacketListener(socket, path);
        }
        catch (Exception e) when (e is SocketException or ArgumentOutOfRangeException or UnauthorizedAccessException)
        {
            socket.Dispose();
            throw new IOException($"Cannot listen on {path}: {e.Message}", e);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>The next peer; owned by the caller.</summary>
    public async ValueTask<SeqPacketConnection> AcceptAsync(CancellationToken cancellationToken) =>
        new(await _socket.AcceptAsync(cancellationToken));

    /// <summary>Stops listening and removes the socket file.</summary>
    public void Dispose()
    {
        _socket.Dispose();
        File.Delete(_path);
    }

    private static void RemoveStale(string path)
    {
        if (!File.Exists(path)) return;
        using var probe = new Socket(AddressFamily.Unix, SocketType.Seqpacket, ProtocolType.Unspecified);
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(path));
        }
        catch (SocketException)
        {
            File.Delete(path);
            return;
        }
        throw new IOException($"Cannot listen on {path}: another process is listening there.");
    }
}
