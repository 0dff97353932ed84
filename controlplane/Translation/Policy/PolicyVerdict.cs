using System.Text.Json.Nodes;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation.Policy;

/// <summary>What became of a policy object, as its status condition <see cref="ConditionType"/> says it.</summary>
/// <param name="IsSent">Ztunnels enforce it, at least in part.</param>
/// <param name="Reason">One CamelCase word.</param>
/// <param name="Message">For whoever wrote the object.</param>
public sealed record PolicyVerdict(bool IsSent, string Reason, string Message)
{
    public const string ConditionType = "ZtunnelAccepted";

    public static PolicyVerdict Enforced { get; } = new(true, "Accepted", "Enforced by ztunnel.");

    /// <summary>Sent, but not all of it as written; the notes say what became of the rest.</summary>
    public static PolicyVerdict Of(IReadOnlyCollection<string> notes) =>
        notes.Count == 0 ? Enforced : new PolicyVerdict(true, "UnsupportedValue", string.Join(" ", notes.Distinct()));

    public static PolicyVerdict NotSent(string reason, string message) => new(false, reason, message);

    /// <summary>Closed set for metrics: <c>accepted</c>, <c>partial</c> or <c>refused</c>.</summary>
    public string Outcome => !IsSent ? "refused" : Reason == Enforced.Reason ? "accepted" : "partial";
}

/// <summary>A verdict on one version of an object, and what the object's status says so far.</summary>
/// <param name="Generation">Of the object's spec.</param>
/// <param name="Present">The condition the object carries, or null.</param>
public sealed record PolicyReport(ResourceType Type, ObjectKey Key, long Generation, PolicyVerdict Verdict, PresentCondition? Present)
{
    /// <summary>Under which the condition is written (l7 reference 3.5).</summary>
    private const string Manager = "istio-ambient-ztunnel-policy";

    /// <summary>The verdict as the object is to say it.</summary>
    public StatusReport ToStatus() => new(
        Type, Key, Generation, Manager,
        [new StatusCondition(PolicyVerdict.ConditionType, Verdict.IsSent ? "True" : "False", Verdict.Reason, Verdict.Message, Generation)],
        Present is { } present ? [new StatusCondition(PolicyVerdict.ConditionType, present.Status, present.Reason, present.Message, present.ObservedGeneration)] : []);

    public static PolicyReport Of(ResourceType type, JsonObject policy, PolicyVerdict verdict) =>
        new(type, GenericObjects.KeyOf(policy), PolicyObject.GenerationOf(policy), verdict, PresentCondition.Of(policy));
}

/// <summary>The condition <see cref="PolicyVerdict.ConditionType"/> as an object carries it.</summary>
public sealed record PresentCondition(string Status, string Reason, string Message, long ObservedGeneration)
{
    public static PresentCondition? Of(JsonObject policy)
    {
        var conditions = (policy["status"] as JsonObject)?["conditions"] as JsonArray;
        var own = conditions?.OfType<JsonObject>().FirstOrDefault(c => PolicyObject.TextOf(c["type"]) == PolicyVerdict.ConditionType);
        return own is null ? null : new PresentCondition(
            PolicyObject.TextOf(own["status"]) ?? "", PolicyObject.TextOf(own["reason"]) ?? "", PolicyObject.TextOf(own["message"]) ?? "", PolicyObject.NumberOf(own["observedGeneration"]));
    }
}
