using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Kubernetes;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation.Policy;

/// <summary>What became of a policy object, as its status condition <see cref="ConditionType"/> says it.</summary>
/// <param name="IsAccepted">Whoever is to enforce it can, at least in part.</param>
/// <param name="Reason">One CamelCase word.</param>
/// <param name="Message">For whoever wrote the object.</param>
public sealed record PolicyVerdict(bool IsAccepted, string Reason, string Message)
{
    /// <summary>Of policies that are ztunnel's to enforce.</summary>
    public const string AtZtunnelType = "ZtunnelAccepted";

    /// <summary>Of policies attached to objects, which are a waypoint's.</summary>
    public const string AtWaypointType = "WaypointAccepted";

    public static PolicyVerdict Enforced { get; } = new(true, "Accepted", "Enforced by ztunnel.");

    /// <summary>Type of the condition.</summary>
    public string ConditionType { get; private init; } = AtZtunnelType;

    /// <summary>Sent, but not all of it as written; the notes say what became of the rest.</summary>
    public static PolicyVerdict Of(IReadOnlyCollection<string> notes) =>
        notes.Count == 0 ? Enforced : new PolicyVerdict(true, "UnsupportedValue", string.Join(" ", notes.Distinct()));

    public static PolicyVerdict NotSent(string reason, string message) => new(false, reason, message);

    /// <summary>Not ztunnel's: accepted when a waypoint is bound to it.</summary>
    public static PolicyVerdict AtWaypoint(bool isAccepted, string reason, string message) => new(isAccepted, reason, message) { ConditionType = AtWaypointType };

    /// <summary>Closed set for metrics: <c>accepted</c>, <c>partial</c> or <c>refused</c>.</summary>
    public string Outcome => !IsAccepted ? "refused" : Reason == Enforced.Reason ? "accepted" : "partial";
}

/// <summary>A verdict on one version of an object, and what the object's status says so far.</summary>
/// <param name="Generation">Of the object's spec.</param>
/// <param name="AtZtunnel">The condition of that type the object carries, or null.</param>
/// <param name="AtWaypoint">The condition of that type, which AuthorizationPolicies may carry; or null.</param>
public sealed record PolicyReport(ResourceType Type, ObjectKey Key, long Generation, PolicyVerdict Verdict, StatusCondition? AtZtunnel, StatusCondition? AtWaypoint)
{
    /// <inheritdoc cref="StatusReport.Uid"/>
    public string Uid { get; private init; } = "";

    // Under which the conditions are written (l7 reference 3.5).
    private const string ZtunnelManager = "istio-ambient-ztunnel-policy";
    private const string WaypointManager = "istio-ambient-waypoint-policy";

    /// <summary>The verdict as the object is to say it; a condition of the other type, from before it was attached or detached, is taken back.</summary>
    public StatusReport ToStatus() => new(
        Type, Key, Generation, Verdict.ConditionType == PolicyVerdict.AtWaypointType ? WaypointManager : ZtunnelManager,
        [new StatusCondition(Verdict.ConditionType, Verdict.IsAccepted ? "True" : "False", Verdict.Reason, Verdict.Message, Generation)],
        [.. new[] { AtWaypoint, AtZtunnel }.OfType<StatusCondition>()])
    {
        Uid = Uid,
    };

    public static PolicyReport Of(ResourceType type, JsonObject policy, PolicyVerdict verdict) => new(
        type, GenericObjects.KeyOf(policy), PolicyObject.GenerationOf(policy), verdict,
        ConditionOn(policy, PolicyVerdict.AtZtunnelType), type == PolicyKinds.AuthorizationPolicy ? ConditionOn(policy, PolicyVerdict.AtWaypointType) : null)
    {
        Uid = PolicyObject.UidOf(policy),
    };

    private static StatusCondition? ConditionOn(JsonObject policy, string type)
    {
        var conditions = (policy["status"] as JsonObject)?["conditions"] as JsonArray;
        var found = conditions?.OfType<JsonObject>().FirstOrDefault(c => PolicyObject.TextOf(c["type"]) == type);
        return found is null ? null : new StatusCondition(
            type, PolicyObject.TextOf(found["status"]) ?? "", PolicyObject.TextOf(found["reason"]) ?? "", PolicyObject.TextOf(found["message"]) ?? "", PolicyObject.NumberOf(found["observedGeneration"]));
    }
}
