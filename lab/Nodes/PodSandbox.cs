using System.Diagnostics;
using System.Security.Cryptography;
using AmbientMesh.Lab.Network;

namespace AmbientMesh.Lab.Nodes;

/// <summary>The namespaces the containers of one pod share, held by a process that sleeps (the pause container of a real node).</summary>
public sealed class PodSandbox
{
    private readonly NodeHost _node;
    private readonly Cgroups _cgroups;
    private readonly string _cgroupPath;
    private Process? _holder;

    private PodSandbox(NodeHost node, Cgroups cgroups, string podCgroup, bool hostNetwork)
    {
        (_node, _cgroups, HostNetwork) = (node, cgroups, hostNetwork);
        Id = NewId();
        _cgroupPath = $"{podCgroup}/{Id}";
        NetworkNamespacePath = hostNetwork ? "" : $"/var/run/netns/cni-{Guid.NewGuid()}";
    }

    /// <summary>64 hexadecimal digits, as containerd makes them.</summary>
    public string Id { get; }

    public bool HostNetwork { get; }

    /// <summary>Path on the node; empty for a pod in the node's own network.</summary>
    public string NetworkNamespacePath { get; }

    /// <summary>A folder on the node for the sandbox's namespace files and its containers' working places.</summary>
    public string Directory => $"/run/mesh-lab/{Id}";

    /// <summary>The words that enter the sandbox's shared namespaces from a process on the node.</summary>
    internal string EnterWords => HostNetwork
        ? $"nsenter --ipc={Directory}/ipc --"
        : $"nsenter --net={NetworkNamespacePath} --uts={Directory}/uts --ipc={Directory}/ipc --";

    public static string NewId() => Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32));

    /// <param name="podCgroup">Kubelet form, see <see cref="Cgroups.PodPath"/>.</param>
    public static async Task<PodSandbox> CreateAsync(
        NodeHost node, Cgroups cgroups, string podCgroup, string hostname, bool hostNetwork, CancellationToken cancellationToken)
    {
        var sandbox = new PodSandbox(node, cgroups, podCgroup, hostNetwork);
        var procs = $"{cgroups.Make(sandbox._cgroupPath)}/cgroup.procs";
        var own = hostNetwork ? "" : $"hostname {Shell.Quote(hostname)}; {Fabric.NamespaceSysctls}; " +
            "sysctl -qw net.ipv4.ip_unprivileged_port_start=0 net.ipv4.ping_group_range='0 2147483647'; ip link set lo up; ";
        var namespaces = hostNetwork
            ? $"--ipc={sandbox.Directory}/ipc"
            : $"--net={sandbox.NetworkNamespacePath} --uts={sandbox.Directory}/uts --ipc={sandbox.Directory}/ipc";
        var script = $"""
            set -e
            mkdir -p {sandbox.Directory}
            touch {sandbox.Directory}/uts {sandbox.Directory}/ipc {sandbox.NetworkNamespacePath}
            exec unshare {namespaces} --mount --propagation slave --pid --fork --kill-child=KILL bash -c {Shell.Quote(
                $"set -e; echo 0 > {procs}; {own}echo ready; exec >&- 2>&-; exec -a /pause sleep infinity")}
            """;
        var holder = HostCommand.Start(node.Enter("sh", "-c", script));
        try
        {
            await HolderReady.AwaitAsync(holder, $"sandbox {sandbox.Id}", cancellationToken);
        }
        catch
        {
            ExecSession.KillTree(holder.Id);
            sandbox._holder = holder;
            await sandbox.RemoveAsync(CancellationToken.None);
            throw;
        }
        sandbox._holder = holder;
        return sandbox;
    }

    /// <summary>Ends the holder and releases the namespaces; the network has been taken down before.</summary>
    public async Task RemoveAsync(CancellationToken cancellationToken)
    {
        foreach (var process in _cgroups.Processes(_cgroupPath)) Syscalls.Signal(process, Syscalls.SignalKill);
        if (_holder is { } holder)
        {
            await holder.WaitForExitAsync(cancellationToken);
            holder.Dispose();
            _holder = null;
        }
        var files = HostNetwork ? $"{Directory}/ipc" : $"{NetworkNamespacePath} {Directory}/uts {Directory}/ipc";
        await _node.RunAsync(["sh", "-c", $"umount -l {files} 2>/dev/null; rm -rf {Directory} {NetworkNamespacePath}"], cancellationToken: cancellationToken);
        _cgroups.Remove(_cgroupPath);
    }
}
