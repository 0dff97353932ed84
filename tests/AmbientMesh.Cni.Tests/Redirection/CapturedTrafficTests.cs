using System.Net;
using System.Net.Sockets;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Linux;
using static AmbientMesh.Cni.Tests.Redirection.PodOnNode;

namespace AmbientMesh.Cni.Tests.Redirection;

/// <summary>What the rules do to real connections, with each way of writing them, IPv4 and IPv6.</summary>
public class CapturedTrafficTests
{
    private const int App = 8080;

    public static TheoryData<string, bool> Each => Backends.AllWithFamily;

    [Theory, MemberData(nameof(Each)), Scenario("L4-177", "L4-178")]
    public async Task Without_a_ztunnel_an_enrolled_pod_can_neither_call_nor_be_called(string backend, bool v6)
    {
        using var pod = await CreateAsync();
        Assert.True(await ReachesAsync(pod.Pod, pod.Node, NodeAddress(v6), App));
        Assert.True(await ReachesAsync(pod.Node, pod.Pod, PodAddress(v6), App));
        var redirection = Backends.Redirection(backend);
        await redirection.ApplyAsync(pod.Pod, Backends.Plain, Patience.Token);

        Assert.False(await ReachesAsync(pod.Pod, pod.Node, NodeAddress(v6), App));
        Assert.False(await ReachesAsync(pod.Node, pod.Pod, PodAddress(v6), App));

        await redirection.DeleteAsync(pod.Pod, Patience.Token);
        Assert.True(await ReachesAsync(pod.Pod, pod.Node, NodeAddress(v6), App));
        Assert.True(await ReachesAsync(pod.Node, pod.Pod, PodAddress(v6), App));
    }

    [Theory, MemberData(nameof(Each)), Scenario("L4-177", "L4-178")]
    public async Task A_ztunnel_that_goes_away_leaves_the_pod_closed(string backend, bool v6)
    {
        using var pod = await EnrolledAsync(backend);
        using (var ztunnel = Listen(pod.Pod, RedirectSettings.OutboundPort))
        {
            using var through = await ConnectAsync(pod.Pod, NodeAddress(v6), App);
            Assert.NotNull(through);
            ztunnel.Shutdown(SocketShutdown.Both);   // closes it also where a program being started holds a copy for a moment
        }
        Assert.False(await ReachesAsync(pod.Pod, pod.Node, NodeAddress(v6), App));
    }

    [Theory, MemberData(nameof(Each)), Scenario("L4-177", "L4-178")]
    public async Task Outbound_connections_arrive_at_the_outbound_port_and_know_where_they_were_going(string backend, bool v6)
    {
        using var pod = await EnrolledAsync(backend);
        using var ztunnel = Listen(pod.Pod, RedirectSettings.OutboundPort);
        using var client = await ConnectAsync(pod.Pod, NodeAddress(v6), 443);
        using var captured = await ztunnel.AcceptAsync(Patience.Token);
        Assert.Equal(new IPEndPoint(NodeAddress(v6), 443), captured.OriginalDestination());
    }

    [Theory, MemberData(nameof(Each)), Scenario("L4-177", "L4-178")]
    public async Task Inbound_connections_arrive_at_the_inbound_port_with_their_source(string backend, bool v6)
    {
        using var pod = await EnrolledAsync(backend);
        using var ztunnel = Listen(pod.Pod, RedirectSettings.InboundPort);
        using var client = await ConnectAsync(pod.Node, PodAddress(v6), App);
        using var captured = await ztunnel.AcceptAsync(Patience.Token);
        Assert.Equal(new IPEndPoint(PodAddress(v6), App), captured.OriginalDestination());
        Assert.Equal(NodeAddress(v6), Canonical(captured.RemoteEndPoint));
    }

    [Theory, MemberData(nameof(Each)), Scenario("L4-178")]
    public async Task The_tunnel_port_and_loopback_and_calls_to_oneself_are_not_redirected(string backend, bool v6)
    {
        using var pod = await EnrolledAsync(backend);
        Assert.True(await ReachesAsync(pod.Node, pod.Pod, PodAddress(v6), RedirectSettings.HbonePort));
        Assert.True(await ReachesAsync(pod.Pod, pod.Pod, v6 ? IPAddress.IPv6Loopback : IPAddress.Loopback, App));
        Assert.True(await ReachesAsync(pod.Pod, pod.Pod, PodAddress(v6), App));
    }

    [Theory, MemberData(nameof(Each)), Scenario("L4-178")]
    public async Task What_ztunnel_sends_is_not_captured_again(string backend, bool v6)
    {
        using var pod = await EnrolledAsync(backend);
        using var server = Listen(pod.Node, App);
        using var marked = await ConnectAsync(pod.Pod, NodeAddress(v6), App, RedirectSettings.ProxyMark);
        Assert.NotNull(marked);
        using var accepted = await server.AcceptAsync(Patience.Token);
        Assert.Equal(PodAddress(v6), Canonical(accepted.RemoteEndPoint));
    }

    [Theory, MemberData(nameof(Each)), Scenario("L4-177", "L4-178")]
    public async Task The_application_sees_the_clients_address_and_its_answer_finds_ztunnel(string backend, bool v6)
    {
        using var pod = await EnrolledAsync(backend);
        using var app = Listen(pod.Pod, App);
        using var spoofed = await ConnectAsync(pod.Pod, PodAddress(v6), App, RedirectSettings.ProxyMark, from: NodeAddress(v6));
        Assert.NotNull(spoofed);
        using var accepted = await app.AcceptAsync(Patience.Token);
        Assert.Equal(NodeAddress(v6), Canonical(accepted.RemoteEndPoint));
        await accepted.SendAsync("answer"u8.ToArray(), Patience.Token);
        var buffer = new byte[16];
        Assert.Equal(6, await spoofed.ReceiveAsync(buffer, Patience.Token));
    }

