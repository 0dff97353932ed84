using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.ControlPlane.Translation.Entries;
using AmbientMesh.ControlPlane.Translation.Waypoints;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation.Policy;

/// <summary>Whether there is a waypoint before the objects a policy is attached to, as the condition <c>WaypointAccepted</c> says it (l7 reference 3.5).</summary>
/// <remarks>Belongs to the thread of its graph.</remarks>
internal sealed class WaypointPolicyJudgement(MeshScope scope, Collection<ObjectKey, Service> services, EntryCollections entries, WaypointCollections waypoints)
{
    /// <summary>Of GatewayClasses whose Gateways are waypoints.</summary>
    private const string WaypointController = "istio.io/mesh-controller";
    private const string OwnDuty = "It is the waypoint's to enforce; this control plane configures no waypoints yet.";

    /// <param name="policy">With targets.</param>
    public PolicyVerdict Judge(FetchContext context, JsonObject policy)
    {
        try
        {
            return Judge(context, GenericObjects.KeyOf(policy).Namespace, PolicyTarget.Of(PolicyObject.SpecOf(policy)));
        }
        catch (FormatException problem)
        {
            return Refused("Invalid", $"What the policy is attached to cannot be read: {problem.Message} Nobody enforces it.");
        }
    }

    private PolicyVerdict Judge(FetchContext context, string policyNamespace, IReadOnlyList<PolicyTarget> targets)
    {
        var judged = targets.Select(target => (Target: target, Verdict: Judge(context, policyNamespace, target))).ToList();
        if (judged is [var only]) return only.Verdict;
        var unbound = judged.Where(j => !j.Verdict.IsAccepted).Select(j => j.Target.In(policyNamespace)).ToList();
        var invalid = $"Invalid targetRefs: {string.Join(", ", unbound)}";
        return (judged.Count - unbound.Count, unbound.Count) switch
        {
            (_, 0) => Accepted($"bound to {string.Join(", ", targets.Select(t => t.In(policyNamespace)))}"),
            (0, _) => Refused("Invalid", invalid),
            _ => PolicyVerdict.AtWaypoint(isAccepted: true, "PartiallyInvalid", $"{invalid}. {OwnDuty}"),
        };
    }

    private PolicyVerdict Judge(FetchContext context, string policyNamespace, PolicyTarget target)
    {
        var key = target.KeyIn(policyNamespace);
        return target.Kind switch
        {
            _ when key.Namespace != policyNamespace => Refused("Invalid", $"{target.In(policyNamespace)} is in another namespace than the policy."),
            "GatewayClass" => OfClass(context, policyNamespace, target.Name),
            "Gateway" => context.Get(waypoints.All, key) is not null ? Accepted($"bound to {key}") : NotFound($"Gateway {key}", " or has no address"),
            "Service" => context.Get(services, key) is { } service ? Of(waypoints.ForService(context, service.Metadata, staysInNamespace: false), $"Service {key}") : NotFound($"Service {key}"),
            "ServiceEntry" => context.Get(entries.ServiceEntries, key) is { } entry
                ? Of(waypoints.ForService(context, entry.Metadata, entries.VisibilityOf(context, entry.Namespace) == EntryVisibility.Namespace), $"ServiceEntry {key}")
                : NotFound($"ServiceEntry {key}"),
            _ => Refused("Invalid", $"A policy cannot be attached to a {target.Kind}; expected Service, ServiceEntry, Gateway or GatewayClass."),
        };
    }

    private PolicyVerdict OfClass(FetchContext context, string policyNamespace, string name)
    {
        if (policyNamespace != scope.RootNamespace) return Refused("Invalid", $"A policy for a GatewayClass must be in the root namespace {scope.RootNamespace}.");
        if (context.Get(waypoints.GatewayClasses, new ObjectKey("", name)) is not { } found) return NotFound($"GatewayClass {name}");
        return found.Spec.ControllerName == WaypointController ? Accepted($"bound to {name}") : Refused("Invalid", $"GatewayClass {name} is not of waypoints: its controller must be {WaypointController}.");
    }

    private static PolicyVerdict Of(WaypointChoice choice, string target) => choice switch
    {
        WaypointChoice.Bound bound => Accepted($"bound to {bound.Waypoint}"),
        WaypointChoice.Refused refused => Refused("AncestorNotBound", $"{target} is not bound to a waypoint: {refused.Message}"),
        _ => Refused("AncestorNotBound", $"{target} is not bound to a waypoint, so nobody enforces the policy; label it istio.io/use-waypoint."),
    };

    private static PolicyVerdict Accepted(string to) => PolicyVerdict.AtWaypoint(isAccepted: true, "Accepted", $"{to}. {OwnDuty}");
    private static PolicyVerdict NotFound(string target, string or = "") => Refused("TargetNotFound", $"{target} was not found{or}: nobody enforces the policy.");
    private static PolicyVerdict Refused(string reason, string message) => PolicyVerdict.AtWaypoint(isAccepted: false, reason, message);
}
