using System.Collections.Immutable;
using System.Net;

namespace AmbientMesh.Model.Authorization;

/// <summary>One L4 policy as received (L4 reference §5). Immutable; compared by reference.</summary>
/// <remarks>The policy matches when any rule does; a rule when all its clauses do; a clause when any of its matches does.</remarks>
public sealed class AuthorizationPolicy
{
    public required PolicyName Key { get; init; }
    public PolicyScope Scope { get; init; }
    public PolicyAction Action { get; init; }

    /// <summary>Judged and logged, never enforced.</summary>
    public bool IsDryRun { get; init; }
    public ImmutableArray<PolicyRule> Rules { get; init; } = [];

    /// <summary>Why the policy that was received cannot be read: this one stands in its place and denies everything it may cover. Null for a policy that was read.</summary>
    public string? Unreadable { get; init; }

    /// <summary>What is enforced in place of a policy that was received and cannot be read, and of which no earlier good version is known.</summary>
    /// <param name="scope">Null when that cannot be read either: then it covers its namespace, and whoever lists it.</param>
    public static AuthorizationPolicy InPlaceOf(PolicyName name, PolicyScope? scope, string reason) => new()
    {
        Key = name,
        Scope = scope ?? PolicyScope.Namespace,
        Action = PolicyAction.Deny,
        Rules = [new PolicyRule([])],
        Unreadable = reason,
    };

    /// <summary>No rule: never matches (an ALLOW policy then denies everything by existing).</summary>
    public bool Matches(in ConnectionFacts facts) => MatchingRule(facts) >= 0;

    /// <summary>The position of the first rule that matches; -1 for none.</summary>
    public int MatchingRule(in ConnectionFacts facts)
    {
        for (var i = 0; i < Rules.Length; i++)
            if (Rules[i].FailingClause(facts) < 0) return i;
        return -1;
    }

    public override string ToString() => Key.ToString();
}

public enum PolicyScope { Global, Namespace, WorkloadSelector }

public enum PolicyAction { Allow, Deny }

/// <summary>All clauses hold; no clause: matches.</summary>
public sealed record PolicyRule(ImmutableArray<PolicyClause> Clauses)
{
    /// <summary>The position of the first clause that does not hold; -1 when the rule matches.</summary>
    public int FailingClause(in ConnectionFacts facts)
    {
        for (var i = 0; i < Clauses.Length; i++)
            if (!Clauses[i].Matches(facts)) return i;
        return -1;
    }
}

/// <summary>Any match suffices; no match at all: holds. A clause of empty matches only does not hold.</summary>
public sealed record PolicyClause(ImmutableArray<PolicyMatch> Alternatives)
{
    internal bool Matches(in ConnectionFacts facts)
    {
        if (Alternatives.IsEmpty) return true;
        foreach (var match in Alternatives)
            if (match.Matches(facts)) return true;
        return false;
    }
}

/// <summary>What a policy may ask about a connection.</summary>
/// <param name="Peer">The identity proven by mTLS; null for a plaintext connection.</param>
/// <param name="Source">The client's address.</param>
/// <param name="Destination">The pod's address and the real destination port, never 15008.</param>
public readonly record struct ConnectionFacts(SpiffeId? Peer, IPAddress Source, IPEndPoint Destination)
{
    /// <summary>The peer as policies write principals: without the scheme. Made once for all policies.</summary>
    internal string? Principal { get; } = Peer is { } id ? $"{id.TrustDomain}/ns/{id.Namespace}/sa/{id.ServiceAccount}" : null;
}
