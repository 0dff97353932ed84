using System.Net.Sockets;

namespace AmbientMesh.Hbone.Tests;

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

    /// <summary>client app ⇄ relay ⇄ TLS tunnel ⇄ relay ⇄ server app, all over loopback.</summary>
    internal sealed class Path
    {
        private readonly Socket _client;
        private readonly Socket _server;
        private readonly byte[] _send = Loopback.Bytes(256 * 1024);
        private readonly byte[] _receive = new byte[256 * 1024];

        private Path(Socket client, Socket server)
        {
            _client = client;
            _server = server;
        }

        public required Task<RelayResult> Outbound { get; init; }
        public required Task<RelayResult> Inbound { get; init; }

        public static async Task<Path> OpenAsync()
        {
            var tunnel = await new Mesh().TunnelAsync();
            var (near, far) = await tunnel.StreamAsync();
            var (client, outbound) = await Loopback.SocketsAsync();
            var (inbound, server) = await Loopback.SocketsAsync();
            return new Path(client, server)
            {
                Outbound = new ByteRelay(new SocketTransport(outbound), near).RunAsync(CancellationToken.None),
                Inbound = new ByteRelay(far, new SocketTransport(inbound)).RunAsync(CancellationToken.None),
            };
        }

        public async Task PumpAsync(int bytes)
        {
            var sending = SendAsync(bytes);
            for (var got = 0; got < bytes;) got += await _server.ReceiveAsync(_receive.AsMemory(), CancellationToken.None);
            await sending;
        }

        private async Task SendAsync(int bytes)
        {
            for (var sent = 0; sent < bytes; sent += _send.Length) await _client.SendAsync(_send.AsMemory(), CancellationToken.None);
        }
    }
}
