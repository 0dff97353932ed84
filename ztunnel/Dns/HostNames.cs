using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using AmbientMesh.Model;

namespace AmbientMesh.Ztunnel.Dns;

/// <summary>What a host name stands for now: addresses, or why there are none.</summary>
public sealed record HostLookup(ImmutableArray<IPAddress> Addresses, string Why)
{
    /// <summary>One of the addresses at random, of the preferred family where there is one and of an allowed one always; null for none.</summary>
    public IPAddress? Choose(AddressFamily preferred, IpFamilies families, Random random)
    {
        IPAddress[] allowed = [.. Addresses.Where(address => families.Allows(address.AddressFamily))];
        IPAddress[] best = [.. allowed.Where(address => address.AddressFamily == preferred)];
        if (best.Length == 0) best = allowed;
        return best.Length == 0 ? null : best[random.Next(best.Length)];
    }
}

/// <summary>Looks up workloads that have a host name instead of addresses, when a connection needs one (L4 reference §10.2). Shared by all pods; thread-safe.</summary>
/// <remarks>
/// Lookups of one name wait for one question. An answer counts as long as its records live, at least a second; one that is in use is asked for again
/// before it ends. A failure counts for a moment only, so that a server that comes back is found at once.
/// </remarks>
/// <param name="forwarder">Asks from ztunnel's own namespace.</param>
public sealed class HostNames(DnsForwarder forwarder, bool ipv6, TimeProvider clock)
{
    /// <summary>Names kept; those that end first make room.</summary>
    public const int MaxNames = 4096;

    private static readonly TimeSpan ShortestLife = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestLife = TimeSpan.FromHours(1);

    /// <summary>How long a failure counts.</summary>
    public static readonly TimeSpan FailureLife = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private readonly Dictionary<string, Entry> _entries = new(StringComparer.Ordinal);

    /// <summary>How many names are kept.</summary>
    public int Count
    {
        get { lock (_gate) return _entries.Count; }
    }

    /// <summary>What the name stands for; a failure is a result.</summary>
    public Task<HostLookup> ResolveAsync(string hostname, CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            var now = clock.GetUtcNow();
            if (!_entries.TryGetValue(hostname, out var entry) || entry.Ends <= now)
            {
                if (_entries.Count >= MaxNames) MakeRoom(now);
                entry = _entries[hostname] = new Entry(hostname);
                entry.Lookup = LookUpAsync(entry);
            }
            else if (entry.RefreshAt <= now && !entry.Refreshing)
            {
                entry.Refreshing = true;
                _ = RefreshAsync(hostname, entry);
            }
            return entry.Lookup.WaitAsync(cancellationToken);
        }
    }

    private sealed class Entry(string hostname)
    {
        public string Hostname => hostname;
        public Task<HostLookup> Lookup { get; set; } = null!;

        // Unknown until the answer is there: nobody starts a second lookup meanwhile.
        public DateTimeOffset Ends { get; set; } = DateTimeOffset.MaxValue;
        public DateTimeOffset RefreshAt { get; set; } = DateTimeOffset.MaxValue;
        public bool Refreshing { get; set; }
    }

    private async Task RefreshAsync(string hostname, Entry current)
    {
        var next = new Entry(hostname);
        next.Lookup = LookUpAsync(next);
        var found = await next.Lookup;
        lock (_gate)
        {
            // A failed refresh leaves the answer in use until its end.
            if (found.Addresses.Length > 0 && _entries.TryGetValue(hostname, out var known) && known == current) _entries[hostname] = next;
            else current.Refreshing = false;
        }
    }

    private async Task<HostLookup> LookUpAsync(Entry entry)
    {
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);   // not under the caller's lock
        ushort[] types = ipv6 ? [DnsTypes.A, DnsTypes.Aaaa] : [DnsTypes.A];
        var asked = await Task.WhenAll(types.Select(type => AskAsync(entry.Hostname, type)));
        var found = asked.Where(answer => answer.Addresses.Length > 0).ToArray();
        var life = found.Length == 0 ? FailureLife : found.Min(answer => answer.Lifetime);
        if (life < ShortestLife) life = ShortestLife;
        if (life > LongestLife) life = LongestLife;
        lock (_gate)
        {
            var now = clock.GetUtcNow();
            entry.Ends = now + life;
            entry.RefreshAt = found.Length == 0 ? DateTimeOffset.MaxValue : now + (life * 0.8);
        }
        return new HostLookup([.. found.SelectMany(answer => answer.Addresses)], asked.Select(answer => answer.Problem).FirstOrDefault(problem => problem is not null) ?? "no A/AAAA records");
    }

    private async Task<AddressRecords> AskAsync(string hostname, ushort type)
    {
        if (AddressRecords.Question(hostname, type) is not { } message || !DnsQuery.TryParse(message, out var query, out _)) return new AddressRecords([], TimeSpan.Zero, "it is no host name");
        var (answer, reason, _) = await forwarder.ForwardAsync(message, query, DnsTransport.Udp, takesTransfers: false, CancellationToken.None);
        if (answer is not null && DnsHeader.TryRead(answer, out var header) && header.IsTruncated)
            (answer, reason, _) = await forwarder.ForwardAsync(message, query, DnsTransport.Tcp, takesTransfers: false, CancellationToken.None);
        return answer is null ? new AddressRecords([], TimeSpan.Zero, reason) : AddressRecords.Read(answer, type);
    }

    private void MakeRoom(DateTimeOffset now)
    {
        foreach (var ended in _entries.Where(pair => pair.Value.Ends <= now).Select(pair => pair.Key).ToArray()) _entries.Remove(ended);
        if (_entries.Count >= MaxNames) _entries.Remove(_entries.MinBy(pair => pair.Value.Ends).Key);
    }
}
