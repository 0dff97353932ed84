using System.Buffers.Binary;
using System.Net;
using AmbientMesh.Ztunnel.Dns;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>Lookups the mesh does not answer: what the name servers get and what the client gets.</summary>
public sealed class DnsForwardTests(DnsMesh mesh) : IClassFixture<DnsMesh>
{
    private static readonly byte[] Cookie = DnsMesh.Hex("00 0029 04d0 0000 8000 000c 000a 0008 0102030405060708");

    private static string WithoutId(byte[] message) => Convert.ToHexString(message.AsSpan(2));

    private async Task<byte[]> AskAsync(byte[] query, bool tcp = false) => await DnsClient.AskAsync(mesh.Client, mesh.FirstPod.V4, query, tcp);

    private void Reset()
    {
        mesh.First.Answer = mesh.Second.Answer = (query, _) => DnsMesh.NoSuchName(query);
        mesh.First.Forget();
        mesh.Second.Forget();
    }

    public static TheoryData<string, string> Messages => new()
    {
        { "no such name, recursion available, authority", "8583" },
        { "an empty answer without recursion", "8100" },
        { "authentic data and checking disabled", "81b0" },
        { "not implemented", "8184" },
        { "a reserved code", "818f" },
    };

    [Theory, MemberData(nameof(Messages))]
    public async Task Query_and_answer_pass_byte_for_byte_but_for_the_id_between_proxy_and_server(string what, string flags)
    {
        Reset();
        Assert.NotEmpty(what);
        foreach (var tcp in (bool[])[false, true])
        {
            mesh.First.Forget();
            var query = DnsClient.Query("Mixed.CASE.test", type: 33, id: 0x4242, flags: 0x0130, additional: Cookie);
            byte[] Expected(byte[] asked) => DnsMesh.Response(asked, Convert.ToUInt16(flags, 16), authorities: 1, DnsMesh.Hex("c00c 0006 0001 0000012c 0016 016100 016200 00000001 00000002 00000003 00000004 00000005 ffff"));
            mesh.First.Answer = (asked, _) => Expected(asked);

            var answer = await AskAsync(query, tcp);

            Assert.Equal(Convert.ToHexString(Expected(query)), Convert.ToHexString(answer));
            var seen = Assert.Single(mesh.First.Seen);
            Assert.Equal((WithoutId(query), tcp, mesh.Client.V4), (WithoutId(seen.Query), seen.Tcp, seen.Peer.Address));
        }
    }

    [Fact]
    public async Task Ids_and_ports_towards_the_server_cannot_be_guessed_from_the_clients()
    {
        Reset();
        for (var i = 0; i < 16; i++) await AskAsync(DnsClient.Query("guess.test", id: 1));
        var seen = mesh.First.Seen;
        Assert.InRange(seen.Select(s => BinaryPrimitives.ReadUInt16BigEndian(s.Query)).Distinct().Count(), 15, 16);
        Assert.InRange(seen.Select(s => s.Peer.Port).Distinct().Count(), 12, 16);
    }

    [Fact]
    public async Task A_large_answer_is_cut_by_the_server_over_udp_and_whole_over_tcp()
    {
        Reset();
        var large = Enumerable.Range(0, 60).SelectMany(n => DnsMesh.Hex("c00c 0010 0001 0000003c 0100 ff").Concat(Enumerable.Repeat((byte)('a' + (n % 26)), 255))).ToArray();
        mesh.First.Answer = (asked, tcp) => tcp ? DnsMesh.Response(asked, 0x8180, records: large, answers: 60) : DnsMesh.Response(asked, 0x8380);
        var query = DnsClient.Query("big.test", 16);

        var first = await AskAsync(query);
        Assert.True(DnsMessage.TryParse(first, out var cut, out _) && cut.Header.IsTruncated);
        var whole = await AskAsync(query, tcp: true);
        Assert.Equal(Convert.ToHexString(DnsMesh.Response(query, 0x8180, records: large, answers: 60)), Convert.ToHexString(whole));

        // A client that takes more in a datagram gets more.
        mesh.First.Answer = (asked, _) => DnsMesh.Response(asked, 0x8180, records: large[..3200], answers: 12);
        var wide = DnsClient.Query("big.test", 16, additional: DnsMesh.Hex("00 0029 1000 0000 0000 0000"));
        Assert.Equal(Convert.ToHexString(DnsMesh.Response(wide, 0x8180, records: large[..3200], answers: 12)), Convert.ToHexString(await AskAsync(wide)));
    }

