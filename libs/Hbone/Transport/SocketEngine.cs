using System.Net;
using System.Net.Sockets;

namespace AmbientMesh.Hbone;

/// <summary>How the runtime's socket engine runs the continuations of socket operations.</summary>
public static class SocketEngine
{
    private const string Switch = "DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS";
    private const string Threads = "DOTNET_SYSTEM_NET_SOCKETS_THREAD_COUNT";

    /// <summary>Makes continuations run on the engine's own threads, one per processor, instead of being handed to the thread pool: half the latency and
    /// processor time per message of a relay. Call once, first thing in the process and outside any pod's network namespace, since the engine's threads
    /// start here and stay where they start. Code that awaits sockets must then not block.</summary>
    /// <param name="threads">Another number of threads than one per processor; 0 for that.</param>
    public static void ContinueInline(int threads = 0)
    {
        Environment.SetEnvironmentVariable(Switch, "1");
        if (threads > 0) Environment.SetEnvironmentVariable(Threads, threads.ToString(System.Globalization.CultureInfo.InvariantCulture));
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        socket.Listen(1);
        // An accept that has to wait starts the engine's threads; closing the socket ends it.
        var accepting = socket.AcceptAsync();
        socket.Dispose();
        _ = accepting.ContinueWith(static ended => ended.Exception, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
    }
}
