using System.Diagnostics;
using AmbientMesh.Lab.Commands;
using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Tests.Commands;

public sealed class LabLifecycleTests
{
    [Fact]
    public async Task Two_labs_run_side_by_side_and_down_leaves_nothing_of_either()
    {
        SkipWhereNoLabCanBe();
        string[] names = [LabFixture.NewName(), LabFixture.NewName()];
        try
        {
            var ups = await Task.WhenAll(names.Select(n => LabFixture.LabAsync("up", "--name", n, "--nodes", "1")));
            Assert.All(ups, up => Assert.True(up.Succeeded, up.Output + up.Error));
            var states = names.Select(n => LabState.Load(new LabPaths(n))!).ToArray();
            Assert.NotEqual(states[0].ApiServer, states[1].ApiServer);
            var status = await LabFixture.LabAsync("status", "-o", "json");
            Assert.All(names, n => Assert.Contains($"\"name\": \"{n}\"", status.Output));
            var again = await LabFixture.LabAsync("up", "--name", names[0]);
            Assert.Equal(1, again.ExitCode);
            Assert.Contains("is running already", again.Error);
            await LabFixture.LabAsync("down", "--name", names[0]);
            Assert.True(states[1].Daemon.IsAlive);
            AssertNothingLeft(states[0]);
        }
        finally
        {
            foreach (var name in names) await LabFixture.LabAsync("down", "--name", name);
        }
    }

    [Fact]
    public async Task After_the_daemon_is_killed_the_next_up_cleans_and_comes_up()
    {
        SkipWhereNoLabCanBe();
        var name = LabFixture.NewName();
        try
        {
            Assert.True((await LabFixture.LabAsync("up", "--name", name)).Succeeded);
            var state = LabState.Load(new LabPaths(name))!;
            await HostCommand.CheckAsync(["kubectl", "--kubeconfig", state.Kubeconfig, "create", "deployment", "busy", "--image=host/sleep", "--replicas=2", "--", "sleep", "1000"], cancellationToken: Patience.Token);
            await HostCommand.CheckAsync(["kubectl", "--kubeconfig", state.Kubeconfig, "rollout", "status", "deploy/busy", "--timeout=50s"], cancellationToken: Patience.Token);
            using (var daemon = Process.GetProcessById(state.Daemon.Pid))
            {
                Syscalls.Signal(state.Daemon.Pid, Syscalls.SignalKill);
                await daemon.WaitForExitAsync(Patience.Token);
            }
            Assert.Contains("crashed", (await LabFixture.LabAsync("status", "--name", name)).Output);
            var up = await LabFixture.LabAsync("up", "--name", name);
            Assert.True(up.Succeeded, up.Output + up.Error);
            Assert.Contains("cleaning what an earlier lab", up.Output);
            Assert.All(state.Nodes, n => Assert.False(n.Process.IsAlive));
            var last = LabState.Load(new LabPaths(name))!;
            await LabFixture.LabAsync("down", "--name", name);
            AssertNothingLeft(last);
        }
        finally
        {
            await LabFixture.LabAsync("down", "--name", name);
        }
    }

    [Fact]
    public async Task A_node_without_a_CNI_list_is_not_ready_and_starts_only_pods_of_its_own_network()
    {
        SkipWhereNoLabCanBe();
        var name = LabFixture.NewName();
        try
        {
            Assert.True((await LabFixture.LabAsync("up", "--name", name, "--nodes", "1")).Succeeded);
            string[] kubectl = ["kubectl", "--kubeconfig", new LabPaths(name).Kubeconfig];
            await LabFixture.LabAsync("enter", "--name", name, "--node", "node-1", "--", "mv", "/etc/cni/net.d/10-mesh-lab.conflist", "/run/list");
            await HostCommand.CheckAsync([.. kubectl, "wait", "--for=condition=Ready=False", "node/node-1", "--timeout=50s"], cancellationToken: Patience.Token);
            Assert.Equal("container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized",
                await HostCommand.CheckAsync([.. kubectl, "get", "node", "node-1", "-o", "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}"], cancellationToken: Patience.Token));
            foreach (var (pod, host) in ((string, string)[])[("plain", "false"), ("hosted", "true")])
            {
                await HostCommand.CheckAsync([.. kubectl, "run", pod, "--image=host/sleep", $"--overrides={{\"spec\":{{\"nodeName\":\"node-1\",\"hostNetwork\":{host}}}}}", "--", "1000"],
                    cancellationToken: Patience.Token);
            }
            await HostCommand.CheckAsync([.. kubectl, "wait", "--for=condition=Ready", "pod/hosted", "--timeout=50s"], cancellationToken: Patience.Token);
            Assert.Equal("Pending", await HostCommand.CheckAsync([.. kubectl, "get", "pod", "plain", "-o", "jsonpath={.status.phase}"], cancellationToken: Patience.Token));
            await LabFixture.LabAsync("enter", "--name", name, "--node", "node-1", "--", "mv", "/run/list", "/etc/cni/net.d/10-mesh-lab.conflist");
            await HostCommand.CheckAsync([.. kubectl, "wait", "--for=condition=Ready", "node/node-1", "pod/plain", "--timeout=50s"], cancellationToken: Patience.Token);
        }
        finally
        {
            await LabFixture.LabAsync("down", "--name", name);
        }
    }

