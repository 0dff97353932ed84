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
        var principal = peer is { } id ? id.ToString()[SpiffeId.Scheme.Length..] : null;
        return Holds(Namespaces, NotNamespaces, m => m.Matches(peer?.Namespace ?? ""))
            && Holds(Principals, NotPrincipals, m => principal is not null && m.Matches(principal))
            && Holds(SourceIps, NotSourceIps, facts.Source)
            && Holds(DestinationIps, NotDestinationIps, facts.Destination.Address)
            && Holds(DestinationPorts, NotDestinationPorts, (ushort)facts.Destination.Port)
            && Holds(ServiceAccounts, NotServiceAccounts, m => peer is { } p && m.Namespace == p.Namespace && m.ServiceAccount == p.ServiceAccount);
    }

    private static bool Holds<T>(ImmutableArray<T> any, ImmutableArray<T> none, Func<T, bool> matches) =>
        (any.IsEmpty || any.Any(matches)) && !none.Any(matches);

    private static bool Holds(ImmutableArray<IPNetwork> any, ImmutableArray<IPNetwork> none, IPAddress address) =>
        Holds(any, none, network => network.Contains(address));

    private static bool Holds(ImmutableArray<ushort> any, ImmutableArray<ushort> none, ushort port) =>
        (any.IsEmpty || any.Contains(port)) && !none.Contains(port);
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