    [Fact]
    public async Task A_zone_transfer_passes_in_all_its_messages()
    {
        Reset();
        var query = DnsClient.Query("zone.test", 252);
        mesh.First.Answer = (asked, _) => One(asked);
        var answers = await DnsClient.TcpAsync(mesh.Client, mesh.FirstPod.V4, [query], NameServerStandIn.TransferMessages);
        Assert.All(answers, answer => Assert.Equal(Convert.ToHexString(One(query)), Convert.ToHexString(answer)));

        static byte[] One(byte[] asked) => DnsMesh.Response(asked, 0x8580, records: DnsMesh.Hex("c00c 0001 0001 0000003c 0004 0a000001"), answers: 1);
    }

    [Fact]
    public async Task A_server_nobody_listens_on_fails_at_once()
    {
        var resolver = WriteResolver($"nameserver {mesh.Uncaptured.V4}\n");
        await using var node = await TestNode.StartAsync("n3", mesh.Plane, with: settings => settings with { ResolverFile = resolver }, clock: new HeldClock(DnsForwarder.NextTry, DnsForwarder.Patience));
        var pod = await mesh.Network.AddPodAsync("lonely");
        mesh.Plane.Put(TestMesh.WorkloadOf(pod, "n3", hbone: true));
        await Patience.Within(node.App.Mesh.WhenAsync(known => known.FindWorkload(new Model.WorkloadInfo("lonely", "default", "lonely")), Patience.Token).AsTask());
        Assert.Equal("", await node.Agent.AddAsync(TestMesh.UidOf(pod), pod));
        using var socket = pod.Namespace.Run(() => new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.InterNetworkV6, System.Net.Sockets.SocketType.Dgram, System.Net.Sockets.ProtocolType.Udp));
        await socket.ConnectAsync(new IPEndPoint(IPAddress.IPv6Loopback, 15053), Patience.Token);
        await socket.SendAsync(DnsClient.Query("anything.test"), Patience.Token);
        var buffer = new byte[512];
        await socket.ReceiveAsync(buffer, Patience.Token);   // without a wait: by the node's clock none ends
        Assert.Equal(2, buffer[3] & 0xf);
    }

    [Fact]
    public async Task An_ending_proxy_answers_what_it_has_and_leaves_the_rest_to_the_next()
    {
        Reset();
        var pod = await mesh.Network.AddPodAsync("moving");
        mesh.Plane.Put(TestMesh.WorkloadOf(pod, "n4", hbone: true));
        var (old, next) = (await NodeAsync(), await NodeAsync());
        try
        {
            using var stop = new CancellationTokenSource();
            var answered = 0;
            var asking = Task.Run(async () =>
            {
                while (!stop.IsCancellationRequested)
                {
                    using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
                    using var socket = pod.Namespace.Run(() => new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.InterNetwork, System.Net.Sockets.SocketType.Dgram, System.Net.Sockets.ProtocolType.Udp));
                    await socket.ConnectAsync(new IPEndPoint(IPAddress.Loopback, 15053), limit.Token);
                    await socket.SendAsync(DnsClient.Query(answered % 4 == 0 ? "forwarded.test" : "productpage"), limit.Token);
                    await socket.ReceiveAsync(new byte[512], limit.Token);   // an unanswered query ends the test
                    Interlocked.Increment(ref answered);
                }
            }, CancellationToken.None);
            await Eventually.IsTrueAsync(() => Volatile.Read(ref answered) > 200 || asking.IsFaulted, "lookups go on");
            await Patience.Within(old.App.DrainAsync());
            var before = Volatile.Read(ref answered);
            await Eventually.IsTrueAsync(() => Volatile.Read(ref answered) > before + 200 || asking.IsFaulted, "lookups go on with the next proxy");
            await stop.CancelAsync();
            await Patience.Within(asking);
        }
        finally
        {
            await old.DisposeAsync();
            await next.DisposeAsync();
        }

        async Task<TestNode> NodeAsync()
        {
            var node = await TestNode.StartAsync("n4", mesh.Plane, with: settings => settings with { ResolverFile = mesh.ResolverFile });
            await Patience.Within(node.App.Mesh.WhenAsync(known => known.FindWorkload(new Model.WorkloadInfo("moving", "default", "moving")), Patience.Token).AsTask());
            Assert.Equal("", await node.Agent.AddAsync(TestMesh.UidOf(pod), pod));
            return node;
        }
    }

    private string WriteResolver(string text)
    {
        var path = mesh.ResolverFile + ".other";
        File.WriteAllText(path, text);
        return path;
    }
}
