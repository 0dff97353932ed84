using System.Net;
using System.Net.Sockets;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation.Entries;

/// <summary>What an entry's <c>status.addresses</c> is to be.</summary>
/// <param name="Entry">The version of it that was looked at.</param>
/// <param name="Addresses">All of them; none clears what the entry may no longer hold.</param>
internal sealed record AddressAssignment(ServiceEntry Entry, IReadOnlyList<AssignedAddress> Addresses);

/// <summary>Assigns one IPv4 and one IPv6 address to each host that is to hold some (l7 reference 4.6).</summary>
/// <remarks>
/// What is held stays held; of two entries that hold the same address the older keeps it, and an address somebody wrote into a spec is theirs, so every holder moves.
/// New addresses are taken in turn, so that one given up is not at once somebody else's. Not thread-safe.
/// </remarks>
internal sealed class AddressPlan(IPNetwork ipv4, IPNetwork ipv6)
{
    private readonly AddressRange _ipv4 = new(ipv4);
    private readonly AddressRange _ipv6 = new(ipv6);
    private readonly Dictionary<(ObjectKey Entry, string Host, bool IsIpv4), IPAddress> _offered = [];   // decided upon, and not yet seen to be held

    /// <summary>The entries whose status is not as it is to be.</summary>
    /// <param name="exhausted">Hosts for which no address was left.</param>
    public IReadOnlyList<AddressAssignment> Decide(IEnumerable<ServiceEntry> entries, out IReadOnlyList<string> exhausted)
    {
        var byAge = entries.OrderBy(e => e.Metadata.CreationTimestamp ?? DateTimeOffset.MaxValue).ThenBy(e => e.Key).ToList();
        var written = new WrittenAddresses(byAge.SelectMany(e => e.Spec.Addresses));
        var used = new HashSet<IPAddress>();
        var kept = byAge.ToDictionary(e => e.Key, e => Kept(e, used, written));
        foreach (var address in byAge.Where(e => !AutoAllocation.IsFor(e)).SelectMany(AutoAllocation.Held)) used.Add(address.Address);   // until it is cleared somebody may still be using it

        var left = new List<string>();
        var due = new List<AddressAssignment>();
        foreach (var entry in byAge)
        {
            var wanted = AutoAllocation.HostsOf(entry).SelectMany(host => Fill(entry.Key, host, kept[entry.Key].GetValueOrDefault(host), a => !written.Contains(a) && used.Add(a), left)).ToList();
            if (!wanted.SequenceEqual(entry.Status.Addresses)) due.Add(new AddressAssignment(entry, wanted));
        }
        foreach (var gone in _offered.Keys.Where(o => !kept.ContainsKey(o.Entry)).ToList()) _offered.Remove(gone);
        exhausted = left;
        return due;
    }

    private static Dictionary<string, (IPAddress? V4, IPAddress? V6)> Kept(ServiceEntry entry, HashSet<IPAddress> used, WrittenAddresses written)
    {
        var hosts = AutoAllocation.HostsOf(entry).ToHashSet();
        var kept = new Dictionary<string, (IPAddress? V4, IPAddress? V6)>();
        foreach (var (host, address) in AutoAllocation.Held(entry))
        {
            if (!hosts.Contains(host) || written.Contains(address)) continue;
            var (v4, v6) = kept.GetValueOrDefault(host);
            var isV4 = address.AddressFamily == AddressFamily.InterNetwork;
            if ((isV4 ? v4 : v6) is not null || !used.Add(address)) continue;
            kept[host] = isV4 ? (address, v6) : (v4, address);
        }
        return kept;
    }

    private IEnumerable<AssignedAddress> Fill(ObjectKey entry, string host, (IPAddress? V4, IPAddress? V6) held, Func<IPAddress, bool> isFree, List<string> exhausted)
    {
        var v4 = Held((entry, host, true), held.V4) ?? Offer((entry, host, true), _ipv4, isFree);
        var v6 = Held((entry, host, false), held.V6) ?? Offer((entry, host, false), _ipv6, isFree);
        if (v4 is null && v6 is null) exhausted.Add(host);
        if (v4 is not null) yield return new AssignedAddress { Value = v4.ToString(), Host = host };
        if (v6 is not null) yield return new AssignedAddress { Value = v6.ToString(), Host = host };
    }

    private IPAddress? Held((ObjectKey, string, bool) place, IPAddress? address)
    {
        if (address is not null) _offered.Remove(place);
        return address;
    }

    // A write that was overtaken is tried again with the same address.
    private IPAddress? Offer((ObjectKey, string, bool) place, AddressRange range, Func<IPAddress, bool> isFree)
    {
        if (_offered.TryGetValue(place, out var again) && isFree(again)) return again;
        if (range.Take(isFree) is not { } address) return null;
        _offered[place] = address;
        return address;
    }

    /// <summary>What specs claim. Nearly all are single addresses, which are looked up; only ranges are gone through one by one.</summary>
    private sealed class WrittenAddresses
    {
        private readonly HashSet<IPAddress> _single = [];
        private readonly List<IPNetwork> _ranges = [];

        public WrittenAddresses(IEnumerable<string> texts)
        {
            foreach (var text in texts)
                if (!WireAddress.TryRange(text, out var range)) continue;
                else if (range.PrefixLength == WireAddress.BitsOf(range.BaseAddress)) _single.Add(range.BaseAddress);
                else _ranges.Add(range);
        }

        public bool Contains(IPAddress address) => _single.Contains(address) || _ranges.Exists(range => range.BaseAddress.AddressFamily == address.AddressFamily && range.Contains(address));
    }

    /// <summary>The addresses of a prefix in turn; the first and, of IPv4, the last are left out.</summary>
    private sealed class AddressRange(IPNetwork prefix)
    {
        private const uint MostCandidates = 1 << 20;   // of a larger prefix only the first million are used

        private readonly uint _count = CountOf(prefix);
        private uint _next = 1;

        public IPAddress? Take(Func<IPAddress, bool> isFree)
        {
            for (var tried = 1u; tried < _count; tried++)
            {
                var candidate = At(_next);
                _next = _next + 1 < _count ? _next + 1 : 1;
                if (isFree(candidate)) return candidate;
            }
            return null;
        }

        private static uint CountOf(IPNetwork prefix)
        {
            var isV4 = prefix.BaseAddress.AddressFamily == AddressFamily.InterNetwork;
            var hostBits = (isV4 ? 32 : 128) - prefix.PrefixLength;
            var count = hostBits >= 20 ? MostCandidates : 1u << hostBits;
            return isV4 && count > 2 && hostBits < 20 ? count - 1 : count;
        }

        private IPAddress At(uint offset)
        {
            var bytes = prefix.BaseAddress.GetAddressBytes();
            for (var at = bytes.Length - 1; offset > 0 && at >= 0; at--)
            {
                offset += bytes[at];
                bytes[at] = (byte)offset;
                offset >>= 8;
            }
            return new IPAddress(bytes);
        }
    }
}
