using System.Net;
using System.Net.Sockets;
using AmbientMesh.Linux;
using AmbientMesh.Linux.Netfilter;

namespace AmbientMesh.Cni.Node.Redirection;

/// <summary>Probe exemptions by iptables and ipset. What is local to the node (it has a socket) and goes to an enrolled pod gets the probe address.</summary>
public sealed class IpsetProbeExemptions(NetworkNamespace? host, Iptables iptables, RedirectSettings settings) : IProbeExemptions
{
    private const string Chain = "ISTIO_POSTRT";

    private IEnumerable<(AddressFamily Family, string Set, IPAddress Source)> Families
    {
        get
        {
            yield return (AddressFamily.InterNetwork, ProbeSets.V4, settings.ProbeAddress);
            if (settings.RedirectsIpv6) yield return (AddressFamily.InterNetworkV6, ProbeSets.V6, settings.ProbeAddressV6);
        }
    }

    public async Task InstallAsync(CancellationToken cancellationToken)
    {
        foreach (var (family, set, source) in Families)
        {
            await IpSets.CreateAsync(host, set, family, cancellationToken);
            var saved = await iptables.SaveAsync(host, family, cancellationToken);
            await iptables.RestoreAsync(host, family, Rules(saved, set, source), cancellationToken);
        }
    }

    public async Task<bool> AreInstalledAsync(CancellationToken cancellationToken)
    {
        foreach (var (family, set, source) in Families)
        {
            if (await IpSets.ListAsync(host, set, cancellationToken) is null) return false;
            var saved = await iptables.SaveAsync(host, family, cancellationToken);
            var ours = saved.Split('\n').Where(line => line.StartsWith($"-A {Chain} ", StringComparison.Ordinal)).ToList();
            var isOurs = ours is [var rule] && rule.Contains($"--match-set {set} dst", StringComparison.Ordinal) && rule.Contains($"--to-source {source}", StringComparison.Ordinal);
            if (!isOurs || Jumps(saved).Count() != 1) return false;
        }
        return true;
    }

    public bool Covers(IPAddress address) => Families.Any(family => family.Family == address.AddressFamily);

    public async Task AddAsync(string uid, IReadOnlyList<IPAddress> addresses, CancellationToken cancellationToken)
    {
        foreach (var (family, set, _) in Families)
            await IpSets.PutAsync(host, set, addresses.Where(a => a.AddressFamily == family).Select(a => new IpSetEntry(a, uid)), cancellationToken);
    }

    public async Task RemoveAsync(string uid, IReadOnlyCollection<IPAddress> keep, CancellationToken cancellationToken)
    {
        foreach (var (_, set, _) in Families)
            foreach (var entry in await IpSets.ListAsync(host, set, cancellationToken) ?? [])
                if (entry.Comment == uid && !keep.Contains(entry.Address)) await IpSets.RemoveAsync(host, set, entry.Address, cancellationToken);
    }

    public async Task<IReadOnlyDictionary<IPAddress, string>> ReadAsync(CancellationToken cancellationToken)
    {
        var owners = new Dictionary<IPAddress, string>();
        foreach (var (_, set, _) in Families)
            foreach (var entry in await IpSets.ListAsync(host, set, cancellationToken) ?? [])
                owners[entry.Address] = entry.Comment;
        return owners;
    }

    public async Task UninstallAsync(CancellationToken cancellationToken)
    {
        foreach (var (family, set, _) in Families)
        {
            var saved = await iptables.SaveAsync(host, family, cancellationToken);
            if (Removal(saved) is { Length: > 0 } script) await iptables.RestoreAsync(host, family, script, cancellationToken);
            await IpSets.DestroyAsync(host, set, cancellationToken);
        }
    }

    /// <summary>Pure: our chain with its rule, jumped to first, whatever was there before.</summary>
    internal static string Rules(string saved, string set, IPAddress source) =>
        $"""
        *nat
        :{Chain} - [0:0]
        {string.Concat(Jumps(saved).Select(jump => $"-D{jump[2..]}\n"))}-I POSTROUTING 1 -j {Chain}
        -A {Chain} -p tcp -m owner --socket-exists -m set --match-set {set} dst -j SNAT --to-source {source}
        COMMIT

        """;

    private static string Removal(string saved)
    {
        var present = saved.Split('\n').Any(line => line.StartsWith($":{Chain} ", StringComparison.Ordinal));
        return present ? $"*nat\n{string.Concat(Jumps(saved).Select(jump => $"-D{jump[2..]}\n"))}-F {Chain}\n-X {Chain}\nCOMMIT\n" : "";
    }

    private static IEnumerable<string> Jumps(string saved) => saved.Split('\n').Select(line => line.Trim()).Where(line => line == $"-A POSTROUTING -j {Chain}");
}
