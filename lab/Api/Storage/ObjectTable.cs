using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.Storage;

/// <summary>All objects of one resource with their recent history. Not thread-safe: the store's lock guards it.</summary>
internal sealed class ObjectTable(GroupResource resource, long createdAt)
{
    private const int HistoryLimit = 8192;
    private readonly SortedDictionary<string, JsonObject> _objects = new(StringComparer.Ordinal);
    private readonly LinkedList<Change> _history = new();
    private readonly List<WatchStream> _watches = [];

    public GroupResource Resource { get; } = resource;
    /// <summary>A watch from an older revision gets 410.</summary>
    public long WindowStart { get; private set; } = createdAt;
    public int Count => _objects.Count;
    public IEnumerable<JsonObject> Objects => _objects.Values;

    public JsonObject? Find(string ns, string name) => _objects.GetValueOrDefault(Key(ns, name));

    public void Commit(Change change)
    {
        var o = change.Object;
        if (change.After is null) _objects.Remove(Key(o.Namespace(), o.Name()));
        else _objects[Key(o.Namespace(), o.Name())] = change.After;
        _history.AddLast(change);
        if (_history.Count > HistoryLimit)
        {
            WindowStart = _history.First!.Value.Revision;
            _history.RemoveFirst();
        }
        foreach (var watch in _watches.ToArray()) watch.Show(change);
    }

    public void Compact(long revision)
    {
        while (_history.First is { } first && first.Value.Revision <= revision) _history.RemoveFirst();
        WindowStart = Math.Max(WindowStart, revision);
    }

    /// <summary>Objects as they were at <paramref name="revision"/>, which must be inside the window.</summary>
    public IEnumerable<JsonObject> At(long revision)
    {
        var then = new SortedDictionary<string, JsonObject>(_objects, StringComparer.Ordinal);
        for (var node = _history.Last; node is not null && node.Value.Revision > revision; node = node.Previous)
        {
            var change = node.Value;
            var key = Key(change.Object.Namespace(), change.Object.Name());
            if (change.Before is null) then.Remove(key);
            else then[key] = change.Before;
        }
        return then.Values;
    }

    public IEnumerable<Change> Since(long revision) => _history.SkipWhile(c => c.Revision <= revision);

    public void Subscribe(WatchStream watch) => _watches.Add(watch);
    public void Unsubscribe(WatchStream watch) => _watches.Remove(watch);

    public void EndWatches()
    {
        foreach (var watch in _watches) watch.End();
        _watches.Clear();
    }

    public static string Key(string ns, string name) => ns.Length == 0 ? name : $"{ns}/{name}";
}
