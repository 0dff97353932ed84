using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using AmbientMesh.Model.Authorization;
using Wire = AmbientMesh.Protocol.Security;

namespace AmbientMesh.Model.Decoding;

/// <summary>Turns wire policies into parsed ones; a policy that would be read differently than it was meant is refused with a reason.</summary>
public static class PolicyDecoding
{
    /// <summary>Parses a policy; on failure <paramref name="reason"/> is what the control plane is told.</summary>
    public static bool TryDecode(Wire.Authorization wire, [NotNullWhen(true)] out AuthorizationPolicy? policy, [NotNullWhen(false)] out string? reason)
    {
        try
        {
            policy = Decode(wire);
            reason = null;
            return true;
        }
        catch (UnusableResourceException e)
        {
            (policy, reason) = (null, e.Message);
            return false;
        }
    }

    private static AuthorizationPolicy Decode(Wire.Authorization wire) => new()
    {
        Key = new PolicyName(wire.Namespace, wire.Name),
        Scope = (PolicyScope)WireValues.Known(wire.Scope),
        Action = (PolicyAction)WireValues.Known(wire.Action),
        IsDryRun = wire.DryRun,
        Rules = [.. wire.Rules.Select(rule => new PolicyRule([.. rule.Clauses.Select(clause => new PolicyClause([.. clause.Matches.Select(Decode)]))]))],
    };

    private static PolicyMatch Decode(Wire.Match wire) => new()
    {
        Namespaces = Strings(wire.Namespaces),
        NotNamespaces = Strings(wire.NotNamespaces),
        Principals = Strings(wire.Principals),
        NotPrincipals = Strings(wire.NotPrincipals),
        SourceIps = Ranges(wire.SourceIps),
        NotSourceIps = Ranges(wire.NotSourceIps),
        DestinationIps = Ranges(wire.DestinationIps),
        NotDestinationIps = Ranges(wire.NotDestinationIps),
        DestinationPorts = [.. wire.DestinationPorts.Select(WireValues.Port)],
        NotDestinationPorts = [.. wire.NotDestinationPorts.Select(WireValues.Port)],
        ServiceAccounts = Accounts(wire.ServiceAccounts),
        NotServiceAccounts = Accounts(wire.NotServiceAccounts),
    };

    private static ImmutableArray<IPNetwork> Ranges(IEnumerable<Wire.Address> ranges) =>
        [.. ranges.Select(range => WireValues.Range(WireValues.Address(range.Address_), range.Length))];

    private static ImmutableArray<ServiceAccountMatch> Accounts(IEnumerable<Wire.ServiceAccountMatch> accounts) =>
        [.. accounts.Select(account => new ServiceAccountMatch(account.Namespace, account.ServiceAccount))];

    private static ImmutableArray<StringMatch> Strings(IEnumerable<Wire.StringMatch> matches) => [.. matches.Select(match => match.MatchTypeCase switch
    {
        Wire.StringMatch.MatchTypeOneofCase.Exact => (StringMatch)new StringMatch.Exact(match.Exact),
        Wire.StringMatch.MatchTypeOneofCase.Prefix => new StringMatch.Prefix(match.Prefix),
        Wire.StringMatch.MatchTypeOneofCase.Suffix => new StringMatch.Suffix(match.Suffix),
        Wire.StringMatch.MatchTypeOneofCase.Presence => new StringMatch.Presence(),
        _ => throw new UnusableResourceException("unknown string match"),
    })];
}
