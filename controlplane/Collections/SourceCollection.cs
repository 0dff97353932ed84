namespace AmbientMesh.ControlPlane.Collections;

/// <summary>A collection whose items come from outside; written to only within <see cref="CollectionGraph.Apply"/>.</summary>
/// <param name="graph">The graph it belongs to.</param>
/// <param name="name">For logs and the debug pages.</param>
/// <param name="sameValue">When a new value changes nothing; the type's own equality when null.</param>
public sealed class SourceCollection<TKey, TValue>(CollectionGraph graph, string name, IEqualityComparer<TValue>? sameValue = null)
    : Collection<TKey, TValue>(graph, name, sameValue)
    where TKey : notnull, IComparable<TKey>
    where TValue : class
{
    public void Set(TKey key, TValue value)
    {
        Graph.RequireBatch();
        Write(key, value);
    }

    /// <summary>Removes the item if it is there.</summary>
    public void Remove(TKey key)
    {
        Graph.RequireBatch();
        Write(key, null);
    }

    private protected override void Recompute()
    {
        // Nothing follows: it is written to directly.
    }
}
