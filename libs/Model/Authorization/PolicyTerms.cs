using System.Collections.Immutable;

namespace AmbientMesh.Model.Authorization;

/// <summary>Every single thing rules ask of a connection, numbered from 0; tells which of them a connection is. Filled and completed first, then only read.</summary>
internal sealed class PolicyTerms
{
    private readonly TermNumbers _numbers = new();
    private readonly TextTerms _namespaces;
    private readonly TextTerms _principals;
    private readonly NetworkTerms _sources;
    private readonly NetworkTerms _destinations;
    private readonly Dictionary<ushort, int> _ports = [];
    private readonly Dictionary<ServiceAccountMatch, int> _accounts = [];

    public PolicyTerms()
    {
        (_namespaces, _principals) = (new TextTerms(_numbers), new TextTerms(_numbers));
        (_sources, _destinations) = (new NetworkTerms(_numbers), new NetworkTerms(_numbers));
    }

    public int Count => _numbers.Count;

    /// <summary>Appends the match's lists in numbers (<see cref="RuleCode"/>); what it asks for gets numbers where it has none yet.</summary>
    public void Write(PolicyMatch match, List<int> code)
    {
        Write(code, match.Namespaces, match.NotNamespaces, static (terms, name) => terms._namespaces.Number(name));
        Write(code, match.Principals, match.NotPrincipals, static (terms, name) => terms._principals.Number(name));
        Write(code, match.SourceIps, match.NotSourceIps, static (terms, network) => terms._sources.Number(network));
        Write(code, match.DestinationIps, match.NotDestinationIps, static (terms, network) => terms._destinations.Number(network));
        Write(code, match.DestinationPorts, match.NotDestinationPorts, static (terms, port) => terms._numbers.Of(terms._ports, port));
        Write(code, match.ServiceAccounts, match.NotServiceAccounts, static (terms, account) => terms._numbers.Of(terms._accounts, account));
    }

    /// <summary>No further rules follow.</summary>
    public void Complete()
    {
        _namespaces.Complete();
        _principals.Complete();
    }

    /// <summary>Sets the bit of each term that is true of the connection; <paramref name="held"/> is zero before.</summary>
    public void Mark(in ConnectionFacts facts, Span<ulong> held)
    {
        _namespaces.Mark(facts.Peer?.Namespace ?? "", held);
        if (facts.Principal is { } principal) _principals.Mark(principal, held);
        _sources.Mark(facts.Source, held);
        _destinations.Mark(facts.Destination.Address, held);
        if (_ports.Count > 0 && _ports.TryGetValue((ushort)facts.Destination.Port, out var port)) TermNumbers.Set(held, port);
        if (_accounts.Count > 0 && facts.Peer is { } peer && _accounts.TryGetValue(new ServiceAccountMatch(peer.Namespace, peer.ServiceAccount), out var account)) TermNumbers.Set(held, account);
    }

    private void Write<T>(List<int> code, ImmutableArray<T> any, ImmutableArray<T> none, Func<PolicyTerms, T, int> number)
    {
        if (!any.IsEmpty) code.Add(any.Length);
        foreach (var value in any) code.Add(number(this, value));
        if (!none.IsEmpty) code.Add(-none.Length);
        foreach (var value in none) code.Add(number(this, value));
    }
}

/// <summary>Hands out numbers for terms.</summary>
internal sealed class TermNumbers
{
    public int Count { get; private set; }

    public int Next() => Count++;

    public int Of<TKey>(Dictionary<TKey, int> known, TKey key) where TKey : notnull
    {
        if (!known.TryGetValue(key, out var number)) known[key] = number = Next();
        return number;
    }

    public static void Set(Span<ulong> held, int term) => held[term >> 6] |= 1UL << term;
}
