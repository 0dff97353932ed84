using System.Globalization;

namespace AmbientMesh.Linux;

/// <summary>The capabilities the mesh uses, by their bit. Source: <c>linux/capability.h</c>.</summary>
public enum Capability
{
    DacOverride = 1,
    NetAdmin = 12,
    NetRaw = 13,
    SysPtrace = 19,
    SysAdmin = 21,
}

/// <summary>Says before anything is changed what this process lacks; one line each.</summary>
public static class Privileges
{
    /// <summary>A line for every capability of <paramref name="needed"/> the process does not have; empty when all are there.</summary>
    public static IEnumerable<string> Missing(params Capability[] needed) => Missing(File.ReadAllText("/proc/self/status"), needed);

    internal static IEnumerable<string> Missing(string status, params Capability[] needed)
    {
        var line = status.Split('\n').FirstOrDefault(l => l.StartsWith("CapEff:", StringComparison.Ordinal)) ?? "CapEff:\t0";
        var effective = ulong.Parse(line["CapEff:".Length..].Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        foreach (var capability in needed)
            if ((effective >> (int)capability & 1) == 0)
                yield return $"The capability {Name(capability)} is missing; run as root or add it to the container's securityContext.";
    }

    private static string Name(Capability capability) => capability switch
    {
        Capability.DacOverride => "CAP_DAC_OVERRIDE",
        Capability.NetAdmin => "CAP_NET_ADMIN",
        Capability.NetRaw => "CAP_NET_RAW",
        Capability.SysPtrace => "CAP_SYS_PTRACE",
        _ => "CAP_SYS_ADMIN",
    };
}