    [Theory, MemberData(nameof(Each)), Scenario("L4-171", "L4-178")]
    public async Task Kubelet_probes_come_in_by_their_source_address(string backend, bool v6)
    {
        using var pod = await EnrolledAsync(backend);
        var probe = v6 ? Backends.Settings.ProbeAddressV6 : Backends.Settings.ProbeAddress;
        await pod.ShAsync(pod.Node, v6 ? $"ip -6 addr add {probe}/128 dev lo nodad" : $"ip addr add {probe}/32 dev lo");
        // Node and pod find each other first: a neighbour asked for by the probe's address answers by a detour.
        Assert.True(await ReachesAsync(pod.Node, pod.Pod, PodAddress(v6), RedirectSettings.HbonePort));
        using var app = Listen(pod.Pod, App);
        using var client = await ConnectAsync(pod.Node, PodAddress(v6), App, from: probe);
        Assert.NotNull(client);
        using var accepted = await app.AcceptAsync(Patience.Token);
        Assert.Equal(probe, Canonical(accepted.RemoteEndPoint));
    }

    [Theory, MemberData(nameof(Each)), Scenario("L4-175", "L4-178")]
    public async Task Bypassed_inbound_goes_to_the_application_and_outbound_is_still_captured(string backend, bool v6)
    {
        using var pod = await EnrolledAsync(backend, Backends.Plain with { BypassesInbound = true });
        Assert.True(await ReachesAsync(pod.Node, pod.Pod, PodAddress(v6), App));
        Assert.False(await ReachesAsync(pod.Pod, pod.Node, NodeAddress(v6), App));
    }

    [Theory, MemberData(nameof(Each)), Scenario("L4-176", "L4-178")]
    public async Task Traffic_from_a_machine_behind_the_pod_counts_as_outbound(string backend, bool v6)
    {
        using var pod = await EnrolledAsync(backend, Backends.Plain with { RerouteInterfaces = ["virt0"] });
        using var machine = NetworkNamespace.Create();
        await pod.ShAsync(pod.Pod, $"""
            sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
            ip link add virt0 type veth peer name eth0 netns {machine.Path}
            ip addr add 10.66.0.1/24 dev virt0; ip -6 addr add fd66::1/64 dev virt0 nodad; ip link set virt0 up
            """);
        await pod.ShAsync(machine, """
            ip link set lo up; ip addr add 10.66.0.2/24 dev eth0; ip -6 addr add fd66::2/64 dev eth0 nodad; ip link set eth0 up
            ip route add default via 10.66.0.1; ip -6 route add default via fd66::1
            """);
        using var ztunnel = Listen(pod.Pod, RedirectSettings.OutboundPort);
        using var client = await ConnectAsync(machine, NodeAddress(v6), App);
        using var captured = await ztunnel.AcceptAsync(Patience.Token);
        Assert.Equal(new IPEndPoint(NodeAddress(v6), App), captured.OriginalDestination());
    }

    [Theory, InlineData("iptables-nft"), InlineData("iptables-legacy"), InlineData("nftables"), Scenario("L4-124", "L4-178")]
    public async Task Name_lookups_go_to_the_dns_proxy_only_when_capture_is_on(string backend)
    {
        using var pod = await EnrolledAsync(backend, Backends.Plain with { CapturesDns = true });
        using var proxy = pod.Pod.Run(() => Udp(new IPEndPoint(IPAddress.Loopback, RedirectSettings.DnsPort)));
        using var upstream = pod.Node.Run(() => Udp(new IPEndPoint(NodeV4, 53)));
        using var resolver = pod.Pod.Run(() => Udp(new IPEndPoint(IPAddress.Any, 0)));

        await resolver.SendToAsync("query"u8.ToArray(), new IPEndPoint(NodeV4, 53), Patience.Token);
        Assert.Equal(5, await proxy.ReceiveAsync(new byte[16], Patience.Token));

        await Backends.Redirection(backend).ApplyAsync(pod.Pod, Backends.Plain, Patience.Token);
        using var later = pod.Pod.Run(() => Udp(new IPEndPoint(IPAddress.Any, 0)));
        await later.SendToAsync("untouched"u8.ToArray(), new IPEndPoint(NodeV4, 53), Patience.Token);
        Assert.Equal(9, await upstream.ReceiveAsync(new byte[16], Patience.Token));
        Assert.False(await ReachesAsync(pod.Pod, pod.Node, NodeV4, App));

        static Socket Udp(IPEndPoint local)
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            socket.Bind(local);
            return socket;
        }
    }

    private static async Task<PodOnNode> EnrolledAsync(string backend, PodRedirectOptions? options = null)
    {
        var pod = await CreateAsync();
        await Backends.Redirection(backend).ApplyAsync(pod.Pod, options ?? Backends.Plain, Patience.Token);
        return pod;
    }

    private static IPAddress Canonical(EndPoint? end) => ((IPEndPoint)end!).Address is { IsIPv4MappedToIPv6: true } mapped ? mapped.MapToIPv4() : ((IPEndPoint)end!).Address;
}
