using System.Buffers.Binary;
using System.Net;
using AmbientMesh.Ztunnel.Dns;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>Lookups of a captured pod through the kernel's redirect to the proxy and back: what the mesh knows.</summary>
public sealed class DnsAnswerTests(DnsMesh mesh) : IClassFixture<DnsMesh>
{

    private async Task<DnsMessage> AskAsync(string name, ushort type = DnsClient.A, bool tcp = false, PodNamespace? from = null)
    {
        var bytes = await DnsClient.AskAsync(from ?? mesh.Client, mesh.SecondPod.V4, DnsClient.Query(name, type), tcp);
        Assert.True(DnsMessage.TryParse(bytes, out var message, out var reason), reason);
        return message;
    }

    private static string[] Records(DnsMessage message) => [.. message.Answers.Select(r => $"{r.Owner.Text} {DnsTypes.NameOf(r.Type)} {r.Ttl}")];

    private async Task AnsweredAsync(string name, string address, ushort type = DnsClient.A)
    {
        foreach (var tcp in (bool[])[false, true])
        {
            var query = DnsClient.Query(name, type);
            var bytes = await DnsClient.AskAsync(mesh.Client, mesh.SecondPod.V4, query, tcp);
            Assert.True(DnsMessage.TryParse(bytes, out var message, out var reason), reason);
            Assert.Equal(0x8580, message.Header.Flags);
            string[] addresses = [.. message.Answers.Where(r => r.Type == type).Select(r => new IPAddress(bytes.AsSpan(r.DataAt, r.DataLength)).ToString())];
            Assert.Equal(address.Length == 0 ? [] : [address], addresses);
        }
    }

    private async Task ForwardedAsync(string name, ushort type = DnsClient.A)
    {
        mesh.First.Forget();
        var answer = await DnsClient.UdpAsync(mesh.Client, mesh.SecondPod.V4, DnsClient.Query(name, type));
        Assert.Equal(Convert.ToHexString(DnsMesh.NoSuchName(DnsClient.Query(name, type))), Convert.ToHexString(answer));
        Assert.Single(mesh.First.Seen);
    }

    [Fact, Scenario("L4-110")]
    public async Task A_service_of_the_clients_namespace_is_known_by_every_form_of_its_name()
    {
        foreach (var name in (string[])["productpage", "productpage.default", "productpage.default.svc", "productpage.default.svc.cluster.local"])
        {
            await AnsweredAsync(name, "10.1.0.1");
            Assert.Equal([$"{name} a 30"], Records(await AskAsync(name)));
        }
    }

    [Fact, Scenario("L4-111", "L4-112")]
    public async Task A_service_of_another_namespace_is_known_with_its_namespace_only()
    {
        await ForwardedAsync("example");
        await AnsweredAsync("example.ns2.svc", "10.1.0.3");
    }

    [Fact, Scenario("L4-113")]
    public async Task An_entrys_host_with_a_search_domain_is_an_alias_of_it()
    {
        await AnsweredAsync("www.google.com.default.svc.cluster.local", "10.1.0.4");
        Assert.Equal(["www.google.com.default.svc.cluster.local cname 30", "www.google.com a 30"], Records(await AskAsync("www.google.com.default.svc.cluster.local")));
    }

    [Fact, Scenario("L4-114", "L4-177")]
    public async Task A_family_the_host_does_not_have_is_empty()
    {
        await AnsweredAsync("productpage", "", DnsClient.Aaaa);
        await AnsweredAsync("dual", "10.1.0.2");
        await AnsweredAsync("dual", "fd01::2", DnsClient.Aaaa);
        await AnsweredAsync("six", "");
        await AnsweredAsync("six", "fd01::6", DnsClient.Aaaa);
    }

    [Fact, Scenario("L4-115")]
    public async Task The_most_specific_wildcard_wins_and_a_search_domain_makes_no_alias_of_it()
    {
        await AnsweredAsync("a.wildcard", "10.1.0.20");
        await AnsweredAsync("a.b.wildcard", "10.1.0.21");
        await AnsweredAsync("a.b.wildcard.default.svc.cluster.local", "10.1.0.21");
        Assert.Equal(["a.b.wildcard.default.svc.cluster.local a 30"], Records(await AskAsync("a.b.wildcard.default.svc.cluster.local")));
    }

