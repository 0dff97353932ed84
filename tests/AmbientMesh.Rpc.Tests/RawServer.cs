using System.Net;
using System.Net.Sockets;
using System.Text;

namespace AmbientMesh.Rpc.Tests;

/// <summary>A listener whose connections a test answers frame by frame.</summary>
internal sealed class RawServer : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);

    public RawServer() => _listener.Start();

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    public RpcChannel Channel(Func<RpcChannelOptions, RpcChannelOptions>? change = null)
    {
        var options = new RpcChannelOptions { Address = new Uri($"http://127.0.0.1:{Port}") };
        return new RpcChannel(change is null ? options : change(options));
    }

    /// <summary>The next connection, its preface read and our SETTINGS sent.</summary>
    public async Task<RawHttp2> AcceptAsync()
    {
        var socket = await _listener.AcceptSocketAsync(Patience.Token);
        socket.NoDelay = true;
        var http = new RawHttp2(new NetworkStream(socket, ownsSocket: true));
        var preface = new byte[RawHttp2.Preface.Length];
        await http.Stream.ReadExactlyAsync(preface, Patience.Token);
        Assert.Equal(RawHttp2.Preface, Encoding.ASCII.GetString(preface));
        await http.WriteAsync(FrameType.Settings, 0, 0, []);
        return http;
    }

    public ValueTask DisposeAsync()
    {
        _listener.Dispose();
        return ValueTask.CompletedTask;
    }
}
