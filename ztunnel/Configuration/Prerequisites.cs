using System.Globalization;

namespace AmbientMesh.Ztunnel.Configuration;

/// <summary>What the process needs from the kernel, checked before anything is changed.</summary>
public static class Prerequisites
{
    // linux/capability.h
    private static readonly (int Bit, string Name, string For)[] Capabilities =
    [
        (12, "NET_ADMIN", "mark packets and keep clients' addresses"),
        (13, "NET_RAW", "keep clients' addresses"),
        (21, "SYS_ADMIN", "open sockets in pods' network namespaces"),
    ];

    /// <summary>What is missing, one line each; empty when the proxy can run.</summary>
    /// <param name="status">Text of <c>/proc/self/status</c>.</param>
    /// <param name="dedicated">Only the own namespace is served.</param>
    public static IEnumerable<string> Missing(string status, bool dedicated = false)
    {
        var line = status.Split('\n').FirstOrDefault(l => l.StartsWith("CapEff:", StringComparison.Ordinal));
        if (line is null || !ulong.TryParse(line[7..].Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var effective))
        {
            yield return "The capabilities of this process cannot be read from /proc/self/status.";
            yield break;
        }
        foreach (var (bit, name, purpose) in Capabilities)
            if ((effective >> bit & 1) == 0 && !(dedicated && name == "SYS_ADMIN")) yield return $"The capability {name} is missing; it is needed to {purpose}. Run as root with it added.";
    }
}
