using FsCheck;
using FsCheck.Fluent;

namespace AmbientMesh.Kubernetes.Tests;

/// <summary>Whatever happens, cache, indexes and subscribers tell the same story.</summary>
public sealed class InformerCacheTests
{
    private static readonly string[] Names = ["a", "b", "c", "d"];

    [Fact]
    public void Replaying_the_changes_gives_the_cache_and_the_index_agrees_with_it() =>
        Prop.ForAll(Steps().ToArbitrary(), steps =>
        {
            var cache = new InformerCache<Pod>(Kind<Pod>());
            var byNode = cache.AddIndex(p => p.Spec.NodeName is { } node ? [node] : Array.Empty<string>());
            var changes = cache.Subscribe(CancellationToken.None);
            var replayed = new Dictionary<ObjectKey, Pod>();
            var isConsistent = true;
            foreach (var (step, number) in steps.Select((s, i) => (s, i)))
            {
                step(cache, number);
                while (changes.TryRead(out var change)) isConsistent &= Replay(replayed, change);
            }
            var late = new Dictionary<ObjectKey, Pod>();
            var lateChanges = cache.Subscribe(CancellationToken.None);
            while (lateChanges.TryRead(out var change)) isConsistent &= Replay(late, change);
            var items = cache.Items.ToDictionary(p => p.Key);
            return isConsistent && Same(items, replayed) && Same(items, late) && Names.All(node =>
                byNode[node].Select(p => p.Key).ToHashSet().SetEquals(items.Values.Where(p => p.Spec.NodeName == node).Select(p => p.Key)));
        }).QuickCheckThrowOnFailure();

    // Each step is a change of one pod, its deletion, or a whole new list.
    private static Gen<List<Action<InformerCache<Pod>, int>>> Steps() => Gen.ListOf(Gen.Frequency(
        (4, from name in Gen.Elements(Names) from node in Gen.Elements(Names) select (Action<InformerCache<Pod>, int>)((cache, n) => cache.Set(Make(name, node, n)))),
        (2, from name in Gen.Elements(Names) select (Action<InformerCache<Pod>, int>)((cache, n) => cache.Remove(Make(name, "gone", n)))),
        (1, from names in Gen.SubListOf(Names) from node in Gen.Elements(Names) select (Action<InformerCache<Pod>, int>)((cache, n) => cache.Replace([.. names.Select(name => Make(name, node, n))], [])))));

    private static Pod Make(string name, string node, int version) =>
        new() { Metadata = new ObjectMeta { Namespace = "demo", Name = name, ResourceVersion = $"{version}" }, Spec = new PodSpec { NodeName = node } };

    private static bool Replay(Dictionary<ObjectKey, Pod> state, Change<Pod> change)
    {
        switch (change)
        {
            case { Kind: ChangeKind.Added, Before: null, After: { } pod }:
                return state.TryAdd(change.Key, pod);
            case { Kind: ChangeKind.Modified, Before: { } before, After: { } pod }:
                var was = state.GetValueOrDefault(change.Key);
                state[change.Key] = pod;
                return ReferenceEquals(was, before);
            case { Kind: ChangeKind.Deleted, Before: not null, After: null }:
                return state.Remove(change.Key);
            default:
                return change.Kind == ChangeKind.Synced;
        }
    }

    private static bool Same(Dictionary<ObjectKey, Pod> left, Dictionary<ObjectKey, Pod> right) =>
        left.Count == right.Count && left.All(p => right.TryGetValue(p.Key, out var other) && ReferenceEquals(p.Value, other));

    private static ObjectKind<T> Kind<T>() where T : KubernetesObject, IResource<T> => T.Kind;
}
