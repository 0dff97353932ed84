using AmbientMesh.Cni.Node.Redirection;

namespace AmbientMesh.Cni.Tests.Redirection;

/// <summary>Rules in real namespaces: written, read back, repaired, removed.</summary>
public class PodRedirectionTests
{
    public static TheoryData<string> All => Backends.All;

    [Theory, MemberData(nameof(All)), Scenario("L4-178")]
    public async Task Rules_that_were_applied_read_back_as_intact_and_are_gone_after_removal(string backend)
    {
        using var pod = await PodOnNode.CreateAsync();
        var redirection = Backends.Redirection(backend);
        Assert.Equal(RedirectionState.Absent, await redirection.InspectAsync(pod.Pod, Backends.Plain, Patience.Token));
        await redirection.ApplyAsync(pod.Pod, Backends.Plain, Patience.Token);
        Assert.Equal(RedirectionState.Intact, await redirection.InspectAsync(pod.Pod, Backends.Plain, Patience.Token));
        await redirection.DeleteAsync(pod.Pod, Patience.Token);
        Assert.Equal(RedirectionState.Absent, await redirection.InspectAsync(pod.Pod, Backends.Plain, Patience.Token));
        await redirection.DeleteAsync(pod.Pod, Patience.Token);
    }

    [Theory, MemberData(nameof(All))]
    public async Task Applying_twice_changes_nothing(string backend)
    {
        using var pod = await PodOnNode.CreateAsync();
        var redirection = Backends.Redirection(backend);
        await redirection.ApplyAsync(pod.Pod, Backends.Plain, Patience.Token);
        var first = await Backends.Make(backend).ReadAsync(pod.Pod, Patience.Token);
        await redirection.ApplyAsync(pod.Pod, Backends.Plain, Patience.Token);
        Assert.Equal(first, await Backends.Make(backend).ReadAsync(pod.Pod, Patience.Token));
    }

    [Theory, MemberData(nameof(All))]
    public async Task Rules_for_other_annotations_are_seen_as_different_and_replaced(string backend)
    {
        using var pod = await PodOnNode.CreateAsync();
        var redirection = Backends.Redirection(backend);
        var dns = Backends.Plain with { CapturesDns = true, RerouteInterfaces = ["virt0"] };
        await redirection.ApplyAsync(pod.Pod, dns, Patience.Token);
        Assert.Equal(RedirectionState.Intact, await redirection.InspectAsync(pod.Pod, dns, Patience.Token));
        Assert.Equal(RedirectionState.Different, await redirection.InspectAsync(pod.Pod, Backends.Plain, Patience.Token));
        await redirection.ApplyAsync(pod.Pod, Backends.Plain, Patience.Token);
        Assert.Equal(RedirectionState.Intact, await redirection.InspectAsync(pod.Pod, Backends.Plain, Patience.Token));
    }

    [Theory]
    [InlineData("iptables-nft", "iptables-nft -t nat -F ISTIO_OUTPUT")]
    [InlineData("iptables-nft", "ip6tables-nft -t nat -D PREROUTING -j ISTIO_PRERT")]
    [InlineData("iptables-nft", "iptables-nft -t nat -I ISTIO_OUTPUT -j RETURN")]
    [InlineData("iptables-nft", "iptables-nft -t nat -A OUTPUT -j ISTIO_OUTPUT")]
    [InlineData("iptables-legacy", "ip6tables-legacy -w -t mangle -F ISTIO_PRERT")]
    [InlineData("nftables", "nft delete table inet istio-ambient-mangle")]
    [InlineData("nftables", "nft insert rule inet istio-ambient-nat istio-output return")]
    [InlineData("iptables-nft", "ip rule del preference 32764")]
    [InlineData("nftables", "ip -6 route flush table 100")]
    public async Task Damage_is_seen_and_repaired(string backend, string damage)
    {
        using var pod = await PodOnNode.CreateAsync();
        var redirection = Backends.Redirection(backend);
        await redirection.ApplyAsync(pod.Pod, Backends.Plain, Patience.Token);
        await pod.ShAsync(pod.Pod, damage);
        Assert.Equal(RedirectionState.Different, await redirection.InspectAsync(pod.Pod, Backends.Plain, Patience.Token));
        await redirection.ApplyAsync(pod.Pod, Backends.Plain, Patience.Token);
        Assert.Equal(RedirectionState.Intact, await redirection.InspectAsync(pod.Pod, Backends.Plain, Patience.Token));
    }

    [Theory, MemberData(nameof(All))]
    public async Task Rules_of_others_are_left_alone(string backend)
    {
        using var pod = await PodOnNode.CreateAsync();
        await pod.ShAsync(pod.Pod, "iptables-nft -t nat -A PREROUTING -p tcp --dport 7 -j ACCEPT; iptables-nft -t nat -N THEIRS");
        var before = Without(await pod.ShAsync(pod.Pod, "iptables-nft-save"));
        var redirection = Backends.Redirection(backend);
        await redirection.ApplyAsync(pod.Pod, Backends.Plain, Patience.Token);
        Assert.Contains("--dport 7 -j ACCEPT", await pod.ShAsync(pod.Pod, "iptables-nft-save -t nat"));
        await redirection.DeleteAsync(pod.Pod, Patience.Token);
        Assert.Equal(before, Without(await pod.ShAsync(pod.Pod, "iptables-nft-save")));

        static string[] Without(string saved) => [.. saved.Split('\n').Where(line => line.Contains("THEIRS") || line.StartsWith("-A"))];
    }

    [Theory]
    [InlineData("iptables-nft", "nftables")]
    [InlineData("nftables", "iptables-legacy")]
    [InlineData("iptables-legacy", "iptables-nft")]
    public async Task Rules_written_another_way_before_are_replaced(string before, string now)
    {
        using var pod = await PodOnNode.CreateAsync();
        await Backends.Redirection(before).ApplyAsync(pod.Pod, Backends.Plain, Patience.Token);
        var redirection = Backends.Redirection(now);
        await redirection.ApplyAsync(pod.Pod, Backends.Plain, Patience.Token);
        Assert.Equal(RedirectionState.Intact, await redirection.InspectAsync(pod.Pod, Backends.Plain, Patience.Token));
        Assert.Empty(await Backends.Make(before).ReadAsync(pod.Pod, Patience.Token));
    }

    [Fact, Scenario("L4-177")]
    public async Task A_pod_with_ipv6_switched_off_is_redirected_for_ipv4()
    {
        using var pod = await PodOnNode.CreateAsync();
        await pod.ShAsync(pod.Pod, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.lo.disable_ipv6=1");
        var redirection = Backends.Redirection("iptables-nft");
        await redirection.ApplyAsync(pod.Pod, Backends.Plain, Patience.Token);
        Assert.Equal(RedirectionState.Intact, await redirection.InspectAsync(pod.Pod, Backends.Plain, Patience.Token));
    }
}