    [Fact]
    public async Task Pods_deleted_while_they_start_leave_no_process_and_no_address()
    {
        SkipWhereNoLabCanBe();
        var name = LabFixture.NewName();
        try
        {
            Assert.True((await LabFixture.LabAsync("up", "--name", name, "--nodes", "1")).Succeeded);
            string[] kubectl = ["kubectl", "--kubeconfig", new LabPaths(name).Kubeconfig];
            for (var round = 0; round < 4; round++)
            {
                await HostCommand.CheckAsync([.. kubectl, "create", "deployment", "many", "--image=host/sleep", "--replicas=6", "--", "sleep", "1000"], cancellationToken: Patience.Token);
                await HostCommand.CheckAsync([.. kubectl, "delete", "deployment", "many"], cancellationToken: Patience.Token);
                await HostCommand.CheckAsync([.. kubectl, "delete", "pods", "--all", "--force", "--grace-period=0"], cancellationToken: Patience.Token);
            }
            using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
            var limit = Patience.Token;
            var cgroups = Cgroups.TryOpen(name)!;
            while (cgroups.AllProcesses().Count > 0) await timer.WaitForNextTickAsync(limit);
            var addresses = new DirectoryInfo($"{new LabPaths(name).Directory}/nodes/node-1/files/var/lib/cni/networks/mesh-lab");
            while (addresses.EnumerateFiles("10.*").Any() || addresses.EnumerateFiles("fd*").Any()) await timer.WaitForNextTickAsync(limit);
            // The last that goes of a pod, after its last process.
            while ((await LabFixture.LabAsync("enter", "--name", name, "--node", "node-1", "--", "sh", "-c", "ls /run/netns | wc -l")).Output.Trim() != "0") await timer.WaitForNextTickAsync(limit);
        }
        finally
        {
            await LabFixture.LabAsync("down", "--name", name);
        }
    }

    [Fact]
    public async Task A_foreign_ztunnel_runs_in_the_place_of_ours()
    {
        SkipWhereNoLabCanBe();
        var name = LabFixture.NewName();
        var foreign = Path.Combine(Path.GetTempPath(), $"foreign-{name}");
        await File.WriteAllTextAsync(foreign, "#!/bin/sh\necho \"foreign $0 $*\"\n", Patience.Token);
        try
        {
            var up = await LabFixture.LabAsync("up", "--name", name, "--nodes", "1", "--ztunnel", foreign);
            Assert.True(up.Succeeded, up.Output + up.Error);
            string[] kubectl = ["kubectl", "--kubeconfig", new LabPaths(name).Kubeconfig];
            await HostCommand.CheckAsync([.. kubectl, "run", "zt", "--image=localhost/ambientmesh/ztunnel:dev", "--restart=Never", "--", "proxy", "ztunnel"], cancellationToken: Patience.Token);
            await HostCommand.CheckAsync([.. kubectl, "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/zt", "--timeout=50s"], cancellationToken: Patience.Token);
            Assert.Equal("foreign /app/ztunnel proxy ztunnel\n", await HostCommand.CheckAsync([.. kubectl, "logs", "zt"], cancellationToken: Patience.Token));
        }
        finally
        {
            await LabFixture.LabAsync("down", "--name", name);
            File.Delete(foreign);
        }
    }

    [Fact]
    public async Task Without_root_one_line_says_so_and_nothing_is_changed()
    {
        Assert.SkipUnless(Syscalls.EffectiveUserId == 0, "Becomes an ordinary user from root.");
        var name = LabFixture.NewName();
        var tool = Path.Combine(Samples.Root, "artifacts/bin/AmbientMesh.Lab/release/mesh-lab.dll");
        var result = await HostCommand.RunAsync(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "env", "HOME=/tmp", "dotnet", tool, "up", "--name", name], cancellationToken: Patience.Token);
        Assert.Equal(2, result.ExitCode);
        Assert.Equal("mesh lab up: a lab makes namespaces and must be run as root.\n", result.Error);
        Assert.False(Directory.Exists(new LabPaths(name).Directory));
    }

    [Theory]
    [InlineData("--name", "Not A Name", "is no lab name")]
    [InlineData("--nodes", "0", "expected 1 to 200")]
    [InlineData("--ztunnel", "/nonexistent/ztunnel", "does not exist")]
    public async Task Bad_options_are_named_before_anything_is_changed(string option, string value, string complaint)
    {
        var name = LabFixture.NewName();
        var result = await LabFixture.LabAsync(option == "--name" ? ["up", option, value] : ["up", "--name", name, option, value]);
        Assert.Equal(2, result.ExitCode);
        Assert.Contains(complaint, result.Error);
        Assert.Single(result.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.False(Directory.Exists(new LabPaths(name).Directory));
    }

    private static void SkipWhereNoLabCanBe()
    {
        if (LabRequirements.Problem() is { } problem) Assert.Skip(problem);
    }

    private static void AssertNothingLeft(LabState state)
    {
        Assert.False(state.Daemon.IsAlive);
        Assert.All(state.Nodes, n => Assert.False(n.Process.IsAlive));
        Assert.False(state.Fabric!.IsAlive);
        Assert.False(Directory.Exists(new LabPaths(state.Name).Directory));
        Assert.Empty(Cgroups.TryOpen(state.Name)!.AllProcesses());
        Assert.True(Cgroups.TryOpen(state.Name)!.RemoveAll());
        Assert.DoesNotContain(state.Name, File.ReadAllText("/proc/self/mountinfo"));
    }
}
