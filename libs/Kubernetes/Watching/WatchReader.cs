using System.Net;
using System.Text.Json;

namespace AmbientMesh.Kubernetes;

/// <summary>Reads one event of a watch stream. Pure.</summary>
internal static class WatchReader
{
    private const string InitialEventsEnd = "k8s.io/initial-events-end";

    /// <summary>Reads one line.</summary>
    /// <param name="what">The request, for messages.</param>
    /// <exception cref="KubernetesException">An ERROR event, as what its Status says; or a line that is no event.</exception>
    public static WatchEvent<T> Read<T>(ReadOnlySpan<byte> line, ObjectKind<T> kind, string what) where T : class
    {
        var reader = new Utf8JsonReader(line, new JsonReaderOptions { MaxDepth = KubernetesJson.MaxDepth });
        try
        {
            using var json = JsonDocument.ParseValue(ref reader);
            var type = json.RootElement.GetProperty("type").GetString();
            var o = json.RootElement.GetProperty("object");
            return type switch
            {
                "ADDED" or "MODIFIED" or "DELETED" => Change(type, o, kind),
                "BOOKMARK" => new WatchEvent<T>.Bookmark(ObjectReading.VersionIn(o), EndsInitialEvents(o)),
                "ERROR" => throw ErrorAnswers.FromStatus(what, o.Deserialize(KubernetesJson.Of<Status>()) ?? new Status()),
                _ => throw new JsonException($"an event of type '{type}'"),
            };
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            throw new KubernetesUnavailableException($"{what}: the watch sent what is no event: {e.Message}", HttpStatusCode.OK, new Status(), null, e);
        }
    }

    private static WatchEvent<T> Change<T>(string type, JsonElement o, ObjectKind<T> kind) where T : class
    {
        if (!ObjectReading.TryRead(o, kind, out var read, out var unreadable))
            return new WatchEvent<T>.Unreadable(unreadable, ObjectReading.VersionIn(o));
        return type == "DELETED" ? new WatchEvent<T>.Gone(read) : new WatchEvent<T>.Present(read, type == "ADDED");
    }

    private static bool EndsInitialEvents(JsonElement o) =>
        o.TryGetProperty("metadata", out var meta) && meta.TryGetProperty("annotations", out var annotations)
        && annotations.ValueKind == JsonValueKind.Object && annotations.TryGetProperty(InitialEventsEnd, out var value) && value.GetString() == "true";
}
