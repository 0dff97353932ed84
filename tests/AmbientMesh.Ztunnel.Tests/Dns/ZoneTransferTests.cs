using System.Net;
using System.Net.Sockets;
using AmbientMesh.Ztunnel.Dns;
using AmbientMesh.Ztunnel.InPod;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.Ztunnel.Tests.Dns;

/// <summary>Zone transfers through the DNS proxy, from a name server that the test plays.</summary>
public sealed class ZoneTransferTests : IAsyncDisposable
{
    private readonly string _resolver = Path.GetTempFileName();
    private readonly InboundBench _bench = new();
    private readonly QueryLimit _limit = new(1, null);
    private readonly Socket _nameServer = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
    private StreamServer? _proxy;
    private readonly IPEndPoint _address;

    public ZoneTransferTests()
    {
        Assert.SkipUnless(Environment.UserName == "root", "Port 53 needs root.");
        var server = new IPAddress([127, 53, (byte)Random.Shared.Next(1, 255), (byte)Random.Shared.Next(1, 255)]);   // one of the loopback addresses that nobody else uses
        _nameServer.Bind(new IPEndPoint(server, 53));
        _nameServer.Listen();
        File.WriteAllText(_resolver, $"nameserver {server}\n");
        var own = new PodSockets(null, _bench.Pod.Services.Settings);
        var forwarder = new DnsForwarder(own, own, new NameServers(_resolver, _bench.Clock, NullLogger.Instance), _bench.Clock);
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen();
        _address = (IPEndPoint)listener.LocalEndPoint!;
        _proxy = new StreamServer(listener, new QueryAnswering(_bench.Pod, forwarder, new DnsMetrics(_bench.Registry), _limit), _bench.Pod, NullLogger.Instance);
    }

    /// <summary>A client that has asked for a transfer, and the name server that got the question.</summary>
    private async Task<(NetworkStream Client, NetworkStream Server, byte[] Question)> AskedAsync()
    {
        var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await client.ConnectAsync(_address, Patience.Token);
        var asking = new NetworkStream(client, ownsSocket: true);
        await DnsStream.WriteAsync(asking, DnsMessageTests.Query("zone.test", DnsTypes.Axfr), Patience.Token);
        var server = new NetworkStream(await _nameServer.AcceptAsync(Patience.Token), ownsSocket: true);
        return (asking, server, (await DnsStream.ReadAsync(server, Patience.Token))!);
    }

    private static byte[] Message(byte[] question, ushort flags) => [question[0], question[1], (byte)(flags >> 8), (byte)flags, .. question.AsSpan(4)];

    [Fact]
    public async Task It_goes_on_as_long_as_the_server_sends_though_the_client_says_nothing_and_keeps_its_place()
    {
        var (client, server, question) = await AskedAsync();
        await using (client)
        await using (server)
        {
            for (var message = 0; message < 3; message++)
            {
                await DnsStream.WriteAsync(server, Message(question, 0x8580), Patience.Token);
                Assert.NotNull(await DnsStream.ReadAsync(client, Patience.Token));
                Assert.Equal(1, _limit.Waiting);
                _bench.Clock.Advance(TimeSpan.FromSeconds(3));
            }
            server.Close();
            var end = DnsStream.ReadAsync(client, Patience.Token);
            await Patience.Until(() => end.IsCompleted, () => _bench.Clock.Advance(TimeSpan.FromSeconds(1)));   // from the transfer's end on the client's silence counts
            Assert.Null(await end);
            Assert.Equal(0, _limit.Waiting);
        }
    }

    [Fact]
    public async Task A_client_that_has_finished_its_side_gets_the_whole_of_it()
    {
        var (client, server, question) = await AskedAsync();
        await using (client)
        await using (server)
        {
            client.Socket.Shutdown(SocketShutdown.Send);
            for (var message = 0; message < 3; message++)
            {
                await DnsStream.WriteAsync(server, Message(question, 0x8580), Patience.Token);
                Assert.NotNull(await DnsStream.ReadAsync(client, Patience.Token));
            }
            server.Close();
            Assert.Null(await DnsStream.ReadAsync(client, Patience.Token));
        }
    }

    [Fact]
    public async Task A_refusal_is_passed_on_and_the_servers_connection_closed()
    {
        var (client, server, question) = await AskedAsync();
        await using (client)
        await using (server)
        {
            await DnsStream.WriteAsync(server, Message(question, 0x8185), Patience.Token);
            Assert.Equal(5, (await DnsStream.ReadAsync(client, Patience.Token))![3] & 0xf);
            Assert.Null(await DnsStream.ReadAsync(server, Patience.Token));
        }
    }

    [Fact]
    public async Task It_ends_with_the_proxy()
    {
        var (client, server, question) = await AskedAsync();
        await using (client)
        await using (server)
        {
            await DnsStream.WriteAsync(server, Message(question, 0x8580), Patience.Token);
            Assert.NotNull(await DnsStream.ReadAsync(client, Patience.Token));
            await Patience.Within(Interlocked.Exchange(ref _proxy, null)!.DisposeAsync().AsTask());
            Assert.Equal(0, _limit.Waiting);
            Assert.Null(await DnsStream.ReadAsync(server, Patience.Token));
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_proxy is not null) await _proxy.DisposeAsync();
        _nameServer.Dispose();
        await _bench.DisposeAsync();
        File.Delete(_resolver);
    }
}
