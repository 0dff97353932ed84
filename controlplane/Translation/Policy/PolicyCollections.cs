using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.ControlPlane.Kubernetes;
using AmbientMesh.Kubernetes;
using AmbientMesh.Protocol.Security;

namespace AmbientMesh.ControlPlane.Translation.Policy;

/// <summary>From AuthorizationPolicies and PeerAuthentications to what ztunnel enforces, what each workload names, and what each object's author is told.</summary>
/// <remarks>Belongs to the thread of its graph.</remarks>
public sealed class PolicyCollections
{
    private readonly MeshScope _scope;
    private readonly WaypointPolicyJudgement _atWaypoints;
    private readonly DerivedCollection<ObjectKey, JsonObject, ObjectKey, PeerAuthenticationRule> _peerRules;
    private readonly DerivedCollection<ObjectKey, JsonObject, ObjectKey, TranslatedPolicy> _policies;
    private readonly Index<PolicyTerm, ObjectKey, TranslatedPolicy> _policiesByTerm;
    private readonly Index<PolicyTerm, ObjectKey, PeerAuthenticationRule> _peerRulesByTerm;
    private readonly Index<string, ObjectKey, PeerAuthenticationRule> _wideByNamespace;

    /// <param name="atWaypoints">Judges policies that are attached to objects.</param>
    internal PolicyCollections(CollectionGraph graph, MeshScope scope, WaypointPolicyJudgement atWaypoints)
    {
        (_scope, _atWaypoints) = (scope, atWaypoints);
        AuthorizationPolicies = new(graph, PolicyKinds.AuthorizationPolicy.Plural, SamePolicyVersion.Instance);
        PeerAuthentications = new(graph, PolicyKinds.PeerAuthentication.Plural, SamePolicyVersion.Instance);

        _policies = AuthorizationPolicies.Map("translated policies", GenericObjects.KeyOf, (_, policy) => AuthorizationTranslation.Translate(scope, policy), otherwise: policy => ClosedPolicy.Of(scope, policy));
        _policiesByTerm = _policies.IndexBy("by selector", p => p.Message is null ? [] : TermsOf(p.Selector, p.Key.Namespace == scope.RootNamespace ? "" : p.Key.Namespace));
        _peerRules = PeerAuthentications.Map("peer authentication rules", GenericObjects.KeyOf, (_, policy) => PeerAuthenticationRule.Of(policy), otherwise: PeerAuthenticationRule.Closed);
        _peerRulesByTerm = _peerRules.IndexBy("by selector", rule => TermsOf(rule.Selector, rule.Key.Namespace));
        _wideByNamespace = _peerRules.IndexBy("without selector", rule => rule.Selector.IsEmpty ? new[] { rule.Key.Namespace } : []);

        var written = _policies.MapMany("written authorizations", (Authorization a) => NameOf(a), (_, policy) => policy.Message is { } message ? [message] : []);
        var converted = _peerRules.MapMany("converted authorizations", (Authorization a) => NameOf(a), Converted);
        Authorizations = new UnionCollection<string, Authorization>(graph, "authorizations", [written, converted]);

        AuthorizationPolicyReports = AuthorizationPolicies.Map("authorization policy reports", GenericObjects.KeyOf, ReportOnPolicy);
        PeerAuthenticationReports = PeerAuthentications.Map("peer authentication reports", GenericObjects.KeyOf, ReportOnPeerRule);
    }

    public SourceCollection<ObjectKey, JsonObject> AuthorizationPolicies { get; }
    public SourceCollection<ObjectKey, JsonObject> PeerAuthentications { get; }

    /// <summary>Everything of type <c>istio.security.Authorization</c>, by <c>namespace/name</c>.</summary>
    public Collection<string, Authorization> Authorizations { get; }

    /// <summary>One for each AuthorizationPolicy.</summary>
    public Collection<ObjectKey, PolicyReport> AuthorizationPolicyReports { get; }

    /// <summary>One for each PeerAuthentication.</summary>
    public Collection<ObjectKey, PolicyReport> PeerAuthenticationReports { get; }

    /// <summary>The policies a workload names, beside those that reach it by their scope; in order.</summary>
    internal IEnumerable<string> NamedBy(FetchContext context, string ns, IReadOnlyDictionary<string, string> labels)
    {
        var selected = labels
            .SelectMany(label => new[] { new PolicyTerm(ns, label.Key, label.Value), new PolicyTerm("", label.Key, label.Value) })
            .SelectMany(term => context.Lookup(_policiesByTerm, term, policy => policy.Selector.Selects(labels)))
            .Select(policy => policy.ResourceName);
        var own = PeerAuthenticationRule.Oldest(labels.SelectMany(label => context.Lookup(_peerRulesByTerm, new PolicyTerm(ns, label.Key, label.Value), rule => rule.Selector.Selects(labels))));
        return selected.Concat(PeerAuthenticationConversion.NamedBy(_scope.RootNamespace, IsStrict(context, ns), own)).Order(StringComparer.Ordinal);
    }

