using System.Collections.Immutable;

namespace AmbientMesh.Xds;

/// <summary>All resources of a type at one moment. Immutable; successive snapshots share what did not change.</summary>
public sealed class ResourceSnapshot
{
    /// <summary>Walking more batches than this costs more than comparing everything.</summary>
    private const int MaxBatchesToWalk = 1000;

    private static readonly ImmutableSortedSet<string> NoNames = [];
    private readonly ImmutableDictionary<string, ImmutableSortedSet<string>> _byAlias;
    private readonly ImmutableDictionary<string, ImmutableSortedSet<string>> _byGroup;
    private readonly ChangeBatch _last;

    private ResourceSnapshot(
        ImmutableDictionary<string, XdsResource> resources, ImmutableDictionary<string, ImmutableSortedSet<string>> byAlias,
        ImmutableDictionary<string, ImmutableSortedSet<string>> byGroup, ChangeBatch last)
    {
        Resources = resources;
        _byAlias = byAlias;
        _byGroup = byGroup;
        _last = last;
    }

    public static ResourceSnapshot Empty() =>
        new(ImmutableDictionary.Create<string, XdsResource>(StringComparer.Ordinal), ImmutableDictionary.Create<string, ImmutableSortedSet<string>>(StringComparer.Ordinal), ImmutableDictionary.Create<string, ImmutableSortedSet<string>>(StringComparer.Ordinal), new ChangeBatch(0, []));

    public ImmutableDictionary<string, XdsResource> Resources { get; }

    /// <summary>Rises by one with every batch that changed something.</summary>
    public long Revision => _last.Revision;

    /// <summary>Names of the resources that carry <paramref name="alias"/>, in order.</summary>
    public IReadOnlyCollection<string> WithAlias(string alias) => _byAlias.GetValueOrDefault(alias, NoNames);

    /// <summary>Names of the resources in <paramref name="group"/>, in order.</summary>
    public IReadOnlyCollection<string> InGroup(string group) => _byGroup.GetValueOrDefault(group, NoNames);

    /// <summary>Names that may differ between <paramref name="earlier"/> and this; never misses one.</summary>
    public IEnumerable<string> ChangedSince(ResourceSnapshot earlier)
    {
        if (Revision - earlier.Revision is < 0 or > MaxBatchesToWalk) return earlier.Resources.Keys.Union(Resources.Keys, StringComparer.Ordinal);
        HashSet<string> names = new(StringComparer.Ordinal);
        for (var batch = earlier._last; batch.Revision < Revision;)
        {
            if (batch.Next is not { } next) return earlier.Resources.Keys.Union(Resources.Keys, StringComparer.Ordinal);   // not of the same table
            batch = next;
            names.UnionWith(batch.Names);
        }
        return names;
    }

    /// <summary>The snapshot after the changes, or this one when they change nothing.</summary>
    internal ResourceSnapshot With(IEnumerable<XdsResource> updates, IEnumerable<string> removals)
    {
        var draft = new Draft(this);
        foreach (var name in removals) draft.Remove(name);
        foreach (var resource in updates) draft.Put(resource);
        return draft.Changed.Count == 0 ? this : draft.Publish();
    }

    /// <summary>One change of the table. Clients hold the batch they have seen and walk on from it, so nobody keeps a log for the slowest.</summary>
    private sealed class ChangeBatch(long revision, IReadOnlyCollection<string> names)
    {
        private volatile ChangeBatch? _next;

        public long Revision { get; } = revision;
        public IReadOnlyCollection<string> Names { get; } = names;
        public ChangeBatch? Next => _next;

        public ChangeBatch Append(IReadOnlyCollection<string> changed) => _next = new ChangeBatch(Revision + 1, changed);
    }

    private sealed class Draft(ResourceSnapshot from)
    {
        private readonly ImmutableDictionary<string, XdsResource>.Builder _resources = from.Resources.ToBuilder();
        private readonly ImmutableDictionary<string, ImmutableSortedSet<string>>.Builder _byAlias = from._byAlias.ToBuilder();
        private readonly ImmutableDictionary<string, ImmutableSortedSet<string>>.Builder _byGroup = from._byGroup.ToBuilder();

        public HashSet<string> Changed { get; } = new(StringComparer.Ordinal);

        public void Put(XdsResource resource)
        {
            if (_resources.TryGetValue(resource.Name, out var old) && old.IsSameAs(resource)) return;
            if (old is not null) Unlink(old);
            _resources[resource.Name] = resource;
            foreach (var alias in resource.Aliases) _byAlias[alias] = Names(_byAlias, alias).Add(resource.Name);
            foreach (var group in resource.Groups) _byGroup[group] = Names(_byGroup, group).Add(resource.Name);
            Changed.Add(resource.Name);
        }

        public void Remove(string name)
        {
            if (!_resources.TryGetValue(name, out var old)) return;
            Unlink(old);
            _resources.Remove(name);
            Changed.Add(name);
        }

        public ResourceSnapshot Publish() => new(_resources.ToImmutable(), _byAlias.ToImmutable(), _byGroup.ToImmutable(), from._last.Append(Changed));

        private void Unlink(XdsResource old)
        {
            foreach (var alias in old.Aliases) Unlink(_byAlias, alias, old.Name);
            foreach (var group in old.Groups) Unlink(_byGroup, group, old.Name);
        }

        private static void Unlink(ImmutableDictionary<string, ImmutableSortedSet<string>>.Builder index, string key, string name)
        {
            var left = Names(index, key).Remove(name);
            if (left.IsEmpty) index.Remove(key);
            else index[key] = left;
        }

        private static ImmutableSortedSet<string> Names(ImmutableDictionary<string, ImmutableSortedSet<string>>.Builder index, string key) =>
            index.TryGetValue(key, out var names) ? names : ImmutableSortedSet.Create<string>(StringComparer.Ordinal);
    }
}
