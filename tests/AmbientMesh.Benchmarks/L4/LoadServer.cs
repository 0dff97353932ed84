using System.Net;
using System.Net.Sockets;
using AmbientMesh.Linux;

namespace AmbientMesh.Benchmarks.L4;

/// <summary>What the first byte of a connection asks of the load server.</summary>
internal enum LoadKind : byte
{
    /// <summary>Everything that follows is counted.</summary>
    Sink = 1,
    /// <summary>Each <see cref="LoadServer.MessageBytes"/> are sent back.</summary>
    Echo = 2,
    /// <summary>One byte is sent back, then the connection is closed.</summary>
    Once = 3,
    /// <summary>One byte is sent back, then the connection is held open.</summary>
    Hold = 4,
}

/// <summary>The application at the far end: blocking sockets, one pool thread per busy connection.</summary>
internal sealed class LoadServer : IDisposable
{
    public const int Port = 9001;
    public const int MessageBytes = 1024;
    private const int SinkBytes = 256 * 1024;

    private readonly Socket _listener;
    private readonly List<Socket> _held = [];
    private long _sunk;

    public LoadServer(NetworkNamespace inside)
    {
        _listener = inside.Run(() =>
        {
            var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            listener.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            listener.Bind(new IPEndPoint(IPAddress.Any, Port));
            listener.Listen(4096);
            return listener;
        });
        new Thread(Accept) { IsBackground = true, Name = "load server" }.Start();
    }

    /// <summary>Bytes received by sinks so far.</summary>
    public long SunkBytes => Interlocked.Read(ref _sunk);

    public void Dispose()
    {
        _listener.Dispose();
        lock (_held)
        {
            foreach (var socket in _held) socket.Dispose();
            _held.Clear();
        }
    }

    private void Accept()
    {
        try
        {
            while (true)
            {
                var socket = _listener.Accept();
                ThreadPool.UnsafeQueueUserWorkItem(Serve, socket, preferLocal: false);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Disposed: the run is over.
        }
    }

    private void Serve(Socket socket)
    {
        var keep = false;
        try
        {
            socket.NoDelay = true;
            Span<byte> kind = stackalloc byte[1];
            if (socket.Receive(kind) != 1) return;
            switch ((LoadKind)kind[0])
            {
                case LoadKind.Sink: Sink(socket); break;
                case LoadKind.Echo: Echo(socket); break;
                case LoadKind.Once: socket.Send(kind); break;
                case LoadKind.Hold:
                    socket.Send(kind);
                    lock (_held) _held.Add(socket);
                    keep = true;
                    break;
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The client of a finished measurement is gone.
        }
        finally
        {
            if (!keep) socket.Dispose();
        }
    }

    private void Sink(Socket socket)
    {
        var buffer = new byte[SinkBytes];
        while (socket.Receive(buffer) is > 0 and var count) Interlocked.Add(ref _sunk, count);
    }

    private static void Echo(Socket socket)
    {
        var buffer = new byte[MessageBytes];
        while (true)
        {
            for (var got = 0; got < MessageBytes;)
            {
                var count = socket.Receive(buffer.AsSpan(got));
                if (count == 0) return;
                got += count;
            }
            socket.Send(buffer);
        }
    }
}
