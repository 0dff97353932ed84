using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Tests.Nodes;

public sealed class ContainerTests(MachinesFixture machines) : IClassFixture<MachinesFixture>
{
    [Fact]
    public async Task Pods_on_two_nodes_reach_each_other_over_both_address_families()
    {
        var (sandbox, cni, network) = await machines.ConnectPodAsync(machines.Nodes[0], "alpha");
        var (other, otherCni, otherNetwork) = await machines.ConnectPodAsync(machines.Nodes[1], "beta");
        Assert.StartsWith("10.244.1.", network.Addresses[0]);
        Assert.StartsWith("fd00:10:244:2:", otherNetwork.Addresses[1]);

        var server = await machines.RunAsync(machines.Nodes[1], other, otherCni.PodUid,
            ["socat", "TCP6-LISTEN:8080,fork,reuseaddr,ipv6only=0", "SYSTEM:echo $SOCAT_PEERADDR"]);
        foreach (var address in otherNetwork.Addresses)
        {
            var client = await machines.RunAsync(machines.Nodes[0], sandbox, cni.PodUid, ["socat", "-u",
                $"TCP:{(address.Contains(':') ? $"[{address}]" : address)}:8080,retry=20,interval=0.1", "-"]);
            Assert.Contains(address.Contains(':') ? "[fd00:0010:0244:0001:" : "ffff:0af4:01", await MachinesFixture.OutputAsync(client));
        }
        Assert.True(server.Signal(15));
        Assert.Equal(143, (await Patience.Within(server.Exited)).Code);
    }

    [Fact]
    public async Task A_container_has_its_own_processes_root_and_environment_and_its_pod_is_named_in_its_cgroup()
    {
        var node = machines.Nodes[0];
        var (sandbox, cni, _) = await machines.ConnectPodAsync(node, "gamma");
        var output = await MachinesFixture.OutputAsync(await machines.RunAsync(node, sandbox, cni.PodUid,
            ["sh", "-c", "echo pid=$$; hostname; echo \"$GREETING\"; touch /usr/written && echo wrote; cat /proc/self/cgroup; ls /.base /run 2>&1; env"]));
        Assert.StartsWith("pid=1\ngamma\nit's\nme\nwrote\n", output);
        Assert.Contains($"/kubepods/besteffort/pod{cni.PodUid}/", output);
        Assert.DoesNotContain("mesh-lab", output[output.IndexOf("/.base", StringComparison.Ordinal)..]);
        Assert.False(File.Exists("/usr/written"));
    }

    [Fact]
    public async Task Dropped_capabilities_are_gone_for_root_and_for_others()
    {
        var node = machines.Nodes[0];
        var (sandbox, cni, _) = await machines.ConnectPodAsync(node, "delta");
        var asRoot = new ContainerRights(0, 1337, [], Capabilities.Keep(["NET_ADMIN", "SYS_ADMIN", "NET_RAW"], ["ALL"], false), false, ReadOnlyRoot: true, false);
        var output = await MachinesFixture.OutputAsync(await machines.RunAsync(node, sandbox, cni.PodUid,
            ["sh", "-c", "grep -E 'Cap(Eff|Bnd)' /proc/self/status; id; touch /x 2>&1; echo 1 > /proc/sys/net/ipv4/ip_forward"], asRoot));
        Assert.Contains("CapEff:\t0000000000203000", output);
        Assert.Contains("CapBnd:\t0000000000203000", output);
        Assert.Contains("uid=0(root) gid=1337", output);
        Assert.Contains("Read-only file system", output);

        var asUser = asRoot with { User = 1000, Group = 1000, NoNewPrivileges = true, ReadOnlyRoot = false };
        output = await MachinesFixture.OutputAsync(await machines.RunAsync(node, sandbox, cni.PodUid, ["grep", "-E", "CapEff|NoNewPrivs", "/proc/self/status"], asUser));
        Assert.Contains("CapEff:\t0000000000000000", output);
        Assert.Contains("NoNewPrivs:\t1", output);
    }

    [Fact]
    public async Task A_program_that_is_not_there_is_refused_by_name()
    {
        var node = machines.Nodes[0];
        var (sandbox, cni, _) = await machines.ConnectPodAsync(node, "epsilon");
        var refused = await Assert.ThrowsAsync<ContainerStartException>(() => machines.RunAsync(node, sandbox, cni.PodUid, ["/nosuch"]));
        Assert.EndsWith("unable to start container process: exec: \"/nosuch\": stat /nosuch: no such file or directory", refused.Message);
    }

    [Fact]
    public async Task A_network_namespace_bound_later_appears_in_a_container_that_asked_for_it()
    {
        var node = machines.Nodes[0];
        var (sandbox, cni, _) = await machines.ConnectPodAsync(node, "zeta");
        var watcher = await machines.RunAsync(node, sandbox, cni.PodUid, ["sh", "-c", "echo up; read -r _ < /sync/go; grep -c nsfs /proc/mounts"], null,
            new ContainerMount("/var/run/netns", "/host/var/run/netns", ReadOnly: true, MountPropagation.HostToContainer),
            new ContainerMount(FifoOn(node), "/sync/go", ReadOnly: false));
        var (_, later, _) = await machines.ConnectPodAsync(node, "eta");
        var before = (await node.CheckAsync(["sh", "-c", "ls /run/netns | wc -l"], null, Patience.Token)).Trim();
        await node.CheckAsync(["sh", "-c", "echo go > /run/fifo"], null, Patience.Token);
        var seen = (await MachinesFixture.OutputAsync(watcher)).Split('\n')[1];
        Assert.Equal(before, seen);
        Assert.Contains(Path.GetFileName(later.NetworkNamespacePath), await node.CheckAsync(["ls", "/run/netns"], null, Patience.Token));
    }

    [Fact]
    public async Task A_removed_sandbox_gives_back_its_address_and_leaves_nothing()
    {
        var node = machines.Nodes[1];
        var (sandbox, cni, network) = await machines.ConnectPodAsync(node, "theta");
        var container = await machines.RunAsync(node, sandbox, cni.PodUid, ["sleep", "1000"]);
        container.Signal(9);
        Assert.Equal(137, (await Patience.Within(container.Exited)).Code);
        await new CniChain(node).DeleteAsync(cni, network, Patience.Token);
        await sandbox.RemoveAsync(Patience.Token);
        await new CniChain(node).DeleteAsync(cni with { NetworkNamespacePath = "" }, null, Patience.Token);   // repeated, as containerd does
        Assert.DoesNotContain(Path.GetFileName(cni.NetworkNamespacePath), await node.CheckAsync(["ls", "/run/netns"], null, Patience.Token));
        Assert.False(File.Exists(node.HostPath($"/var/lib/cni/networks/mesh-lab/{network.Addresses[0]}")));
    }

    private static string FifoOn(NodeHost node)
    {
        using var made = System.Diagnostics.Process.Start("mkfifo", [node.HostPath("/run/fifo")]);
        made.WaitForExit();
        return "/run/fifo";
    }
}
