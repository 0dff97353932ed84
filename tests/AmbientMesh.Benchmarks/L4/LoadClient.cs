using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using AmbientMesh.Linux;

namespace AmbientMesh.Benchmarks.L4;

/// <summary>The application at the near end. Blocking sockets on threads of their own; each method measures one thing for a given time.</summary>
internal sealed class LoadClient(NetworkNamespace inside, IPEndPoint destination)
{
    private const int SendBytes = 256 * 1024;

    public Socket Connect(LoadKind kind)
    {
        var socket = inside.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        try
        {
            socket.NoDelay = true;
            socket.ReceiveTimeout = socket.SendTimeout = 10_000;
            socket.Connect(destination);
            socket.Send([(byte)kind]);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Sends as fast as possible over <paramref name="streams"/> connections; calls <paramref name="measure"/> while they run.</summary>
    public void Flood(int streams, Action measure)
    {
        var sockets = Enumerable.Range(0, streams).Select(_ => Connect(LoadKind.Sink)).ToArray();
        var threads = sockets.Select(s => new Thread(() => Send(s)) { IsBackground = true }).ToArray();
        foreach (var thread in threads) thread.Start();
        try
        {
            measure();
        }
        finally
        {
            foreach (var socket in sockets) socket.Dispose();
            foreach (var thread in threads) thread.Join();
        }
    }

    private static void Send(Socket socket)
    {
        var buffer = new byte[SendBytes];
        try
        {
            while (true) socket.Send(buffer);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The measurement is over.
        }
    }

    /// <summary>Request and answer of 1 KB over one connection after the other; the times of each, in microseconds.</summary>
    public double[] PingPong(TimeSpan duration)
    {
        using var socket = Connect(LoadKind.Echo);
        var message = new byte[LoadServer.MessageBytes];
        var times = new List<double>(1 << 17);
        for (var i = 0; i < 200; i++) Exchange(socket, message);
        for (var clock = Stopwatch.StartNew(); clock.Elapsed < duration;)
        {
            var began = Stopwatch.GetTimestamp();
            Exchange(socket, message);
            times.Add(Stopwatch.GetElapsedTime(began).TotalMicroseconds);
        }
        return [.. times];
    }

    private static void Exchange(Socket socket, byte[] message)
    {
        socket.Send(message);
        for (var got = 0; got < message.Length;)
        {
            var count = socket.Receive(message.AsSpan(got));
            if (count == 0) throw new IOException("The path closed an echo connection.");
            got += count;
        }
    }

    /// <summary>New connections per second and how many they were, each with one byte there and back, by <paramref name="clients"/> at once.</summary>
    public (double Rate, long Count) Connections(int clients, TimeSpan duration)
    {
        long done = 0;
        Exception? failure = null;
        var clock = Stopwatch.StartNew();
        var threads = Enumerable.Range(0, clients).Select(_ => new Thread(() =>
        {
            try
            {
                var answer = new byte[1];
                while (clock.Elapsed < duration)
                {
                    using var socket = Connect(LoadKind.Once);
                    if (socket.Receive(answer) != 1) throw new IOException("The path closed a new connection without an answer.");
                    Interlocked.Increment(ref done);
                }
            }
            catch (Exception e) when (e is SocketException or IOException)
            {
                Interlocked.CompareExchange(ref failure, e, null);
            }
        })
        { IsBackground = true }).ToArray();
        foreach (var thread in threads) thread.Start();
        foreach (var thread in threads) thread.Join();
        if (failure is not null) throw new IOException($"After {done} new connections: {failure.Message}", failure);
        return (done / clock.Elapsed.TotalSeconds, done);
    }

    /// <summary>Open connections that carried one byte each way.</summary>
    public List<Socket> Hold(int count)
    {
        var sockets = new List<Socket>(count);
        var answer = new byte[1];
        for (var i = 0; i < count; i++)
        {
            var socket = Connect(LoadKind.Hold);
            sockets.Add(socket);
            if (socket.Receive(answer) != 1) throw new IOException($"Connection {i} was closed without an answer.");
        }
        return sockets;
    }
}
