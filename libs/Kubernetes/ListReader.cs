using System.Net;
using System.Text.Json;

namespace AmbientMesh.Kubernetes;

/// <summary>Puts a list together from its chunks, object by object, so that one unreadable object costs only itself.</summary>
internal sealed class ListReader<T>(ObjectKind<T> kind) where T : class
{
    private readonly List<T> _items = [];
    private readonly List<UnreadableObject> _unreadable = [];
    private string _resourceVersion = "";

    public bool HasChunks { get; private set; }

    /// <summary>Takes in one chunk.</summary>
    /// <returns>The continue token; empty at the end.</returns>
    public string Add(byte[] body, string what)
    {
        try
        {
            using var list = JsonDocument.Parse(body, KubernetesJson.Documents);
            var meta = list.RootElement.TryGetProperty("metadata", out var m) ? m.Deserialize(KubernetesJson.Of<ListMeta>()) : null;
            if (!list.RootElement.TryGetProperty("items", out var items)) throw new JsonException("the answer has no items");
            if (!HasChunks) _resourceVersion = meta?.ResourceVersion ?? "";   // later chunks repeat the first one's
            HasChunks = true;
            if (items.ValueKind == JsonValueKind.Array)
                foreach (var item in items.EnumerateArray()) Add(item);
            return meta?.Continue ?? "";
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new KubernetesRefusedException($"{what}: the answer is not a list: {e.Message}", HttpStatusCode.OK, new Status(), e);
        }
    }

    public ObjectList<T> ToList() => new(_items, _resourceVersion, _unreadable);

    private void Add(JsonElement item)
    {
        if (ObjectReading.TryRead(item, kind, out var read, out var unreadable)) _items.Add(read);
        else _unreadable.Add(unreadable);
    }
}
