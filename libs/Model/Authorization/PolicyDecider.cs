namespace AmbientMesh.Model.Authorization;

/// <summary>Which object is to be named for a verdict. For the log and the admin page; never used to decide.</summary>
public static class PolicyDecider
{
    /// <summary>Policies named for "none allowed"; further ones are only counted.</summary>
    private const int NamedPolicies = 3;

    /// <summary>The DENY policy and its rule, or the ALLOW policies of which none matched; null for an admission.</summary>
    public static Decider? Of(EffectivePolicies policies, AuthorizationVerdict verdict, in ConnectionFacts facts) => verdict switch
    {
        AuthorizationVerdict.DeniedBy { Unreadable: not null } denied => Decider.Of(denied.Policy) with { Detail = "unreadable" },
        AuthorizationVerdict.DeniedBy denied => Decider.Of(denied.Policy, RuleOf(policies, denied.Policy, facts)),
        AuthorizationVerdict.NotAllowed => policies.NoneAllowing,
        _ => null,
    };

    private static int? RuleOf(EffectivePolicies policies, PolicyName name, in ConnectionFacts facts) =>
        policies.Find(name)?.MatchingRule(facts) is >= 0 and var rule ? rule : null;

    /// <summary>The ALLOW policies, where none of them matches.</summary>
    internal static Decider NoneOf(IEnumerable<AuthorizationPolicy> policies)
    {
        var allowing = policies.Where(policy => policy.Action == PolicyAction.Allow).ToArray();
        // A single one may stand for another kind of object.
        if (allowing is [var only]) return Decider.Of(only.Key);
        var names = string.Join(",", allowing.Take(NamedPolicies).Select(policy => policy.Key.ToString()));
        return new Decider("AuthorizationPolicy", names, allowing.Length > NamedPolicies ? $"and {allowing.Length - NamedPolicies} more" : null);
    }
}
