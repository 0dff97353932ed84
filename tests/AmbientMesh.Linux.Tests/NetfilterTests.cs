using System.Net;
using System.Net.Sockets;
using AmbientMesh.Linux.Netfilter;

namespace AmbientMesh.Linux.Tests;

public class NetfilterTests
{
    [Theory, InlineData(IptablesVariant.Nft), InlineData(IptablesVariant.Legacy)]
    public async Task Rules_go_where_they_were_sent_and_a_bad_script_is_refused_in_its_own_words(IptablesVariant variant)
    {
        using var inside = await Kernel.NamespaceAsync();
        var iptables = new Iptables(variant, Path.GetTempPath());
        foreach (var family in (AddressFamily[])[AddressFamily.InterNetwork, AddressFamily.InterNetworkV6])
        {
            await iptables.RestoreAsync(inside, family, "*nat\n-A OUTPUT -p tcp --dport 7 -j ACCEPT\nCOMMIT\n", Patience.Token);
            Assert.Contains("--dport 7 -j ACCEPT", await iptables.SaveAsync(inside, family, Patience.Token));
        }
        var refusal = await Assert.ThrowsAsync<ProgramFailedException>(() => iptables.RestoreAsync(inside, AddressFamily.InterNetwork, "*nat\n-A NOWHERE -j ACCEPT\nCOMMIT\n", Patience.Token));
        Assert.Contains("line 2", refusal.Message);
    }

    [Fact]
    public async Task Legacy_rules_of_the_host_decide_the_variant_and_so_does_force()
    {
        using var host = await Kernel.NamespaceAsync();
        Assert.Equal(IptablesVariant.Nft, await Iptables.DetectAsync("", host, Patience.Token));
        await Kernel.ShAsync(host, "iptables-legacy -w -t nat -A OUTPUT -p tcp --dport 7 -j ACCEPT");
        Assert.Equal(IptablesVariant.Legacy, await Iptables.DetectAsync("", host, Patience.Token));
        Assert.Equal(IptablesVariant.Nft, await Iptables.DetectAsync("iptables-nft", host, Patience.Token));
        await Assert.ThrowsAsync<IOException>(() => Iptables.DetectAsync("ipchains", host, Patience.Token));
    }

    [Fact]
    public async Task An_nft_script_changes_everything_or_nothing()
    {
        using var inside = await Kernel.NamespaceAsync();
        await Nftables.ApplyAsync(inside, "table inet t {\n}\n", Patience.Token);
        await Assert.ThrowsAsync<ProgramFailedException>(() => Nftables.ApplyAsync(inside, "add table inet u\nadd rule inet t nochain accept\n", Patience.Token));
        Assert.NotNull(await Nftables.ListTableAsync(inside, "inet", "t", Patience.Token));
        Assert.Null(await Nftables.ListTableAsync(inside, "inet", "u", Patience.Token));
    }

    [Fact]
    public void An_address_that_is_in_a_set_as_it_should_be_does_not_leave_it_for_a_moment()
    {
        IpSetEntry[] present = [new(IPAddress.Parse("10.0.0.1"), "pod"), new(IPAddress.Parse("10.0.0.2"), "former")];
        IpSetEntry[] wanted = [new(IPAddress.Parse("10.0.0.1"), "pod"), new(IPAddress.Parse("10.0.0.2"), "pod"), new(IPAddress.Parse("10.0.0.3"), "pod")];
        Assert.Equal("del s 10.0.0.2 -exist\nadd s 10.0.0.2 comment \"pod\" -exist\nadd s 10.0.0.3 comment \"pod\" -exist\n", IpSets.PutScript("s", wanted, present));
        Assert.Equal("", IpSets.PutScript("s", wanted, wanted));
    }

