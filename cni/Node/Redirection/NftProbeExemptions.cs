using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Linux;
using AmbientMesh.Linux.Netfilter;

namespace AmbientMesh.Cni.Node.Redirection;

/// <summary>Probe exemptions by nftables: what the kubelet's user sends to an enrolled pod gets the probe address.</summary>
/// <param name="kubeletUserId">The user the kubelet runs as.</param>
public sealed class NftProbeExemptions(NetworkNamespace? host, RedirectSettings settings, int kubeletUserId) : IProbeExemptions
{
    private const string Family = NftablesPodRules.Family;
    private const string Table = NftablesPodRules.NatTable;

    // One transaction: the table is made anew with the entries it had.
    public async Task InstallAsync(CancellationToken cancellationToken)
    {
        var kept = string.Concat((await ReadAsync(cancellationToken)).Select(entry => Adding(entry.Key, entry.Value)));
        await Nftables.ApplyAsync(host, Script() + kept, cancellationToken);
    }

    public async Task<bool> AreInstalledAsync(CancellationToken cancellationToken)
    {
        var listed = await Nftables.ListTableAsync(host, Family, Table, cancellationToken);
        return listed is not null && listed.Contains($"snat ip to {settings.ProbeAddress}", StringComparison.Ordinal)
            && (!settings.RedirectsIpv6 || listed.Contains($"snat ip6 to {settings.ProbeAddressV6}", StringComparison.Ordinal));
    }

    public bool Covers(IPAddress address) => SetOf(address) is not null;

    public async Task AddAsync(string uid, IReadOnlyList<IPAddress> addresses, CancellationToken cancellationToken)
    {
        var owners = await ReadAsync(cancellationToken);
        var script = string.Concat(addresses.Where(a => SetOf(a) is not null).Select(a =>
            $"{(owners.ContainsKey(a) ? $"delete element {Family} {Table} {SetOf(a)} {{ {a} }}\n" : "")}{Adding(a, uid)}"));
        if (script.Length > 0) await Nftables.ApplyAsync(host, script, cancellationToken);
    }

    public async Task RemoveAsync(string uid, IReadOnlyCollection<IPAddress> keep, CancellationToken cancellationToken)
    {
        var own = (await ReadAsync(cancellationToken)).Where(entry => entry.Value == uid && !keep.Contains(entry.Key)).Select(entry => entry.Key);
        var script = string.Concat(own.Select(address => $"delete element {Family} {Table} {SetOf(address)} {{ {address} }}\n"));
        if (script.Length > 0) await Nftables.ApplyAsync(host, script, cancellationToken);
    }

    public async Task<IReadOnlyDictionary<IPAddress, string>> ReadAsync(CancellationToken cancellationToken)
    {
        var owners = new Dictionary<IPAddress, string>();
        foreach (var set in (string[])[ProbeSets.V4, ProbeSets.V6])
            if (await Nftables.ListSetAsync(host, Family, Table, set, cancellationToken) is { } listed)
                foreach (var (address, uid) in Elements(listed)) owners[address] = uid;
        return owners;
    }

    public Task UninstallAsync(CancellationToken cancellationToken) =>
        Nftables.ApplyAsync(host, $"add table {Family} {Table}\ndelete table {Family} {Table}\n", cancellationToken);

    internal string Script() =>
        $$"""
        add table {{Family}} {{Table}}
        delete table {{Family}} {{Table}}
        table {{Family}} {{Table}} {
          set {{ProbeSets.V4}} { type ipv4_addr; }
          set {{ProbeSets.V6}} { type ipv6_addr; }
          chain postrouting {
            type nat hook postrouting priority 100; policy accept;
            meta l4proto tcp meta skuid {{kubeletUserId}} ip daddr @{{ProbeSets.V4}} counter snat ip to {{settings.ProbeAddress}}
        {{(settings.RedirectsIpv6 ? $"    meta l4proto tcp meta skuid {kubeletUserId} ip6 daddr @{ProbeSets.V6} counter snat ip6 to {settings.ProbeAddressV6}" : "")}}
          }
        }

        """;

    /// <summary>The elements of <c>nft -j list set</c>: an address, or { elem: { val: address, comment: … } }.</summary>
    /// <exception cref="IOException">nft printed something else.</exception>
    internal static IReadOnlyList<(IPAddress Address, string Comment)> Elements(string json)
    {
        try
        {
            return [.. Read(json)];
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ArgumentException)
        {
            throw new IOException($"nft listed a set in a form that cannot be read: {e.Message}", e);
        }
    }

    private static IEnumerable<(IPAddress Address, string Comment)> Read(string json)
    {
        foreach (var entry in JsonNode.Parse(json)?["nftables"] as JsonArray ?? [])
            foreach (var element in entry?["set"]?["elem"] as JsonArray ?? [])
            {
                var described = element is JsonObject ? element["elem"] : null;
                var text = described is null ? (element?.GetValueKind() == JsonValueKind.String ? (string?)element : null) : (string?)described["val"];
                if (IPAddress.TryParse(text, out var address)) yield return (address, (string?)described?["comment"] ?? "");
            }
    }

    private string Adding(IPAddress address, string uid) =>
        SetOf(address) is { } set ? $"add element {Family} {Table} {set} {{ {address} comment \"{uid}\" }}\n" : "";

    private string? SetOf(IPAddress address) => address.AddressFamily switch
    {
        AddressFamily.InterNetwork => ProbeSets.V4,
        AddressFamily.InterNetworkV6 when settings.RedirectsIpv6 => ProbeSets.V6,
        _ => null,
    };
}