    [Fact, Scenario("L4-116", "L4-177")]
    public async Task A_headless_service_has_the_addresses_of_its_healthy_pods()
    {
        await AnsweredAsync("hl", mesh.FirstPod.V4.ToString());
        await AnsweredAsync("hl", mesh.FirstPod.V6.ToString(), DnsClient.Aaaa);
    }

    [Fact, Scenario("L4-117", "L4-118")]
    public async Task A_host_without_an_address_here_is_forwarded_outside_the_clusters_domain_only()
    {
        await ForwardedAsync("headless.example.com");
        await AnsweredAsync("remote", "");
    }

    [Fact, Scenario("L4-119")]
    public async Task The_clients_namespace_wins_and_then_the_canonical_service()
    {
        await AnsweredAsync("shared.com", "10.1.0.40");
        await AnsweredAsync("canonical.com", "10.1.0.43");
    }

    [Fact, Scenario("L4-119")]
    public async Task The_preferred_namespace_wins_where_nothing_else_decides()
    {
        await using var node = await TestNode.StartAsync("n2", mesh.Plane, with: settings => settings with { ResolverFile = mesh.ResolverFile, PreferredServiceNamespace = "ns3" });
        var pod = await mesh.Network.AddPodAsync("preferring");
        mesh.Plane.Put(TestMesh.WorkloadOf(pod, "n2", hbone: true));
        foreach (var ns in (string[])["ns2", "ns3", "ns4"]) mesh.Plane.Put(DnsMesh.Service("anyones.com", $"10.1.1.{ns[2..]}", ns, s => s.Canonical = false));
        await Patience.Within(node.App.Mesh.WhenAsync(known => known.FindService(new Model.ServiceName("ns4", "anyones.com")), Patience.Token).AsTask());
        Assert.Equal("", await node.Agent.AddAsync(TestMesh.UidOf(pod), pod));

        var bytes = await DnsClient.UdpLocalAsync(pod, DnsClient.Query("anyones.com"));
        Assert.Equal("10.1.1.3", new IPAddress(bytes[^4..]).ToString());
    }

    [Fact, Scenario("L4-120")]
    public async Task What_only_another_namespace_may_see_is_forwarded_and_hides_nothing_public()
    {
        await ForwardedAsync("secret.com");
        await AnsweredAsync("shadow.com", "10.1.0.52");
    }

    [Fact, Scenario("L4-121", "L4-122")]
    public async Task Other_types_and_names_of_pods_are_forwarded()
    {
        foreach (var type in (ushort[])[15, 16, 33, 255, 65, 4711]) await ForwardedAsync("productpage.default.svc.cluster.local", type);
        await ForwardedAsync("first.hl.default.svc.cluster.local");
        await ForwardedAsync("10-98-0-1.default.pod.cluster.local");
    }

    [Fact, Scenario("L4-123")]
    public async Task An_unknown_client_is_told_nothing_and_nothing_is_forwarded_for_it()
    {
        var stranger = await mesh.EnrollAsync($"stranger{Random.Shared.Next(1 << 20)}", capturesDns: true, known: false);
        mesh.First.Forget();
        foreach (var name in (string[])["productpage.default.svc.cluster.local", "www.unknown.test"])
        {
            var answer = await mesh.AfterAsync(QueryAnswering.ClientTimeout, () => DnsClient.UdpAsync(stranger, mesh.SecondPod.V4, DnsClient.Query(name)));
            Assert.Equal(0x8102, BinaryPrimitives.ReadUInt16BigEndian(answer.AsSpan(2)));
        }
        Assert.DoesNotContain(mesh.First.Seen, seen => seen.Peer.Address.Equals(stranger.V4));
    }

