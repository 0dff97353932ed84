using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;

namespace AmbientMesh.Cli.Reaching;

/// <summary>Reads what parts answer, which may be of another version, another vendor, or not what they should be. A member that is missing, null or of another form than expected counts as absent.</summary>
internal static class AnswerJson
{
    private static readonly JsonDocumentOptions s_documents = new() { AllowDuplicateProperties = false };

    /// <summary>The whole answer, each text of it readable.</summary>
    /// <exception cref="JsonException">It is no JSON, is null, names a member twice or has text that is no Unicode.</exception>
    public static JsonNode Read(ReadOnlySpan<byte> answer)
    {
        try
        {
            var read = JsonNode.Parse(answer, documentOptions: s_documents) ?? throw new JsonException("it is null");
            _ = HasNull(read);   // the tree is made lazily, and would fail later
            return read;
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException)
        {
            throw new JsonException(e.Message, e);
        }
    }

    /// <summary>The answer as what it is to be; a member that is null counts as absent.</summary>
    /// <exception cref="JsonException">It is something else, or a list has null in it.</exception>
    public static T As<T>(JsonNode answer, JsonTypeInfo<T> type) where T : class
    {
        if (HasNull(answer)) RemoveNulls(answer = answer.DeepClone());
        return answer.Deserialize(type) ?? throw new JsonException("it is null");
    }

    /// <summary>A member of an object; null also of what is no object.</summary>
    public static JsonNode? Member(this JsonNode? node, string name) => (node as JsonObject)?[name];

    /// <summary>A text; null when there is none.</summary>
    public static string? Text(this JsonNode? node, string name) => Text(node.Member(name));

    /// <inheritdoc cref="Text(JsonNode?, string)"/>
    public static string? Text(JsonNode? node) => node is JsonValue value && value.TryGetValue<string>(out var text) ? text : null;

    /// <summary>A number that is whole; null when there is none.</summary>
    public static long? Number(this JsonNode? node, string name) => node.Member(name) is JsonValue value && value.TryGetValue<long>(out var number) ? number : null;

    /// <summary>Whether a member says yes.</summary>
    public static bool Flag(this JsonNode? node, string name) => node.Member(name) is JsonValue value && value.TryGetValue<bool>(out var flag) && flag;

    /// <summary>A time; null when there is none.</summary>
    public static DateTimeOffset? Time(this JsonNode? node, string name) =>
        DateTimeOffset.TryParse(node.Text(name), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) ? time : null;

    /// <summary>The items of a list; none when it is no list.</summary>
    public static IEnumerable<JsonNode?> Items(this JsonNode? node, string name) => node.Member(name) as JsonArray ?? [];

    /// <summary>The objects in a list.</summary>
    public static IEnumerable<JsonObject> Objects(this JsonNode? node, string name) => node.Items(name).OfType<JsonObject>();

    private static bool HasNull(JsonNode? node)
    {
        var found = node is null;
        if (node is JsonObject members) foreach (var (_, member) in members) found |= HasNull(member);
        else if (node is JsonArray items) foreach (var item in items) found |= HasNull(item);
        else if (node is JsonValue value && value.GetValueKind() == JsonValueKind.String) _ = value.GetValue<string>();
        return found;
    }

    private static void RemoveNulls(JsonNode node)
    {
        if (node is JsonObject members)
        {
            foreach (var name in members.Where(m => m.Value is null).Select(m => m.Key).ToList()) members.Remove(name);
            foreach (var (_, member) in members) RemoveNulls(member!);
        }
        else if (node is JsonArray items)
        {
            foreach (var item in items) RemoveNulls(item ?? throw new JsonException($"{items.GetPath()} has null in it"));
        }
    }
}
