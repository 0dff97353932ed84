namespace AmbientMesh.ControlPlane.Collections;

/// <summary>Several collections of one kind seen as one; a key held by more than one comes from the first of them in the order given.</summary>
public sealed class UnionCollection<TKey, TValue>(
    CollectionGraph graph, string name, IReadOnlyList<Collection<TKey, TValue>> parts, IEqualityComparer<TValue>? sameValue = null)
    : Collection<TKey, TValue>(graph, name, sameValue)
    where TKey : notnull, IComparable<TKey>
    where TValue : class
{
    private protected override void Recompute()
    {
        foreach (var part in parts)
            foreach (var change in part.Changes)
                Write(change.Key, First(change.Key));
    }

    private TValue? First(TKey key)
    {
        foreach (var part in parts)
            if (part.Find(key) is { } value) return value;
        return null;
    }
}
