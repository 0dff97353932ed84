namespace AmbientMesh.Lab.Nodes;

/// <summary>Which Linux capabilities a container keeps. Source: containerd's defaults, recorded in the samples (runtime-view), and Kubernetes' add and drop.</summary>
public static class Capabilities
{
    private static readonly string[] s_default =
    [
        "chown", "dac_override", "fsetid", "fowner", "mknod", "net_raw", "setgid", "setuid", "setfcap", "setpcap", "net_bind_service", "sys_chroot", "kill", "audit_write",
    ];

    private static readonly string[] s_known =
    [
        "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "linux_immutable", "net_bind_service",
        "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin",
        "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap", "mac_override",
        "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore",
    ];

    /// <summary>Lower-case names without <c>CAP_</c>, in order. ALL may stand in either list.</summary>
    /// <exception cref="ArgumentException">A name nobody knows.</exception>
    public static IReadOnlyList<string> Keep(IEnumerable<string> add, IEnumerable<string> drop, bool privileged)
    {
        if (privileged) return s_known;
        var (added, dropped) = (add.Select(Normalize).ToArray(), drop.Select(Normalize).ToArray());
        IEnumerable<string> kept = dropped.Contains("all") ? [] : s_default;
        if (added.Contains("all")) kept = s_known;
        var set = kept.Except(dropped).Union(added.Where(c => c != "all")).ToHashSet();
        return [.. s_known.Where(set.Contains)];
    }

    private static string Normalize(string name)
    {
        var plain = name.ToLowerInvariant();
        if (plain.StartsWith("cap_", StringComparison.Ordinal)) plain = plain[4..];
        return plain == "all" || s_known.Contains(plain) ? plain : throw new ArgumentException($"unknown capability \"{name}\"");
    }
}
