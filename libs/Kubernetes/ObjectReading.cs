using System.Diagnostics.CodeAnalysis;
using System.Text.Json;

namespace AmbientMesh.Kubernetes;

/// <summary>Reads one object, or says which object could not be read and why. Pure.</summary>
internal static class ObjectReading
{
    public static bool TryRead<T>(
        JsonElement json, ObjectKind<T> kind, [NotNullWhen(true)] out T? read, [NotNullWhen(false)] out UnreadableObject? unreadable) where T : class
    {
        read = null;
        unreadable = null;
        try
        {
            read = json.Deserialize(kind.Json);
            if (read is not null && kind.KeyOf(read).Name.Length > 0) return true;
            read = null;
            unreadable = new UnreadableObject(KeyIn(json), "it has no name");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            unreadable = new UnreadableObject(KeyIn(json), e.Message);
        }
        return false;
    }

    public static string VersionIn(JsonElement json) => Text(json, "resourceVersion");

    private static ObjectKey KeyIn(JsonElement json) => new(Text(json, "namespace"), Text(json, "name"));

    private static string Text(JsonElement json, string field) =>
        json.ValueKind == JsonValueKind.Object && json.TryGetProperty("metadata", out var meta) && meta.ValueKind == JsonValueKind.Object
        && meta.TryGetProperty(field, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString()! : "";
}
