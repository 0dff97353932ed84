using System.Net;
using AmbientMesh.Linux;

namespace AmbientMesh.Cni.Node.Enrollment;

/// <summary>Finds a running pod's network namespace by its processes. Source: reference 9.3.</summary>
/// <param name="proc">The node's <c>/proc</c> as mounted here.</param>
/// <param name="host">The node's own namespace, which is never a pod's.</param>
public sealed class PodNamespaceSearch(string proc, NamespaceId host)
{
    /// <summary>The process table now, to be used for several searches.</summary>
    public IReadOnlyList<ProcessEntry> Processes() => ProcessTable.Read(proc);

    /// <summary>The namespace of the pod's oldest process that holds one of the pod's addresses; null when there is none. The caller owns it.</summary>
    public NetworkNamespace? Find(string uid, IReadOnlyCollection<IPAddress> addresses, IReadOnlyList<ProcessEntry> processes)
    {
        foreach (var process in processes.Where(process => Belongs(process.Cgroups, uid)))
        {
            if (TryOpen(process.NamespacePath) is not { } candidate) continue;
            if (candidate.Id != host && Holds(candidate, addresses)) return candidate;
            candidate.Dispose();
        }
        return null;
    }

    /// <summary>Whether a cgroup file names the pod: <c>…/pod&lt;uid&gt;/…</c>, or with underscores in systemd's form <c>…-pod&lt;uid&gt;.slice/…</c>.</summary>
    internal static bool Belongs(string cgroups, string uid) =>
        uid.Length > 0 && (Names(cgroups, $"pod{uid}") || Names(cgroups, $"pod{uid.Replace('-', '_')}"));

    // The whole name and not the beginning of a longer one.
    private static bool Names(string cgroups, string name)
    {
        for (var at = cgroups.IndexOf(name, StringComparison.Ordinal); at >= 0; at = cgroups.IndexOf(name, at + 1, StringComparison.Ordinal))
        {
            var end = at + name.Length;
            var startsName = at == 0 || cgroups[at - 1] is '/' or '-';
            var endsName = end == cgroups.Length || cgroups[end] is '/' or '.' or '\n';
            if (startsName && endsName) return true;
        }
        return false;
    }

    private static bool Holds(NetworkNamespace candidate, IReadOnlyCollection<IPAddress> addresses)
    {
        try
        {
            return InterfaceAddresses.Of(candidate).Any(addresses.Contains);
        }
        catch (SystemCallException)
        {
            return false;
        }
    }

    private static NetworkNamespace? TryOpen(string path)
    {
        try
        {
            return NetworkNamespace.Open(path);
        }
        catch (IOException)
        {
            return null;   // the process has ended meanwhile
        }
    }
}
