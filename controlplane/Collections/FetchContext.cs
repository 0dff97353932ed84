namespace AmbientMesh.ControlPlane.Collections;

/// <summary>How a transformation looks into other collections. Each look is recorded: when what it saw changes, the transformation runs again.</summary>
public abstract class FetchContext
{
    private protected FetchContext()
    {
    }

    /// <summary>The value under <paramref name="key"/>, or null; depends on that key alone.</summary>
    public abstract TValue? Get<TKey, TValue>(Collection<TKey, TValue> from, TKey key)
        where TKey : notnull, IComparable<TKey>
        where TValue : class;

    /// <summary>The values under an index key, in key order; with <paramref name="where"/>, a change concerns only if the old or the new value passes it.</summary>
    /// <remarks><paramref name="where"/> must be a pure function of the value and of the transformation's input.</remarks>
    public abstract IReadOnlyList<TValue> Lookup<TIndexKey, TKey, TValue>(Index<TIndexKey, TKey, TValue> index, TIndexKey key, Func<TValue, bool>? where = null)
        where TIndexKey : notnull
        where TKey : notnull, IComparable<TKey>
        where TValue : class;
}
