using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace AmbientMesh.Samples;

/// <summary>HOST:PORT of a TCP echo.</summary>
internal sealed record EchoTarget(string Host, int Port)
{
    /// <exception cref="FormatException">It is not HOST:PORT.</exception>
    public static EchoTarget Parse(string text)
    {
        var colon = text.LastIndexOf(':');
        if (colon < 1 || !int.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var port)) throw new FormatException($"\"{text}\" is not HOST:PORT.");
        return new EchoTarget(text[..colon].Trim('[', ']'), port);
    }

    /// <summary>A new connection.</summary>
    /// <exception cref="SocketException">The name is not known, or the connection was refused or not answered.</exception>
    public async Task<Socket> ConnectAsync(CancellationToken stop)
    {
        var addresses = await Dns.GetHostAddressesAsync(Host, stop);
        if (addresses.Length == 0) throw new SocketException((int)SocketError.HostNotFound);
        var socket = new Socket(addresses[0].AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(new IPEndPoint(addresses[0], Port), stop);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
