using System.Net.Sockets;

namespace AmbientMesh.Hbone.Tests;

/// <summary>Allocation is measured for the whole process, so nothing may run beside these.</summary>
[CollectionDefinition(nameof(Alone), DisableParallelization = true)]
public class Alone;

[Collection(nameof(Alone))]
public class RelayTests
{
    private const int RoundBytes = 32 << 20;
    private const int Rounds = 8;

    [Fact]
    public async Task The_whole_path_app_to_app_allocates_nothing_per_byte()
    {
        var path = await Path.OpenAsync();
        var rounds = new List<long>();
        for (var round = 0; round < Rounds; round++)
        {
            var before = GC.GetTotalAllocatedBytes(precise: true);
            await path.PumpAsync(RoundBytes);
            rounds.Add(GC.GetTotalAllocatedBytes(precise: true) - before);
        }
        // The first rounds fill pools and sizes adapt; per-byte costs would show in every round.
        TestContext.Current.TestOutputHelper?.WriteLine($"bytes allocated per {RoundBytes >> 20} MiB through two relays, one tunnel and TLS: {string.Join(", ", rounds)}");
        Assert.True(rounds.Min() < 2048, $"Bytes allocated per {RoundBytes >> 20} MiB: {string.Join(", ", rounds)}");
    }

    [Fact]
    public async Task An_idle_connection_that_carried_something_holds_few_kilobytes()
    {
        const int connections = 90;
        var perConnection = -1L;
        // What earlier tests left may still be on its way out; a round in which more went than came says nothing.
        for (var round = 0; round < 5 && perConnection < 0; round++)
        {
            await using var tunnel = new TunnelPair(await new Mesh().TunnelAsync());   // one takes a hundred
            await Patience.Within(tunnel.Client.SettingsReceived);
            var paths = new List<Path> { await Path.OpenAsync(tunnel) };
            await paths[0].ExchangeAsync();
            var before = Held();
            for (var i = 0; i < connections; i++)
            {
                paths.Add(await Path.OpenAsync(tunnel));
                await paths[^1].ExchangeAsync();
            }
            perConnection = (Held() - before) / connections;
            GC.KeepAlive(paths);
        }
        TestContext.Current.TestOutputHelper?.WriteLine($"{perConnection} bytes of managed memory per idle connection: four sockets, two relays, both ends of a stream");
        Assert.InRange(perConnection, 0, 24 * 1024);

        static long Held() => GC.GetTotalMemory(forceFullCollection: true) - BytePool.IdleBytes;
    }

    [Fact]
    [Scenario("L4-012")]
    public async Task A_client_that_finishes_first_still_gets_a_large_reply()
    {
        var path = await Path.OpenAsync();
        var reply = Loopback.Bytes(8 << 20);
        await path.Client.WriteAsync("question"u8.ToArray(), Patience.Token);
        await path.Client.ShutdownWriteAsync(Patience.Token);
        Assert.Equal("question"u8.ToArray(), await path.Server.ReadToEndAsync());
        var replying = SendAsync(path.Server, reply);
        Assert.Equal(reply, await path.Client.ReadToEndAsync());
        await replying;
        Assert.Equal(new RelayResult(RelayEnd.Completed, 8, reply.Length, null), await Patience.Within(path.Outbound));
        Assert.Equal(new RelayResult(RelayEnd.Completed, 8, reply.Length, null), await Patience.Within(path.Inbound));
    }

    [Fact]
    public async Task A_reset_of_either_app_reaches_the_other_as_a_reset()
    {
        var path = await Path.OpenAsync();
        await path.Client.WriteAsync("x"u8.ToArray(), Patience.Token);
        await path.Server.ReadExactlyAsync(1);
        path.Client.Abort();
        await Assert.ThrowsAnyAsync<IOException>(() => path.Server.ReadToEndAsync());
        Assert.Equal(RelayEnd.FirstReset, (await Patience.Within(path.Outbound)).End);
        Assert.Equal(RelayEnd.FirstReset, (await Patience.Within(path.Inbound)).End);

        path = await Path.OpenAsync();
        path.Server.Abort();
        await Assert.ThrowsAnyAsync<IOException>(() => path.Client.ReadToEndAsync());
        Assert.Equal(RelayEnd.SecondReset, (await Patience.Within(path.Outbound)).End);
        Assert.Equal(RelayEnd.SecondReset, (await Patience.Within(path.Inbound)).End);
    }

