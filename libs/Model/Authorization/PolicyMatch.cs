using System.Collections.Immutable;
using System.Net;

namespace AmbientMesh.Model.Authorization;

/// <summary>All set lists hold: of a positive list any element, of a negative one none. A match with nothing set never holds.</summary>
public sealed class PolicyMatch
{
    public ImmutableArray<StringMatch> Namespaces { get; init; } = [];
    public ImmutableArray<StringMatch> NotNamespaces { get; init; } = [];
    public ImmutableArray<StringMatch> Principals { get; init; } = [];
    public ImmutableArray<StringMatch> NotPrincipals { get; init; } = [];
    public ImmutableArray<IPNetwork> SourceIps { get; init; } = [];
    public ImmutableArray<IPNetwork> NotSourceIps { get; init; } = [];
    public ImmutableArray<IPNetwork> DestinationIps { get; init; } = [];
    public ImmutableArray<IPNetwork> NotDestinationIps { get; init; } = [];
    public ImmutableArray<ushort> DestinationPorts { get; init; } = [];
    public ImmutableArray<ushort> NotDestinationPorts { get; init; } = [];
    public ImmutableArray<ServiceAccountMatch> ServiceAccounts { get; init; } = [];
    public ImmutableArray<ServiceAccountMatch> NotServiceAccounts { get; init; } = [];

    public bool IsEmpty =>
        Namespaces.IsEmpty && NotNamespaces.IsEmpty && Principals.IsEmpty && NotPrincipals.IsEmpty && SourceIps.IsEmpty && NotSourceIps.IsEmpty &&
        DestinationIps.IsEmpty && NotDestinationIps.IsEmpty && DestinationPorts.IsEmpty && NotDestinationPorts.IsEmpty &&
        ServiceAccounts.IsEmpty && NotServiceAccounts.IsEmpty;

    internal bool Matches(in ConnectionFacts facts)
    {
        if (IsEmpty) return false;
        var peer = facts.Peer;
        return Holds(Namespaces, NotNamespaces, peer?.Namespace ?? "")
            && Holds(Principals, NotPrincipals, facts.Principal)
            && Holds(SourceIps, NotSourceIps, facts.Source)
            && Holds(DestinationIps, NotDestinationIps, facts.Destination.Address)
            && Holds(DestinationPorts, NotDestinationPorts, (ushort)facts.Destination.Port)
            && (ServiceAccounts.IsEmpty || Any(ServiceAccounts, peer)) && !Any(NotServiceAccounts, peer);
    }

    // Loops and no delegates: judging a connection allocates nothing.

    private static bool Holds(ImmutableArray<StringMatch> any, ImmutableArray<StringMatch> none, string? value) =>
        (any.IsEmpty || Any(any, value)) && !Any(none, value);

    private static bool Holds(ImmutableArray<IPNetwork> any, ImmutableArray<IPNetwork> none, IPAddress address) =>
        (any.IsEmpty || Any(any, address)) && !Any(none, address);

    private static bool Holds(ImmutableArray<ushort> any, ImmutableArray<ushort> none, ushort port) =>
        (any.IsEmpty || any.Contains(port)) && !none.Contains(port);

    private static bool Any(ImmutableArray<StringMatch> matches, string? value)
    {
        if (value is null) return false;
        foreach (var match in matches)
            if (match.Matches(value)) return true;
        return false;
    }

    private static bool Any(ImmutableArray<IPNetwork> networks, IPAddress address)
    {
        foreach (var network in networks)
            if (network.Contains(address)) return true;
        return false;
    }

    private static bool Any(ImmutableArray<ServiceAccountMatch> accounts, SpiffeId? peer)
    {
        if (peer is not { } id) return false;
        foreach (var account in accounts)
            if (account.Namespace == id.Namespace && account.ServiceAccount == id.ServiceAccount) return true;
        return false;
    }
}

/// <summary>A service account in a namespace; the trust domain is not compared.</summary>
public readonly record struct ServiceAccountMatch(string Namespace, string ServiceAccount);

/// <summary>How a string is compared. Exactly one case holds.</summary>
public abstract record StringMatch
{
    private StringMatch() { }

    public abstract bool Matches(string value);

    public sealed record Exact(string Value) : StringMatch
    {
        public override bool Matches(string value) => value == Value;
    }

    public sealed record Prefix(string Value) : StringMatch
    {
        public override bool Matches(string value) => value.StartsWith(Value, StringComparison.Ordinal);
    }

    public sealed record Suffix(string Value) : StringMatch
    {
        public override bool Matches(string value) => value.EndsWith(Value, StringComparison.Ordinal);
    }

    /// <summary>Any value that is not empty.</summary>
    public sealed record Presence : StringMatch
    {
        public override bool Matches(string value) => value.Length > 0;
    }
}
