namespace AmbientMesh.ControlPlane.Translation.Policy;

/// <summary>Labels a workload must carry. Equal by content.</summary>
internal sealed class WorkloadSelector(IReadOnlyDictionary<string, string> labels) : IEquatable<WorkloadSelector>
{
    /// <summary>No label asked for: everything in reach is meant.</summary>
    public bool IsEmpty => labels.Count == 0;

    public bool Selects(IReadOnlyDictionary<string, string> workload) => labels.All(term => workload.TryGetValue(term.Key, out var value) && value == term.Value);

    /// <summary>One label that every selected workload carries, to be found by; null when empty.</summary>
    public KeyValuePair<string, string>? Term => IsEmpty ? null : labels.MinBy(term => term.Key, StringComparer.Ordinal);

    public bool Equals(WorkloadSelector? other) => other is not null && other.Count == labels.Count && other.Selects(labels);
    public override bool Equals(object? obj) => Equals(obj as WorkloadSelector);
    public override int GetHashCode() => labels.Count;

    private int Count => labels.Count;
}

/// <summary>Where a policy with a selector is found: a label, within a namespace or (empty) in all of them.</summary>
internal readonly record struct PolicyTerm(string Namespace, string Label, string Value);