    [Fact]
    public async Task A_cancelled_relay_ends_both_sides_and_says_so()
    {
        var (near, farNear) = await Loopback.PairAsync();
        var (farFar, far) = await Loopback.PairAsync();
        using var cancelled = new CancellationTokenSource();
        var relaying = new ByteRelay(farNear, farFar).RunAsync(cancelled.Token);
        await near.WriteAsync(new byte[3], Patience.Token);
        await far.ReadExactlyAsync(3);
        await cancelled.CancelAsync();
        var result = await Patience.Within(relaying);
        Assert.Equal((RelayEnd.Cancelled, 3L, 0L), (result.End, result.FirstToSecondBytes, result.SecondToFirstBytes));
        await Assert.ThrowsAnyAsync<IOException>(() => near.ReadToEndAsync());
        await Assert.ThrowsAnyAsync<IOException>(() => far.ReadToEndAsync());
    }

    private static async Task SendAsync(ITransport to, byte[] bytes)
    {
        await to.WriteAsync(bytes, Patience.Token);
        await to.ShutdownWriteAsync(Patience.Token);
    }

    internal sealed class TunnelPair((HboneClientConnection Client, HboneServerConnection Server) ends) : IAsyncDisposable
    {
        public HboneClientConnection Client => ends.Client;
        public HboneServerConnection Server => ends.Server;
        public async ValueTask DisposeAsync() => await ends.Client.DisposeAsync();
    }

    /// <summary>client app ⇄ relay ⇄ TLS tunnel ⇄ relay ⇄ server app, all over loopback.</summary>
    internal sealed class Path
    {
        private static readonly byte[] Outgoing = Loopback.Bytes(256 * 1024);
        private static readonly byte[] Incoming = new byte[256 * 1024];

        private Path(Socket client, Socket server)
        {
            Client = new SocketTransport(client);
            Server = new SocketTransport(server);
        }

        public SocketTransport Client { get; }
        public SocketTransport Server { get; }
        public required Task<RelayResult> Outbound { get; init; }
        public required Task<RelayResult> Inbound { get; init; }

        public static async Task<Path> OpenAsync() => await OpenAsync(new TunnelPair(await new Mesh().TunnelAsync()));

        public static async Task<Path> OpenAsync(TunnelPair tunnel)
        {
            var (near, far) = await (tunnel.Client, tunnel.Server).StreamAsync();
            var (client, outbound) = await Loopback.SocketsAsync();
            var (inbound, server) = await Loopback.SocketsAsync();
            return new Path(client, server)
            {
                Outbound = new ByteRelay(new SocketTransport(outbound), near).RunAsync(CancellationToken.None),
                Inbound = new ByteRelay(far, new SocketTransport(inbound)).RunAsync(CancellationToken.None),
            };
        }

        /// <summary>One byte there and one back.</summary>
        public async Task ExchangeAsync()
        {
            await Client.WriteAsync(new byte[1], Patience.Token);
            await Server.ReadExactlyAsync(1);
            await Server.WriteAsync(new byte[1], Patience.Token);
            await Client.ReadExactlyAsync(1);
        }

        public async Task PumpAsync(int bytes)
        {
            var sending = SendAsync(bytes);
            for (var got = 0; got < bytes;) got += await Server.ReadAsync(Incoming, CancellationToken.None);
            await sending;
        }

        private async Task SendAsync(int bytes)
        {
            for (var sent = 0; sent < bytes; sent += Outgoing.Length) await Client.WriteAsync(Outgoing, CancellationToken.None);
        }
    }
}
