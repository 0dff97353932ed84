using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation.Entries;

/// <summary>One ServiceEntry's claim to one host of its namespace.</summary>
/// <param name="ResourceName"><c>namespace/hostname</c>.</param>
/// <param name="Entry">The ServiceEntry.</param>
public readonly record struct HostClaim(string ResourceName, ObjectKey Entry) : IComparable<HostClaim>
{
    public int CompareTo(HostClaim other)
    {
        var byName = string.CompareOrdinal(ResourceName, other.ResourceName);
        return byName != 0 ? byName : Entry.CompareTo(other.Entry);
    }

    public static bool operator <(HostClaim left, HostClaim right) => left.CompareTo(right) < 0;
    public static bool operator >(HostClaim left, HostClaim right) => left.CompareTo(right) > 0;
    public static bool operator <=(HostClaim left, HostClaim right) => left.CompareTo(right) <= 0;
    public static bool operator >=(HostClaim left, HostClaim right) => left.CompareTo(right) >= 0;

    public override string ToString() => $"{ResourceName} of {Entry}";
}

/// <summary>Whose a host is that several objects claim (reference 4.5). Pure.</summary>
internal static class HostOwnership
{
    /// <summary>Within a namespace: the Service, else the oldest ServiceEntry. The others are left out whole.</summary>
    /// <param name="services">Services of that very resource name.</param>
    /// <param name="entries">ServiceEntries that claim it; at least one when no Service does.</param>
    public static TranslatedService Winner(IReadOnlyList<TranslatedService> services, IReadOnlyList<TranslatedService> entries) => services.Count > 0 ? services[0] : Oldest(entries)!;

    /// <summary>Among the winners of all namespaces: the Service, else the oldest entry everyone may see; null when none may claim to stand for all.</summary>
    public static TranslatedService? Canonical(IReadOnlyList<TranslatedService> services, IReadOnlyList<TranslatedService> winners) =>
        services.Count > 0 ? services[0] : Oldest(winners.Where(w => w.Message.Visibility == Protocol.Wds.Service.Types.Visibility.Public));

    private static TranslatedService? Oldest(IEnumerable<TranslatedService> entries) => entries.MinBy(e => (e.Created, e.Key));
}
