using System.Globalization;
using System.Text.Json.Nodes;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation.Policy;

/// <summary>Reads the fields of a policy held as JSON. What has the wrong shape is a <see cref="FormatException"/> naming the field; an absent field is null or empty.</summary>
internal static class PolicyObject
{
    private const string DryRunAnnotation = "istio.io/dry-run";

    public static JsonObject SpecOf(JsonObject policy) => Member(policy, "spec") ?? [];

    /// <summary>Empty where there is none.</summary>
    public static string UidOf(JsonObject o) => TextOf((o["metadata"] as JsonObject)?["uid"]) ?? "";

    public static long GenerationOf(JsonObject policy) => NumberOf((policy["metadata"] as JsonObject)?["generation"]);

    /// <summary>When the object was made; an object without the time counts as the newest.</summary>
    public static DateTimeOffset CreatedOf(JsonObject policy) =>
        DateTimeOffset.TryParse(TextOf((policy["metadata"] as JsonObject)?["creationTimestamp"]), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) ? time : DateTimeOffset.MaxValue;

    public static bool IsDryRun(JsonObject policy) =>
        TextOf(((policy["metadata"] as JsonObject)?["annotations"] as JsonObject)?[DryRunAnnotation]) is { } value && value.Equals("true", StringComparison.OrdinalIgnoreCase);

    /// <summary>The labels under <c>selector.matchLabels</c>; none selects everything in reach.</summary>
    public static WorkloadSelector SelectorOf(JsonObject spec)
    {
        var labels = Member(Member(spec, "selector") ?? [], "matchLabels") ?? [];
        return new WorkloadSelector(labels.ToDictionary(l => l.Key, l => TextOf(l.Value) ?? throw new FormatException($"spec.selector.matchLabels.{l.Key} is not a string."), StringComparer.Ordinal));
    }

    /// <summary>An object, or null when absent.</summary>
    public static JsonObject? Member(JsonObject of, string field) => of[field] switch
    {
        null => null,
        JsonObject found => found,
        _ => throw new FormatException($"{field} is not an object."),
    };

    /// <summary>A list of objects; none when absent.</summary>
    public static IReadOnlyList<JsonObject> List(JsonObject of, string field) => of[field] switch
    {
        null => [],
        JsonArray list => [.. list.Select(item => item as JsonObject ?? throw new FormatException($"{field} has an entry that is not an object."))],
        _ => throw new FormatException($"{field} is not a list."),
    };

    /// <summary>A list of strings that are not empty; none when absent.</summary>
    public static IReadOnlyList<string> Strings(JsonNode? list, string field) => list switch
    {
        null => [],
        JsonArray items => [.. items.Select(item => TextOf(item) is { Length: > 0 } text ? text : throw new FormatException($"{field} has the value {item?.ToJsonString() ?? "null"}, which is not a text."))],
        _ => throw new FormatException($"{field} is not a list."),
    };

    /// <summary>Null when it is not a string.</summary>
    public static string? TextOf(JsonNode? node) => node is JsonValue value && value.TryGetValue<string>(out var text) ? text : null;

    /// <summary>A whole number, also one written as text; 0 when it is none.</summary>
    public static long NumberOf(JsonNode? node) =>
        node is JsonValue value && long.TryParse(value.ToString(), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : 0;
}

/// <summary>Which version of an object held as JSON it is: see <see cref="SameVersion{T}"/>.</summary>
internal sealed class SamePolicyVersion : IEqualityComparer<JsonObject>
{
    public static SamePolicyVersion Instance { get; } = new();

    public bool Equals(JsonObject? x, JsonObject? y) =>
        ReferenceEquals(x, y)
        || (x is not null && y is not null && GenericObjects.VersionOf(x) is { Length: > 0 } version && version == GenericObjects.VersionOf(y) && PolicyObject.UidOf(x) == PolicyObject.UidOf(y));

    public int GetHashCode(JsonObject obj) => GenericObjects.KeyOf(obj).GetHashCode();
}
