using System.Diagnostics;
using AmbientMesh.Lab.Network;
using AmbientMesh.Linux;

namespace AmbientMesh.Lab.Nodes;

/// <summary>One machine of the lab: a process in network, mount, pid, uts and ipc namespaces of its own, with a root file system of its own.</summary>
/// <remarks>
/// The root is an overlay of the machine's (read-only) and memory. The folders a kubelet and a CNI share with the outside are bound from
/// the state directory, so both sides see the same files: <see cref="HostPath"/>. Ending the process ends everything that runs on the node.
/// </remarks>
public sealed class NodeHost : IAsyncDisposable
{
    /// <summary>The machine's pristine root, from which containers are made; read-only.</summary>
    internal const string BaseRoot = "/.base";

    /// <summary>Where image folders are found inside a node.</summary>
    internal const string ImageRoot = "/.images";

    /// <summary>Where folders are found that stand in for image folders.</summary>
    internal const string OverrideRoot = "/.overrides";

    private static readonly string[] s_shared =
        ["/run", "/etc/cni/net.d", "/opt/cni/bin", "/var/lib/cni", "/var/lib/kubelet", "/var/log/pods", "/var/log/containers"];

    private readonly string _stateDirectory;
    private readonly string _files;
    private readonly ImageStore _images;
    private Process _holder;

    private NodeHost(string name, int number, string stateDirectory, ImageStore images, AddressFamilies families, Process holder, int processId)
    {
        Families = families;
        (Name, Number, _stateDirectory, _images, _holder, ProcessId) = (name, number, stateDirectory, images, holder, processId);
        _files = Path.Combine(stateDirectory, "files");
        Network = NetworkNamespace.Open($"/proc/{processId}/ns/net");
    }

    public string Name { get; }

    /// <summary>Counted from 1; decides the addresses.</summary>
    public int Number { get; }

    /// <summary>Of its own addresses and its pods'.</summary>
    public AddressFamilies Families { get; }

    /// <summary>The node's first process as the machine sees it.</summary>
    public int ProcessId { get; private set; }

    /// <summary>Another one after each <see cref="StartAgainAsync"/>.</summary>
    public NetworkNamespace Network { get; private set; }

    /// <param name="stateDirectory">A folder of the node alone; made here.</param>
    /// <param name="images">Its folders are bound read-only.</param>
    public static async Task<NodeHost> CreateAsync(string name, int number, string stateDirectory, ImageStore images, AddressFamilies families, CancellationToken cancellationToken)
    {
        var holder = await BootAsync(name, stateDirectory, images, cancellationToken);
        return new NodeHost(name, number, stateDirectory, images, families, holder, ChildOf(holder.Id));
    }

    /// <summary>As if the power failed: everything that runs on the node ends at once, and its memory is lost. Its disk stays.</summary>
    public async Task CutPowerAsync()
    {
        Network.Dispose();
        await HolderReady.EndAsync(_holder);
        foreach (var entry in new DirectoryInfo(Path.Combine(_files, "run")).EnumerateFileSystemInfos())
        {
            if (entry is DirectoryInfo folder) folder.Delete(recursive: true);
            else entry.Delete();
        }
    }

    /// <summary>Starts the machine whose power was cut; nothing is connected to it yet.</summary>
    public async Task StartAgainAsync(CancellationToken cancellationToken)
    {
        _holder = await BootAsync(Name, _stateDirectory, _images, cancellationToken);
        ProcessId = ChildOf(_holder.Id);
        Network = NetworkNamespace.Open($"/proc/{ProcessId}/ns/net");
    }

