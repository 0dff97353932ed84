using System.Net.Sockets;
using Microsoft.Win32.SafeHandles;

namespace AmbientMesh.Ztunnel.InPod.Handover;

/// <summary>Listening sockets of one pod that a proxy before us has opened, each under a name such as <c>tcp/15001</c>. Those nobody took are closed by disposal.</summary>
/// <remarks>A listening socket that two processes hold has one queue: when either closes its end, no waiting connection is lost.</remarks>
public sealed class InheritedSockets : IDisposable
{
    private readonly Dictionary<string, SafeSocketHandle> _handles = [];

    /// <summary>None: every socket is opened anew.</summary>
    public static InheritedSockets None => new();

    /// <summary>Puts a received descriptor under its name; it is owned from now on.</summary>
    internal void Add(string name, SafeFileHandle received)
    {
        var handle = new SafeSocketHandle(received.DangerousGetHandle(), ownsHandle: true);
        received.SetHandleAsInvalid();
        if (!_handles.TryAdd(name, handle)) handle.Dispose();
    }

    /// <summary>The socket of this name if it is there and <paramref name="isUsable"/> (one of other settings is not); null otherwise.</summary>
    public Socket? Take(string name, Predicate<Socket> isUsable)
    {
        if (!_handles.Remove(name, out var handle)) return null;
        try
        {
            var socket = new Socket(handle);
            if (isUsable(socket)) return socket;
            socket.Dispose();
        }
        catch (SocketException)
        {
            handle.Dispose();   // no socket of a kind we know
        }
        return null;
    }

    public void Dispose()
    {
        foreach (var handle in _handles.Values) handle.Dispose();
        _handles.Clear();
    }
}
