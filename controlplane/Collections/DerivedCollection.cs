namespace AmbientMesh.ControlPlane.Collections;

/// <summary>What follows from another collection: each input item gives any number of keyed outputs by a stateless function of it and of what it fetches.</summary>
/// <remarks>An output key claimed by several inputs goes to the input with the lowest key, so that the result does not depend on history.</remarks>
public sealed class DerivedCollection<TInKey, TIn, TKey, TValue> : Collection<TKey, TValue>
    where TInKey : notnull, IComparable<TInKey>
    where TIn : class
    where TKey : notnull, IComparable<TKey>
    where TValue : class
{
    private readonly Collection<TInKey, TIn> _input;
    private readonly Func<FetchContext, TIn, IEnumerable<KeyValuePair<TKey, TValue>>> _transform;
    private readonly Func<TIn, IEnumerable<KeyValuePair<TKey, TValue>>>? _otherwise;
    private readonly DependencyRecorder<TInKey> _dependencies;
    private readonly Dictionary<TInKey, TKey[]> _outputsOf = [];
    private readonly Dictionary<TKey, SortedList<TInKey, TValue>> _claims = [];
    private readonly HashSet<TInKey> _dirty = [];
    private readonly HashSet<TInKey> _standingIn = [];   // items whose outputs are those of _otherwise

    /// <param name="graph">The graph it belongs to.</param>
    /// <param name="name">For logs and the debug pages.</param>
    /// <param name="input">Whose items are transformed.</param>
    /// <param name="transform">Stateless; may throw, then the item keeps its last good outputs.</param>
    /// <param name="sameValue">When a recomputed value changes nothing; the type's own equality when null.</param>
    /// <param name="otherwise">What follows from an item whose transformation threw and that has no good outputs to keep; must not throw. Null: nothing.</param>
    public DerivedCollection(
        CollectionGraph graph, string name, Collection<TInKey, TIn> input,
        Func<FetchContext, TIn, IEnumerable<KeyValuePair<TKey, TValue>>> transform, IEqualityComparer<TValue>? sameValue = null,
        Func<TIn, IEnumerable<KeyValuePair<TKey, TValue>>>? otherwise = null)
        : base(graph, name, sameValue)
    {
        _otherwise = otherwise;
        _input = input;
        _transform = transform;
        _dependencies = new DependencyRecorder<TInKey>(name, Order, graph);
    }

    /// <summary>How often the transformation has run.</summary>
    public long Computations { get; private set; }

    private protected override void Recompute()
    {
        foreach (var change in _input.Changes) _dirty.Add(change.Key);
        _dependencies.CollectAffected(_dirty);
        foreach (var key in _dirty)
        {
            if (_input.TryFind(key, out var item)) Compute(key, item);
            else Replace(key, []);
            if (item is not null) continue;
            _dependencies.Forget(key);
            _standingIn.Remove(key);
        }
        _dirty.Clear();
    }

    private void Compute(TInKey key, TIn item)
    {
        Computations++;
        _dependencies.Begin(key);
        try
        {
            Replace(key, [.. _transform(_dependencies, item)]);
            _standingIn.Remove(key);
        }
        catch (Exception problem)
        {
            if (Graph.TransformationFailed is null) throw;
            if (_otherwise is not null && (!_outputsOf.ContainsKey(key) || _standingIn.Contains(key)))
            {
                Replace(key, [.. _otherwise(item)]);
                _standingIn.Add(key);
            }
            Graph.TransformationFailed(Name, key, problem);
        }
        finally
        {
            _dependencies.End();
        }
    }

    private void Replace(TInKey input, KeyValuePair<TKey, TValue>[] outputs)
    {
        if (_outputsOf.Remove(input, out var previous))
            foreach (var key in previous)
                if (!Array.Exists(outputs, o => o.Key.Equals(key))) Withdraw(input, key);
        foreach (var (key, value) in outputs) Claim(input, key, value);
        if (outputs.Length > 0) _outputsOf[input] = [.. outputs.Select(o => o.Key)];
    }

    private void Claim(TInKey input, TKey key, TValue value)
    {
        if (!_claims.TryGetValue(key, out var claims)) _claims[key] = claims = new SortedList<TInKey, TValue>(capacity: 1);
        claims[input] = value;
        Write(key, claims.Values[0]);
    }

    private void Withdraw(TInKey input, TKey key)
    {
        if (!_claims.TryGetValue(key, out var claims)) return;
        claims.Remove(input);
        if (claims.Count == 0) _claims.Remove(key);
        Write(key, claims.Count == 0 ? null : claims.Values[0]);
    }
}

/// <summary>Short forms of <see cref="DerivedCollection{TInKey,TIn,TKey,TValue}"/>.</summary>
public static class Derivations
{
    extension<TInKey, TIn>(Collection<TInKey, TIn> input)
        where TInKey : notnull, IComparable<TInKey>
        where TIn : class
    {
        /// <summary>At most one output per input, under the input's key; null leaves it out.</summary>
        public DerivedCollection<TInKey, TIn, TInKey, TValue> Map<TValue>(
            string name, Func<TIn, TInKey> keyOf, Func<FetchContext, TIn, TValue?> transform, IEqualityComparer<TValue>? sameValue = null, Func<TIn, TValue>? otherwise = null)
            where TValue : class =>
            new(input.Graph, name, input,
                (context, item) => transform(context, item) is { } value ? [new KeyValuePair<TInKey, TValue>(keyOf(item), value)] : [], sameValue,
                otherwise is null ? null : item => [new KeyValuePair<TInKey, TValue>(keyOf(item), otherwise(item))]);

        /// <summary>Any number of outputs per input, each under the key <paramref name="keyOf"/> gives it.</summary>
        public DerivedCollection<TInKey, TIn, TKey, TValue> MapMany<TKey, TValue>(
            string name, Func<TValue, TKey> keyOf, Func<FetchContext, TIn, IEnumerable<TValue>> transform, IEqualityComparer<TValue>? sameValue = null)
            where TKey : notnull, IComparable<TKey>
            where TValue : class =>
            new(input.Graph, name, input,
                (context, item) => transform(context, item).Select(value => new KeyValuePair<TKey, TValue>(keyOf(value), value)), sameValue);
    }
}
