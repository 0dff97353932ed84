using System.Collections.Immutable;

namespace AmbientMesh.Model.Authorization;

/// <summary>Whether a connection may reach a workload, and which policy said so.</summary>
public abstract record AuthorizationVerdict
{
    private AuthorizationVerdict() { }

    /// <summary>Allowed by <paramref name="Policy"/>; null when no ALLOW policy applies.</summary>
    public sealed record Allowed(PolicyName? Policy) : AuthorizationVerdict;

    /// <summary>A DENY policy matched.</summary>
    public sealed record DeniedBy(PolicyName Policy) : AuthorizationVerdict
    {
        public override string ToString() => $"explicitly denied by: {Policy}";
    }

    /// <summary>ALLOW policies apply and none matched.</summary>
    public sealed record NotAllowed : AuthorizationVerdict
    {
        public override string ToString() => "allow policies exist, but none allowed";
    }
}

/// <summary>The policies in force for one workload.</summary>
/// <param name="Enforced">In no particular order.</param>
/// <param name="DryRun">Judged for the log only.</param>
/// <param name="Missing">Names the workload lists and the mesh does not hold; skipped, and worth a warning.</param>
public sealed record EffectivePolicies(ImmutableArray<AuthorizationPolicy> Enforced, ImmutableArray<AuthorizationPolicy> DryRun, ImmutableArray<PolicyName> Missing);

/// <summary>A policy the verdict looked at.</summary>
/// <param name="MatchingRule">The position of the rule that matches the connection; -1 when none does.</param>
public sealed record JudgedPolicy(AuthorizationPolicy Policy, int MatchingRule);

/// <summary>Evaluates the policies of a destination workload (L4 reference §5.3). Pure.</summary>
public static class Authorizer
{
    /// <summary>Namespace policies of the workload's namespace, global ones, and those it lists by name.</summary>
    public static EffectivePolicies PoliciesOf(MeshSnapshot mesh, Workload destination)
    {
        var enforced = ImmutableArray.CreateBuilder<AuthorizationPolicy>();
        var dryRun = ImmutableArray.CreateBuilder<AuthorizationPolicy>();
        var missing = ImmutableArray.CreateBuilder<PolicyName>();
        foreach (var policy in mesh.NamespacePolicies(destination.Namespace)) (policy.IsDryRun ? dryRun : enforced).Add(policy);
        foreach (var policy in mesh.GlobalPolicies) (policy.IsDryRun ? dryRun : enforced).Add(policy);
        foreach (var name in destination.Policies)
        {
            if (mesh.FindPolicy(name) is { } policy) (policy.IsDryRun ? dryRun : enforced).Add(policy);
            else missing.Add(name);
        }
        return new EffectivePolicies(enforced.ToImmutable(), dryRun.ToImmutable(), missing.ToImmutable());
    }

    /// <summary>DENY goes first; without ALLOW policies all is allowed; with them one must match.</summary>
    /// <param name="judged">Told of every policy looked at until the verdict was clear; null, as for traffic, costs nothing.</param>
    public static AuthorizationVerdict Decide(EffectivePolicies policies, in ConnectionFacts facts, List<JudgedPolicy>? judged = null)
    {
        var anyAllow = false;
        foreach (var policy in policies.Enforced)
        {
            if (policy.Action == PolicyAction.Allow) anyAllow = true;
            else if (Matches(policy, facts, judged)) return new AuthorizationVerdict.DeniedBy(policy.Key);
        }
        if (!anyAllow) return new AuthorizationVerdict.Allowed(null);
        foreach (var policy in policies.Enforced)
            if (policy.Action == PolicyAction.Allow && Matches(policy, facts, judged)) return new AuthorizationVerdict.Allowed(policy.Key);
        return new AuthorizationVerdict.NotAllowed();
    }

    private static bool Matches(AuthorizationPolicy policy, in ConnectionFacts facts, List<JudgedPolicy>? judged)
    {
        var rule = policy.MatchingRule(facts);
        judged?.Add(new JudgedPolicy(policy, rule));
        return rule >= 0;
    }

    public static AuthorizationVerdict Decide(MeshSnapshot mesh, Workload destination, in ConnectionFacts facts) =>
        Decide(PoliciesOf(mesh, destination), facts);
}