    /// <summary>The objects that made a policy which is served: the written one; for a converted one the PeerAuthentications that ask for it, the first being the one it is named for.</summary>
    internal IReadOnlyList<ObjectOrigin> OriginsOf(string name)
    {
        if (name == PeerAuthenticationConversion.StaticStrictName(_scope.RootNamespace)) return OriginsOfStrictness();
        if (name.Split('/') is not [var ns, var policy]) return [];
        if (_policies.Find(new ObjectKey(ns, policy)) is { Origin: var written }) return [written];
        return PeerAuthenticationConversion.ConvertedFrom(ns, policy) is { } key && _peerRules.Find(key) is { } rule ? [rule.Origin, .. InheritedBy(rule)] : [];
    }

    private IReadOnlyList<ObjectOrigin> OriginsOfStrictness()
    {
        var all = _peerRules.Items.Select(i => i.Value).OrderBy(rule => rule.Key).ToList();
        var strict = all.Where(rule => rule.AsksForIdentity).ToList();
        return [.. (strict.Count > 0 ? strict : all).Select(rule => rule.Origin)];
    }

    // A mode that is not set comes from the namespace's object, else from the mesh's.
    private IEnumerable<ObjectOrigin> InheritedBy(PeerAuthenticationRule rule)
    {
        if (rule.Mode != MtlsMode.Unset) return [];
        var wide = PeerAuthenticationRule.Oldest(_wideByNamespace.Lookup(rule.Key.Namespace)) is { Mode: not MtlsMode.Unset } ns ? ns : PeerAuthenticationRule.Oldest(_wideByNamespace.Lookup(_scope.RootNamespace));
        return wide is null ? [] : [_peerRules.Find(wide.Key)!.Origin];
    }

    private bool IsStrict(FetchContext context, string ns) => PeerAuthenticationConversion.IsStrict(
        PeerAuthenticationRule.Oldest(context.Lookup(_wideByNamespace, _scope.RootNamespace)),
        ns == _scope.RootNamespace ? null : PeerAuthenticationRule.Oldest(context.Lookup(_wideByNamespace, ns)));

    // Each object brings the static policy along: it is there as soon as one of them is.
    private IEnumerable<Authorization> Converted(FetchContext context, PeerAuthenticationRule rule)
    {
        yield return PeerAuthenticationConversion.StaticStrictPolicy(_scope.RootNamespace);
        if (rule.Ports.Count > 0 && PeerAuthenticationConversion.Convert(_scope.RootNamespace, IsStrict(context, rule.Key.Namespace), rule) is { } converted) yield return converted;
    }

    private PolicyReport ReportOnPolicy(FetchContext context, JsonObject policy)
    {
        try
        {
            var translated = AuthorizationTranslation.Translate(_scope, policy);
            return PolicyReport.Of(PolicyKinds.AuthorizationPolicy, policy, translated.Verdict.ConditionType == PolicyVerdict.AtWaypointType ? _atWaypoints.Judge(context, policy) : translated.Verdict);
        }
        catch (FormatException problem)
        {
            return PolicyReport.Of(PolicyKinds.AuthorizationPolicy, policy, Invalid(problem));
        }
    }

    private PolicyReport ReportOnPeerRule(FetchContext context, JsonObject policy)
    {
        try
        {
            return PolicyReport.Of(PolicyKinds.PeerAuthentication, policy, VerdictOn(context, PeerAuthenticationRule.Of(policy)));
        }
        catch (FormatException problem)
        {
            return PolicyReport.Of(PolicyKinds.PeerAuthentication, policy, Invalid(problem));
        }
    }

    private PolicyVerdict VerdictOn(FetchContext context, PeerAuthenticationRule rule)
    {
        var rivals = rule.Selector.Term is { } term
            ? context.Lookup(_peerRulesByTerm, new PolicyTerm(rule.Key.Namespace, term.Key, term.Value), other => other.Selector.Equals(rule.Selector))
            : context.Lookup(_wideByNamespace, rule.Key.Namespace);
        if (PeerAuthenticationRule.Oldest(rivals) is { } oldest && oldest.Key != rule.Key)
            return PolicyVerdict.NotSent("Overruled", $"PeerAuthentication {oldest.Key} is older and counts {(rule.Selector.IsEmpty ? "for the whole namespace" : "for the same selector")}.");
        return rule.Ports.Count > 0 && rule.Key.Namespace == _scope.RootNamespace
            ? PolicyVerdict.Of([.. rule.Notes, "portLevelMtls is not enforced port by port in the root namespace: a STRICT port makes the whole workload strict."])
            : PolicyVerdict.Of(rule.Notes);
    }

    private static PolicyVerdict Invalid(FormatException problem) => PolicyVerdict.NotSent("Invalid", $"{problem.Message} Its last valid version stays in force; without one, everything it could be about is denied until it is corrected.");

    private static string NameOf(Authorization message) => $"{message.Namespace}/{message.Name}";

    private static IEnumerable<PolicyTerm> TermsOf(WorkloadSelector selector, string ns) => selector.Term is { } term ? [new PolicyTerm(ns, term.Key, term.Value)] : [];
}