    [Theory, InlineData(AddressFamily.InterNetwork, "10.0.0.1"), InlineData(AddressFamily.InterNetworkV6, "fd00::1")]
    public async Task A_set_remembers_who_put_an_address_in(AddressFamily family, string text)
    {
        using var inside = await Kernel.NamespaceAsync();
        var address = IPAddress.Parse(text);
        Assert.Null(await IpSets.ListAsync(inside, "probes", Patience.Token));
        await IpSets.CreateAsync(inside, "probes", family, Patience.Token);
        await IpSets.PutAsync(inside, "probes", [new IpSetEntry(address, "first")], Patience.Token);
        await IpSets.PutAsync(inside, "probes", [new IpSetEntry(address, "second")], Patience.Token);
        await IpSets.CreateAsync(inside, "probes", family, Patience.Token);
        Assert.Equal([new IpSetEntry(address, "second")], await IpSets.ListAsync(inside, "probes", Patience.Token));
        await IpSets.RemoveAsync(inside, "probes", address, Patience.Token);
        Assert.Empty((await IpSets.ListAsync(inside, "probes", Patience.Token))!);
        await IpSets.DestroyAsync(inside, "probes", Patience.Token);
        await IpSets.DestroyAsync(inside, "probes", Patience.Token);
    }

    [Theory, InlineData(AddressFamily.InterNetwork), InlineData(AddressFamily.InterNetworkV6)]
    public async Task Marked_packets_are_routed_to_loopback_once_however_often_it_is_asked_for(AddressFamily family)
    {
        using var inside = await Kernel.NamespaceAsync();
        var routing = new LoopbackRouting(Mark: 0x111, Mask: 0xfff, Table: 100, Preference: 32764);
        Assert.Empty(await routing.ReadAsync(inside, family, Patience.Token));
        await routing.ApplyAsync(inside, family, Patience.Token);
        await routing.ApplyAsync(inside, family, Patience.Token);
        Assert.Equal(2, (await routing.ReadAsync(inside, family, Patience.Token)).Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        await routing.DeleteAsync(inside, family, Patience.Token);
        await routing.DeleteAsync(inside, family, Patience.Token);
        Assert.Empty(await routing.ReadAsync(inside, family, Patience.Token));
    }

    [Fact]
    public async Task Routing_that_the_kernel_refuses_is_an_error()
    {
        using var inside = await Kernel.NamespaceAsync();
        await Assert.ThrowsAsync<IOException>(() => new LoopbackRouting(1, 0xfff, Table: -1, 32764).ApplyAsync(inside, AddressFamily.InterNetwork, Patience.Token));
    }

    [Fact]
    public async Task Addresses_of_another_namespace_are_listed_without_staying_there()
    {
        using var inside = await Kernel.NamespaceAsync();
        await Kernel.ShAsync(inside, "ip addr add 192.0.2.9/32 dev lo; ip -6 addr add 2001:db8::9/128 dev lo");
        var addresses = InterfaceAddresses.Of(inside);
        Assert.Contains(IPAddress.Parse("192.0.2.9"), addresses);
        Assert.Contains(IPAddress.Parse("2001:db8::9"), addresses);
    }

    [Fact]
    public void The_process_table_has_this_process_with_its_namespace()
    {
        var self = Assert.Single(ProcessTable.Read("/proc"), process => process.Id == Environment.ProcessId);
        using var inside = NetworkNamespace.Open(self.NamespacePath);
        Assert.Equal(NetworkNamespace.Home.Id, inside.Id);
        Assert.NotEmpty(ProcessTable.Arguments("/proc", self.Id));
        Assert.NotNull(ProcessTable.UserId("/proc", self.Id));
        Assert.Null(ProcessTable.UserId("/proc", int.MaxValue));
    }

    [Theory]
    [InlineData("CapEff:\t000001ffffffffff", 0)]
    [InlineData("CapEff:\t0000000000000000", 2)]
    [InlineData("CapEff:\t0000000000001000", 1)]
    public void Each_missing_capability_is_one_line(string status, int missing) =>
        Assert.Equal(missing, Privileges.Missing(status, Capability.NetAdmin, Capability.SysAdmin).Count());
}
