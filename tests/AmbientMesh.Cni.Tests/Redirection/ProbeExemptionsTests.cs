using System.Net;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Linux.Netfilter;
using static AmbientMesh.Cni.Tests.Redirection.PodOnNode;

namespace AmbientMesh.Cni.Tests.Redirection;

/// <summary>The node's side of the probe exemption: who owns an address, and a real probe through both sides' rules.</summary>
public class ProbeExemptionsTests
{
    public static TheoryData<string> All => Backends.All;
    public static TheoryData<string, bool> Each => Backends.AllWithFamily;

    private static readonly IPAddress[] s_addresses = [PodV4, PodV6];

    [Theory, MemberData(nameof(Each)), Scenario("L4-171", "L4-177", "L4-178")]
    public async Task A_probe_from_the_node_reaches_the_application_of_an_exempt_pod_and_of_no_other(string backend, bool v6)
    {
        using var pod = await CreateAsync();
        var exemptions = Make(backend, pod);
        await exemptions.InstallAsync(Patience.Token);
        await Backends.Redirection(backend).ApplyAsync(pod.Pod, Backends.Plain, Patience.Token);
        using var app = Listen(pod.Pod, 8080);
        Assert.Null(await ConnectAsync(pod.Node, PodAddress(v6), 8080));

        await exemptions.AddAsync("uid-1", s_addresses, Patience.Token);
        using var probe = await ConnectAsync(pod.Node, PodAddress(v6), 8080);
        Assert.NotNull(probe);
        using var accepted = await app.AcceptAsync(Patience.Token);
        var source = ((IPEndPoint)accepted.RemoteEndPoint!).Address;
        Assert.Equal(v6 ? Backends.Settings.ProbeAddressV6 : Backends.Settings.ProbeAddress, source.IsIPv4MappedToIPv6 ? source.MapToIPv4() : source);

        await exemptions.RemoveAsync("uid-1", [], Patience.Token);
        Assert.Null(await ConnectAsync(pod.Node, PodAddress(v6), 8080));
    }

    [Theory, MemberData(nameof(All)), Scenario("L4-172")]
    public async Task An_address_belongs_to_the_newest_pod_and_only_its_owner_removes_it(string backend)
    {
        using var pod = await CreateAsync();
        var exemptions = Make(backend, pod);
        await exemptions.InstallAsync(Patience.Token);
        await exemptions.AddAsync("old", s_addresses, Patience.Token);
        await exemptions.AddAsync("new", [PodV4], Patience.Token);
        Assert.Equal("new", (await exemptions.ReadAsync(Patience.Token))[PodV4]);
        await exemptions.RemoveAsync("old", [], Patience.Token);
        Assert.Equal(["new"], (await exemptions.ReadAsync(Patience.Token)).Values);
        await exemptions.RemoveAsync("new", [], Patience.Token);
        Assert.Empty(await exemptions.ReadAsync(Patience.Token));
    }

    [Theory, MemberData(nameof(All))]
    public async Task Installing_again_keeps_the_entries_and_uninstalling_leaves_nothing(string backend)
    {
        using var pod = await CreateAsync();
        var before = await RulesAsync(pod);
        var exemptions = Make(backend, pod);
        await exemptions.InstallAsync(Patience.Token);
        await exemptions.AddAsync("uid-1", s_addresses, Patience.Token);
        var installed = await RulesAsync(pod);
        Assert.True(await exemptions.AreInstalledAsync(Patience.Token));
        await exemptions.InstallAsync(Patience.Token);
        Assert.Equal(s_addresses.ToHashSet(), (await exemptions.ReadAsync(Patience.Token)).Keys.ToHashSet());
        Assert.Equal(installed, await RulesAsync(pod));
        await exemptions.RemoveAsync("uid-1", [PodV4], Patience.Token);
        Assert.Equal([PodV4], (await exemptions.ReadAsync(Patience.Token)).Keys);
        await exemptions.UninstallAsync(Patience.Token);
        await exemptions.UninstallAsync(Patience.Token);
        Assert.False(await exemptions.AreInstalledAsync(Patience.Token));
        Assert.Equal(before, await RulesAsync(pod));
        Assert.Empty(await pod.ShAsync(pod.Node, "ipset list -n"));
    }

    private static IProbeExemptions Make(string backend, PodOnNode pod) => backend switch
    {
        "iptables-nft" => new IpsetProbeExemptions(pod.Node, new Iptables(IptablesVariant.Nft, Path.GetTempPath()), Backends.Settings),
        "iptables-legacy" => new IpsetProbeExemptions(pod.Node, new Iptables(IptablesVariant.Legacy, Path.GetTempPath()), Backends.Settings),
        _ => new NftProbeExemptions(pod.Node, Backends.Settings, kubeletUserId: 0),
    };

    // Rules only: empty tables and chains of the kernel's own may stay.
    private static async Task<string[]> RulesAsync(PodOnNode pod)
    {
        var saved = await pod.ShAsync(pod.Node, "iptables-nft-save; ip6tables-nft-save; iptables-legacy-save; ip6tables-legacy-save; nft -s list tables inet");
        return [.. saved.Split('\n').Where(line => line.StartsWith("-A") || line.Contains("ISTIO") || line.Contains("istio"))];
    }
}
