using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Runtime.CompilerServices;

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
        /// <summary>Why the policy cannot be read; null for one that was.</summary>
        public string? Unreadable { get; init; }

        public override string ToString() => Unreadable is null ? $"explicitly denied by: {Policy}" : $"explicitly denied by: {Policy}, which was received and cannot be read ({Unreadable})";
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
public sealed record EffectivePolicies(ImmutableArray<AuthorizationPolicy> Enforced, ImmutableArray<AuthorizationPolicy> DryRun, ImmutableArray<PolicyName> Missing)
{
    // Made by the first verdict. Two threads may both make one; they are the same.
    private PolicyIndex? _denying;
    private PolicyIndex? _allowing;
    private Dictionary<PolicyName, AuthorizationPolicy>? _byName;
    private Decider? _noneAllowing;

    /// <summary>The first of <see cref="Enforced"/>, shared by all workloads of a namespace with their index; null when there is none to share.</summary>
    internal EffectivePolicies? Shared { get; init; }
    internal bool HasAllowing { get; } = Enforced.Any(p => p.Action == PolicyAction.Allow);

    internal AuthorizationPolicy? FirstDenying(in ConnectionFacts facts) => Shared?.FirstDenying(facts) ?? (_denying ??= IndexOf(PolicyAction.Deny)).First(facts);
    internal AuthorizationPolicy? FirstAllowing(in ConnectionFacts facts) => Shared?.FirstAllowing(facts) ?? (_allowing ??= IndexOf(PolicyAction.Allow)).First(facts);

    /// <summary>An enforced policy by its name; null when there is none.</summary>
    internal AuthorizationPolicy? Find(PolicyName name) => Shared?.Find(name) ?? (_byName ??= Own.DistinctBy(p => p.Key).ToDictionary(p => p.Key)).GetValueOrDefault(name);

    /// <summary>What is named where ALLOW policies apply and none matches.</summary>
    internal Decider NoneAllowing => _noneAllowing ??= PolicyDecider.NoneOf(Enforced);

    private PolicyIndex IndexOf(PolicyAction action) => PolicyIndex.Of(Own.Where(p => p.Action == action));

    /// <summary>What is not in <see cref="Shared"/>.</summary>
    private IEnumerable<AuthorizationPolicy> Own => Enforced.Skip(Shared?.Enforced.Length ?? 0);
}

/// <summary>A policy the verdict looked at.</summary>
/// <param name="MatchingRule">The position of the rule that matches the connection; -1 when none does.</param>
public sealed record JudgedPolicy(AuthorizationPolicy Policy, int MatchingRule);

/// <summary>Evaluates the policies of a destination workload (L4 reference §5.3). Pure.</summary>
public static class Authorizer
{
    /// <summary>The last answer for each workload; holds while the policies do. A workload that is replaced takes its answer along.</summary>
    private static readonly ConditionalWeakTable<Workload, Known> KnownPolicies = [];

    private sealed record Known(object Policies, EffectivePolicies Effective);

    /// <summary>By the policies of a snapshot, and by namespace: what all its workloads have in common.</summary>
    private static readonly ConditionalWeakTable<object, ConcurrentDictionary<string, EffectivePolicies>> SharedPolicies = [];

    /// <summary>Namespace policies of the workload's namespace, global ones, and those it lists by name.</summary>
    public static EffectivePolicies PoliciesOf(MeshSnapshot mesh, Workload destination)
    {
        if (KnownPolicies.TryGetValue(destination, out var known) && ReferenceEquals(known.Policies, mesh.PoliciesByName)) return known.Effective;
        var effective = Gather(mesh, destination);
        KnownPolicies.AddOrUpdate(destination, new Known(mesh.PoliciesByName, effective));
        return effective;
    }

    private static EffectivePolicies Gather(MeshSnapshot mesh, Workload destination)
    {
        var shared = SharedPolicies.GetOrCreateValue(mesh.PoliciesByName).GetOrAdd(
            destination.Namespace, static (ns, mesh) => Sorted([.. mesh.NamespacePolicies(ns), .. mesh.GlobalPolicies], []), mesh);
        if (destination.Policies.IsEmpty) return shared;
        var own = Sorted([.. destination.Policies.Select(mesh.FindPolicy).OfType<AuthorizationPolicy>()], [.. destination.Policies.Where(name => mesh.FindPolicy(name) is null)]);
        return new EffectivePolicies(shared.Enforced.AddRange(own.Enforced), shared.DryRun.AddRange(own.DryRun), own.Missing) { Shared = shared };
    }

    private static EffectivePolicies Sorted(ImmutableArray<AuthorizationPolicy> policies, ImmutableArray<PolicyName> missing) =>
        new([.. policies.Where(p => !p.IsDryRun)], [.. policies.Where(p => p.IsDryRun)], missing);

    /// <summary>DENY goes first; without ALLOW policies all is allowed; with them one must match.</summary>
    /// <param name="judged">Told of every policy looked at until the verdict was clear; null, as for traffic, costs nothing.</param>
    public static AuthorizationVerdict Decide(EffectivePolicies policies, in ConnectionFacts facts, List<JudgedPolicy>? judged = null)
    {
        if (judged is not null) return DecideOneByOne(policies, facts, judged);
        if (policies.FirstDenying(facts) is { } denying) return new AuthorizationVerdict.DeniedBy(denying.Key) { Unreadable = denying.Unreadable };
        if (!policies.HasAllowing) return AnyoneAllowed;
        return policies.FirstAllowing(facts) is { } allowing ? new AuthorizationVerdict.Allowed(allowing.Key) : Nobody;
    }

    private static readonly AuthorizationVerdict AnyoneAllowed = new AuthorizationVerdict.Allowed(null);
    private static readonly AuthorizationVerdict Nobody = new AuthorizationVerdict.NotAllowed();

    /// <summary>The same verdict, looking at every policy in turn: what the index is measured against, and what tells what was looked at.</summary>
    internal static AuthorizationVerdict DecideOneByOne(EffectivePolicies policies, in ConnectionFacts facts, List<JudgedPolicy>? judged)
    {
        var anyAllow = false;
        foreach (var policy in policies.Enforced)
        {
            if (policy.Action == PolicyAction.Allow) anyAllow = true;
            else if (Matches(policy, facts, judged)) return new AuthorizationVerdict.DeniedBy(policy.Key) { Unreadable = policy.Unreadable };
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
