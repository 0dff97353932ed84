using System.Net;
using System.Net.Sockets;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation.Entries;

/// <summary>Which hosts of ServiceEntries are given addresses by the mesh, and which of them they hold (l7 reference 4.6). Pure.</summary>
internal static class AutoAllocation
{
    private const string Label = "networking.istio.io/enable-autoallocate-ip";

    /// <summary>Whether the entry is to hold addresses of its own: it has none, is not passed through, and did not opt out.</summary>
    public static bool IsFor(ServiceEntry entry) =>
        entry.Spec.Addresses.Count == 0 && entry.Spec.Resolution is not (null or "" or "NONE") && entry.Metadata.DeletionTimestamp is null
        && !string.Equals(entry.Metadata.Labels.GetValueOrDefault(Label), "false", StringComparison.OrdinalIgnoreCase);

    /// <summary>The hosts that are to hold addresses: a wildcard only where a waypoint finds out what stands for it.</summary>
    public static IEnumerable<string> HostsOf(ServiceEntry entry) =>
        IsFor(entry) ? ServiceEntryTranslation.HostsOf(entry).Where(h => !ServiceEntryTranslation.IsWildcard(h) || entry.Spec.Resolution == "DYNAMIC_DNS") : [];

    /// <summary>Addresses that the entry's status says a host holds; none once the entry may not hold any.</summary>
    public static IEnumerable<IPAddress> HeldFor(ServiceEntry entry, string host) => HostsOf(entry).Contains(host) ? Held(entry).Where(h => h.Host == host).Select(h => h.Address) : [];

    /// <summary>Everything the status holds that can be read.</summary>
    public static IEnumerable<(string Host, IPAddress Address)> Held(ServiceEntry entry)
    {
        foreach (var held in entry.Status.Addresses)
            if (held.Host is { Length: > 0 } host && IPAddress.TryParse(held.Value, out var address) && address.AddressFamily is AddressFamily.InterNetwork or AddressFamily.InterNetworkV6)
                yield return (host.ToLowerInvariant(), address);
    }
}
