using System.Text.Json.Nodes;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation.Policy;

/// <summary>An object a policy is attached to, as the policy names it: such a policy is a waypoint's to enforce.</summary>
/// <param name="Group">Empty for the core group.</param>
/// <param name="Namespace">Empty when it is the policy's own.</param>
internal sealed record PolicyTarget(string Group, string Kind, string Namespace, string Name)
{
    /// <summary>How a message names it.</summary>
    public string In(string policyNamespace) => $"{Kind}.{(Group.Length > 0 ? Group : "core")}:{KeyIn(policyNamespace)}";

    public ObjectKey KeyIn(string policyNamespace) => new(Namespace.Length > 0 ? Namespace : policyNamespace, Name);

    /// <summary>Whether the policy is attached to objects at all, and so not ztunnel's.</summary>
    public static bool IsGivenIn(JsonObject spec) => spec["targetRef"] is not null || spec["targetRefs"] is not (null or JsonArray { Count: 0 });

    /// <summary>The entries of <c>targetRefs</c>, else <c>targetRef</c>.</summary>
    /// <exception cref="FormatException">One is not shaped as a reference.</exception>
    public static IReadOnlyList<PolicyTarget> Of(JsonObject spec)
    {
        var several = PolicyObject.List(spec, "targetRefs");
        return several.Count > 0 ? [.. several.Select(Read)] : PolicyObject.Member(spec, "targetRef") is { } one ? [Read(one)] : [];
    }

    private static PolicyTarget Read(JsonObject reference) => new(
        PolicyObject.TextOf(reference["group"]) ?? "", Required(reference, "kind"), PolicyObject.TextOf(reference["namespace"]) ?? "", Required(reference, "name"));

    private static string Required(JsonObject reference, string field) =>
        PolicyObject.TextOf(reference[field]) is { Length: > 0 } text ? text : throw new FormatException($"a target reference has no {field}.");
}
