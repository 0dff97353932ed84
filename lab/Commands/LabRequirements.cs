using AmbientMesh.Lab.Network;
using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Commands;

/// <summary>What a lab needs from the machine; asked before anything is changed.</summary>
internal static class LabRequirements
{
    private static readonly (string Program, string Package)[] s_programs =
    [
        ("ip", "iproute2"), ("nft", "nftables"), ("iptables", "iptables"), ("nsenter", "util-linux"), ("unshare", "util-linux"), ("setpriv", "util-linux"),
        ("mount", "mount"), ("bash", "bash"), ("sysctl", "procps"),
    ];

    /// <summary>The first thing that is missing, in one line; null when all is there.</summary>
    public static string? Problem()
    {
        if (Syscalls.EffectiveUserId != 0) return "a lab makes namespaces and must be run as root.";
        foreach (var (program, package) in s_programs)
            if (!IsOnPath(program)) return $"the program '{program}' is missing; install the Debian package {package}.";
        if (!File.Exists($"{NodeNetworkConfiguration.PluginSource}/bridge"))
            return $"the CNI plugins are missing from {NodeNetworkConfiguration.PluginSource}; install the Debian package containernetworking-plugins.";
        foreach (var kind in (string[])["net", "mnt", "pid", "uts", "ipc"])
            if (!File.Exists($"/proc/self/ns/{kind}")) return $"this kernel has no {kind} namespaces.";
        if (!HasFileSystem("overlay")) return "this kernel has no overlay file system (module overlay).";
        if (!Directory.Exists("/proc/sys/net/bridge") && !Load("br_netfilter")) return "this kernel does not filter bridged traffic (module br_netfilter); service addresses could not work.";
        if (!Directory.Exists("/proc/sys/net/ipv6")) return "this kernel has no IPv6.";
        return Cgroups.TryOpen("probe") is null ? "no cgroup hierarchy is mounted below /sys/fs/cgroup." : null;
    }

    private static bool IsOnPath(string program) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Append("/usr/sbin").Append("/sbin").Any(folder => File.Exists(Path.Combine(folder, program)));

    private static bool HasFileSystem(string name)
    {
        bool Listed() => File.ReadLines("/proc/filesystems").Any(l => l.EndsWith($"\t{name}", StringComparison.Ordinal));
        return Listed() || (Load(name) && Listed());
    }

    private static bool Load(string module)
    {
        try
        {
            using var modprobe = HostCommand.Start(["modprobe", module]);
            modprobe.WaitForExit();
            return modprobe.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }
}
