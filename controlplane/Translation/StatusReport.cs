using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>A condition as an object is to carry it, or carries it. The time of its last transition is no part of it.</summary>
/// <param name="Status"><c>True</c> or <c>False</c>.</param>
/// <param name="Reason">One CamelCase word.</param>
/// <param name="Message">For people.</param>
/// <param name="ObservedGeneration">Of the object's spec; 0 for kinds without generations.</param>
public sealed record StatusCondition(string Type, string Status, string Reason, string Message, long ObservedGeneration);

/// <summary>The conditions of which the mesh is the author on one object: as they are to be, and as they are. Equal by content.</summary>
/// <param name="Manager">Under which they are written, see l7 reference 3.5.</param>
/// <param name="Wanted">By type.</param>
/// <param name="Present">By type; those of the mesh only.</param>
public sealed record StatusReport(ResourceType Type, ObjectKey Key, long Generation, string Manager, IReadOnlyList<StatusCondition> Wanted, IReadOnlyList<StatusCondition> Present)
{
    /// <summary>Which object of that name: one that was made anew has to be told anew.</summary>
    public string Uid { get; init; } = "";

    /// <summary>The object does not yet say what it is to say.</summary>
    public bool IsDue => !Wanted.SequenceEqual(Present);

    /// <summary>Null when there is nothing to say and nothing to take back.</summary>
    /// <param name="own">Types of conditions the mesh writes on such objects.</param>
    public static StatusReport? Of<T>(T item, string manager, IReadOnlyCollection<string> own, IEnumerable<StatusCondition> wanted, IEnumerable<StatusCondition> present) where T : KubernetesObject, IResource<T>
    {
        var report = new StatusReport(
            T.Type, item.Key, item.Metadata.Generation ?? 0, manager,
            [.. wanted.OrderBy(c => c.Type, StringComparer.Ordinal)], [.. present.Where(c => own.Contains(c.Type)).OrderBy(c => c.Type, StringComparer.Ordinal)])
        {
            Uid = item.Metadata.Uid ?? "",
        };
        return report.Wanted.Count + report.Present.Count == 0 ? null : report;
    }

    public bool Equals(StatusReport? other) =>
        other is not null && Type == other.Type && Key == other.Key && Uid == other.Uid && Generation == other.Generation && Manager == other.Manager && Wanted.SequenceEqual(other.Wanted) && Present.SequenceEqual(other.Present);

    public override int GetHashCode() => Key.GetHashCode();

    /// <summary>The conditions of an object of one of the mesh's own kinds.</summary>
    public static IEnumerable<StatusCondition> PresentOn(MeshStatus status) =>
        status.Conditions.Select(c => new StatusCondition(c.Type, c.Status, c.Reason ?? "", c.Message ?? "", c.ObservedGeneration ?? 0));

    /// <summary>The conditions of a Service.</summary>
    public static IEnumerable<StatusCondition> PresentOn(ServiceStatus status) =>
        status.Conditions.Select(c => new StatusCondition(c.Type, c.Status, c.Reason ?? "", c.Message ?? "", c.ObservedGeneration ?? 0));
}
