using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Kubernetes;
using AmbientMesh.Kubernetes;
using AmbientMesh.Protocol.Security;
using Action = AmbientMesh.Protocol.Security.Action;

namespace AmbientMesh.ControlPlane.Translation.Policy;

/// <summary>An AuthorizationPolicy as ztunnel gets it. Equal by content.</summary>
/// <param name="Message">Null when it is not sent.</param>
/// <param name="Selector">Whose workloads name it; with an empty one the policy's scope finds them.</param>
/// <param name="Origin">The version of the object it follows from; not part of equality.</param>
internal sealed record TranslatedPolicy(ObjectKey Key, Authorization? Message, WorkloadSelector Selector, PolicyVerdict Verdict, ObjectOrigin Origin)
{
    public string ResourceName => Key.ToString();

    public bool Equals(TranslatedPolicy? other) =>
        other is not null && Key == other.Key && Equals(Message, other.Message) && Selector.Equals(other.Selector) && Verdict == other.Verdict;

    public override int GetHashCode() => Key.GetHashCode();
}

/// <summary>AuthorizationPolicy to <c>istio.security.Authorization</c> (reference 5.4). Pure.</summary>
internal static class AuthorizationTranslation
{
    /// <exception cref="FormatException">The object is not shaped as an AuthorizationPolicy; its last good version has to stay in force.</exception>
    public static TranslatedPolicy Translate(MeshScope scope, JsonObject policy)
    {
        var spec = PolicyObject.SpecOf(policy);
        var key = GenericObjects.KeyOf(policy);
        var selector = PolicyObject.SelectorOf(spec);
        var origin = ObjectOrigin.Of(PolicyKinds.AuthorizationPolicy, policy);
        if (WhyNotSent(scope, policy, spec) is { } refusal) return new TranslatedPolicy(key, null, selector, refusal, origin);

        List<string> notes = [];
        var action = ActionOf(spec) == "DENY" ? Action.Deny : Action.Allow;
        var message = new Authorization
        {
            Name = key.Name,
            Namespace = key.Namespace,
            Action = action,
            Scope = !selector.IsEmpty ? Scope.WorkloadSelector : key.Namespace == scope.RootNamespace ? Scope.Global : Scope.Namespace,
            DryRun = PolicyObject.IsDryRun(policy),
            Rules = { PolicyObject.List(spec, "rules").Select((rule, at) => Translated(at, rule)).OfType<Rule>() },
        };
        Rule? Translated(int at, JsonObject rule)
        {
            List<string> own = [];
            var translated = RuleTranslation.Translate(action, key.Namespace, rule, own, scope.IgnoresUnjudgedDenials);
            if (own.Count > 0) notes.Add($"rules[{at}]: {string.Join(" ", own)}");
            return translated;
        }

        if (message.DryRun) notes.Insert(0, "Dry run: judged and logged, not enforced.");
        return new TranslatedPolicy(key, message, selector, PolicyVerdict.Of(notes), origin);
    }

    // Who enforces it instead, if anyone, depends on other objects: WaypointPolicyJudgement.
    private static PolicyVerdict NotZtunnels { get; } = PolicyVerdict.AtWaypoint(isAccepted: false, "TargetsWaypoint", "Attached to objects: not ztunnel's to enforce.");

    private static PolicyVerdict? WhyNotSent(MeshScope scope, JsonObject policy, JsonObject spec)
    {
        if (PolicyTarget.IsGivenIn(spec)) return NotZtunnels;
        if (ActionOf(spec) is ("AUDIT" or "CUSTOM") and var action)
            return PolicyVerdict.NotSent("UnsupportedValue", $"ztunnel has no action {action}: the policy is not enforced.");
        if (PolicyObject.IsDryRun(policy) && !scope.SendsDryRunPolicies)
            return PolicyVerdict.NotSent("DryRun", "Dry-run policies are left out unless AMBIENT_ENABLE_DRY_RUN_AUTHORIZATION_POLICY is set.");
        return null;
    }

    private static string ActionOf(JsonObject spec) => spec["action"] is null ? "ALLOW" : PolicyObject.TextOf(spec["action"]) switch
    {
        "" => "ALLOW",
        ("ALLOW" or "DENY" or "AUDIT" or "CUSTOM") and var action => action,
        var other => throw new FormatException($"spec.action is '{other}'; expected ALLOW, DENY, AUDIT or CUSTOM."),
    };
}