    [Fact, Scenario("L4-124")]
    public async Task A_pod_without_capture_asks_its_servers_itself()
    {
        mesh.Second.Forget();
        var query = DnsClient.Query("productpage", id: 0xbeef);
        var answer = await DnsClient.UdpAsync(mesh.Uncaptured, mesh.SecondPod.V4, query);
        Assert.Equal(Convert.ToHexString(DnsMesh.NoSuchName(query)), Convert.ToHexString(answer));
        var (seen, peer, _) = Assert.Single(mesh.Second.Seen);
        Assert.Equal((Convert.ToHexString(query), mesh.Uncaptured.V4), (Convert.ToHexString(seen), peer.Address));
    }

    [Fact, Scenario("L4-177")]
    public async Task Lookups_over_ipv6_are_captured_too()
    {
        foreach (var tcp in (bool[])[false, true])
        {
            var answer = await DnsClient.AskAsync(mesh.Client, mesh.SecondPod.V6, DnsClient.Query("dual", DnsClient.Aaaa), tcp);
            Assert.Equal("fd01::2", new IPAddress(answer[^16..]).ToString());
        }
    }

    [Fact]
    public async Task Several_questions_on_one_connection_are_all_answered()
    {
        byte[][] queries = [.. Enumerable.Range(0, 20).Select(n => DnsClient.Query(n % 2 == 0 ? "productpage" : "nowhere.test", id: (ushort)n))];
        var answers = await DnsClient.TcpAsync(mesh.Client, mesh.SecondPod.V4, queries, queries.Length);
        Assert.Equal(Enumerable.Range(0, 20), answers.Select(a => (int)BinaryPrimitives.ReadUInt16BigEndian(a)).Order());
    }

    [Fact]
    public async Task Broken_messages_get_an_error_or_nothing_and_disturb_nobody()
    {
        var status = DnsClient.Query("productpage", flags: 0x1000);
        Assert.Equal(0x9004, BinaryPrimitives.ReadUInt16BigEndian((await DnsClient.UdpAsync(mesh.Client, mesh.SecondPod.V4, status)).AsSpan(2)));
        byte[] looped = [.. DnsClient.Query("")[..12], 0xc0, 0x0c, 0, 1, 0, 1];
        Assert.Equal("123481010000000000000000", Convert.ToHexString(await DnsClient.UdpAsync(mesh.Client, mesh.SecondPod.V4, looped)).ToLowerInvariant());

        // Neither an answer nor a scrap is answered: what comes back is the answer to the question after them.
        using var socket = mesh.Client.Namespace.Run(() => new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.InterNetwork, System.Net.Sockets.SocketType.Dgram, System.Net.Sockets.ProtocolType.Udp));
        await socket.ConnectAsync(new IPEndPoint(mesh.SecondPod.V4, 53), Patience.Token);
        await socket.SendAsync(DnsClient.Query("productpage", id: 1, flags: 0x8180), Patience.Token);
        await socket.SendAsync(new byte[] { 0, 2, 3 }, Patience.Token);
        await socket.SendAsync(DnsClient.Query("productpage", id: 3), Patience.Token);
        var buffer = new byte[512];
        Assert.True(await socket.ReceiveAsync(buffer, Patience.Token) > 12);
        Assert.Equal(3, BinaryPrimitives.ReadUInt16BigEndian(buffer));
    }

    [Fact]
    public async Task Metrics_and_debug_lines_tell_of_each_query()
    {
        string[] labels = ["request_query_type=\"txt\"", "request_protocol=\"udp\"", "source_canonical_service=\"client\"", "source_canonical_revision=\"v1\""];
        var (asked, forwarded) = (mesh.Node.Metric("istio_dns_requests_total", labels), mesh.Node.Metric("istio_dns_upstream_requests_total", labels));
        await ForwardedAsync("metrics.test", 16);
        Assert.Equal((asked + 1, forwarded + 1), (mesh.Node.Metric("istio_dns_requests_total", labels), mesh.Node.Metric("istio_dns_upstream_requests_total", labels)));
        Assert.True(mesh.Node.Metric("istio_dns_upstream_request_duration_seconds_count", labels) >= 1);
        await AnsweredAsync("productpage", "10.1.0.1");
        Assert.True(mesh.Node.Metric("istio_dns_requests_total", "request_query_type=\"a\"", "request_protocol=\"tcp\"", "source_canonical_service=\"client\"") >= 1);
    }
}