    private static async Task<Process> BootAsync(string name, string stateDirectory, ImageStore images, CancellationToken cancellationToken)
    {
        foreach (var folder in s_shared) Directory.CreateDirectory(Path.Combine(stateDirectory, "files", folder.TrimStart('/')));
        Directory.CreateDirectory(Path.Combine(stateDirectory, "files/run/netns"));
        var holder = HostCommand.Start(
            ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child=KILL", "bash", "-c", Script(name, stateDirectory, images)]);
        await HolderReady.AwaitAsync(holder, $"node {name}", cancellationToken);
        return holder;
    }

    /// <summary>Where the machine sees a file of the folders shared with it, e.g. <c>/var/lib/kubelet/pods</c>.</summary>
    /// <exception cref="ArgumentException">The path is not in one of those folders.</exception>
    public string HostPath(string nodePath)
    {
        var path = nodePath.StartsWith("/var/run/", StringComparison.Ordinal) ? nodePath["/var".Length..] : nodePath;
        return Array.Exists(s_shared, s => path == s || path.StartsWith(s + "/", StringComparison.Ordinal))
            ? Path.Combine(_files, path.TrimStart('/'))
            : throw new ArgumentException($"{nodePath} is not shared between the node and the machine.", nameof(nodePath));
    }

    /// <summary>The command line that runs <paramref name="command"/> on the node.</summary>
    public string[] Enter(params ReadOnlySpan<string> command) =>
        ["nsenter", "-t", $"{ProcessId}", "-m", "-n", "-p", "-u", "-i", "--", .. command];

    public Task<CommandResult> RunAsync(
        string[] command, string? input = null, IReadOnlyDictionary<string, string>? environment = null, CancellationToken cancellationToken = default) =>
        HostCommand.RunAsync(Enter(command), input, environment, cancellationToken);

    /// <exception cref="HostCommandException">Another exit code than 0.</exception>
    public Task<string> CheckAsync(string[] command, string? input = null, CancellationToken cancellationToken = default) =>
        HostCommand.CheckAsync(Enter(command), input, cancellationToken);

    private static string Script(string name, string state, ImageStore images) => $$"""
        set -e
        S={{Shell.Quote(state)}}
        mount --make-rprivate /
        mkdir -p "$S/scratch"
        mount -t tmpfs -o mode=755 lab "$S/scratch"
        mkdir "$S/scratch/upper" "$S/scratch/work" "$S/scratch/root"
        R="$S/scratch/root"
        mount -t overlay overlay -o "lowerdir=/,upperdir=$S/scratch/upper,workdir=$S/scratch/work" "$R"
        mkdir -p "$R{{BaseRoot}}"
        mount --bind / "$R{{BaseRoot}}"
        mount -o remount,bind,ro "$R{{BaseRoot}}"
        bind() { mkdir -p "$R$2"; if [ -d "$1" ]; then mount --bind "$1" "$R$2"; mount -o remount,bind,ro "$R$2"; fi; }
        bind {{Shell.Quote(images.Directory)}} {{ImageRoot}}
        bind {{Shell.Quote(images.OverrideDirectory)}} {{OverrideRoot}}
        mount -t proc proc "$R/proc"
        mount -t sysfs sysfs "$R/sys"
        mount --rbind /sys/fs/cgroup "$R/sys/fs/cgroup"
        mount --rbind /dev "$R/dev"
        for d in {{string.Join(' ', s_shared)}}; do mkdir -p "$R$d"; mount --bind "$S/files$d" "$R$d"; done
        mkdir -p "$R/.old"
        cd "$R"
        pivot_root . .old
        umount -l /.old
        rmdir /.old
        mount -t tmpfs -o mode=1777 tmp /tmp
        mount --make-rshared /
        mount --bind /run/netns /run/netns
        mount --make-shared /run/netns
        hostname {{Shell.Quote(name)}}
        {{Fabric.NamespaceSysctls}}
        sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 \
            net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1 net.ipv4.conf.all.route_localnet=1
        ip link set lo up
        echo ready
        read -r _ || true
        """;

    private static int ChildOf(int parent) =>
        int.Parse(File.ReadAllText($"/proc/{parent}/task/{parent}/children").Trim().Split(' ')[0]);

    public async ValueTask DisposeAsync()
    {
        Network.Dispose();
        await HolderReady.EndAsync(_holder);
    }
}
