using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Kubernetes;
using AmbientMesh.Kubernetes;
using AmbientMesh.Protocol.Security;
using Action = AmbientMesh.Protocol.Security.Action;

namespace AmbientMesh.ControlPlane.Translation.Policy;

/// <summary>What stands for an AuthorizationPolicy that cannot be read and never could: leaving it out would admit what it was to refuse. Pure; never throws.</summary>
/// <remarks>An ALLOW policy allows nothing; one that denies, or whose action cannot be read, denies everyone. Whom it is about is taken as widely as it can be meant.</remarks>
internal static class ClosedPolicy
{
    public static TranslatedPolicy Of(MeshScope scope, JsonObject policy)
    {
        var key = GenericObjects.KeyOf(policy);
        var spec = policy["spec"] as JsonObject ?? [];
        var selector = SelectorOf(spec);
        var allows = PolicyObject.TextOf(spec["action"]) is "ALLOW" or "" || spec["action"] is null;
        var message = new Authorization
        {
            Name = key.Name,
            Namespace = key.Namespace,
            Action = allows ? Action.Allow : Action.Deny,
            Scope = !selector.IsEmpty ? Scope.WorkloadSelector : key.Namespace == scope.RootNamespace ? Scope.Global : Scope.Namespace,
        };
        if (!allows) message.Rules.Add(new Rule());   // a rule without clauses always matches
        return new TranslatedPolicy(
            key, message, selector, PolicyVerdict.NotSent("Invalid", "The object cannot be read: everything it could be about is denied until it is corrected."), ObjectOrigin.Of(PolicyKinds.AuthorizationPolicy, policy));
    }

    private static WorkloadSelector SelectorOf(JsonObject spec)
    {
        try
        {
            return PolicyObject.SelectorOf(spec);
        }
        catch (FormatException)
        {
            return new WorkloadSelector(new Dictionary<string, string>());
        }
    }
}
