using AmbientMesh.Lab.Network;
using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Tests.Nodes;

/// <summary>A fabric and two nodes without an API server, shared by the tests of one class; skips where namespaces cannot be made.</summary>
public sealed class MachinesFixture : IAsyncLifetime
{
    private LabMachines? _machines;

    public string LabName { get; } = $"test-{Environment.ProcessId}-{Guid.NewGuid().ToString("N")[..6]}";
    public string StateDirectory => $"/run/ambientmesh-lab/{LabName}";
    public IReadOnlyList<NodeHost> Nodes => _machines!.Nodes;
    public Fabric Fabric => _machines!.Fabric;
    public Cgroups Cgroups { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Assert.SkipUnless(Syscalls.EffectiveUserId == 0, "Needs root: network and mount namespaces.");
        Cgroups = Cgroups.TryOpen(LabName) ?? throw new InvalidOperationException("no cgroup hierarchy");
        _machines = await LabMachines.CreateAsync(StateDirectory, new ImageStore(Path.Combine(StateDirectory, "images")), 2, Patience.Token);
    }

    public async ValueTask DisposeAsync()
    {
        if (_machines is not null) await _machines.DisposeAsync();
        Cgroups?.RemoveAll();
        if (Directory.Exists(StateDirectory)) Directory.Delete(StateDirectory, recursive: true);
    }

    /// <summary>A sandbox with addresses from the node's chain.</summary>
    internal async Task<(PodSandbox Sandbox, CniSandbox Cni, CniResult Network)> ConnectPodAsync(NodeHost node, string name)
    {
        var uid = Guid.NewGuid().ToString();
        var cgroup = Cgroups.PodPath("BestEffort", uid);
        var sandbox = await PodSandbox.CreateAsync(node, Cgroups, cgroup, name, hostNetwork: false, Patience.Token);
        var cni = new CniSandbox(sandbox.Id, "tests", name, uid, sandbox.NetworkNamespacePath, cgroup, new Dictionary<string, string>(), [], [], []);
        return (sandbox, cni, await new CniChain(node).AddAsync(cni, Patience.Token));
    }

    internal async Task<RunningContainer> RunAsync(NodeHost node, PodSandbox sandbox, string podUid, string[] command, ContainerRights? rights = null, params ContainerMount[] mounts)
    {
        var spec = new ContainerSpec(PodSandbox.NewId(), "c", command, "/", [new("HOME", "/root"), new("GREETING", "it's\nme")], null, mounts,
            rights ?? new ContainerRights(0, 0, [0], Capabilities.Keep([], [], privileged: false), NoNewPrivileges: false, ReadOnlyRoot: false, Privileged: false),
            HostPid: false, Cgroups.PodPath("BestEffort", podUid));
        var log = new ContainerLog(node.HostPath($"/var/log/pods/{podUid}/{spec.Id}.log"), TimeProvider.System);
        return await RunningContainer.StartAsync(node, Cgroups, sandbox, spec, log, TimeProvider.System, Patience.Token);
    }

    internal static async Task<string> OutputAsync(RunningContainer container)
    {
        await Patience.Within(container.Exited);
        var text = "";
        await foreach (var line in container.Log.ReadAsync(follow: false, Patience.Token)) text += line.Text + "\n";
        return text;
    }
}
