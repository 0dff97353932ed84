using AmbientMesh.Kubernetes;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>One port of a Service as its members need it. <paramref name="TargetName"/> is null for a numbered target.</summary>
public readonly record struct MemberPort(uint Number, string Name, uint TargetNumber, string? TargetName);

/// <summary>A Service, or one host of a ServiceEntry, as the wire carries it, with what is needed to find its members. Equal by content, so that an irrelevant edit moves nothing.</summary>
public sealed class TranslatedService : IEquatable<TranslatedService>
{
    public required ObjectKey Key { get; init; }

    /// <summary><c>namespace/hostname</c>.</summary>
    public required string ResourceName { get; init; }

    /// <summary>Without what depends on others: its waypoint, and whether a host of a ServiceEntry is canonical.</summary>
    public required Wds.Service Message { get; init; }
    public required IReadOnlyList<MemberPort> Ports { get; init; }

    /// <summary>Labels a member has; empty when the members are listed by hand.</summary>
    public required IReadOnlyDictionary<string, string> Selector { get; init; }

    /// <summary>It follows from a ServiceEntry.</summary>
    public bool IsEntry { get; init; }

    /// <summary>When the object was made; the end of time when unknown.</summary>
    public required DateTimeOffset Created { get; init; }

    /// <summary>The object that made it; not part of equality.</summary>
    public required ObjectOrigin Origin { get; init; }

    /// <summary>Whether pods with these labels, in the Service's namespace, are members by selector.</summary>
    public bool Selects(IReadOnlyDictionary<string, string> labels) =>
        Selector.Count > 0 && Selector.All(term => labels.TryGetValue(term.Key, out var value) && value == term.Value);

    public bool Equals(TranslatedService? other) =>
        other is not null && Key == other.Key && IsEntry == other.IsEntry && Created == other.Created && Message.Equals(other.Message) && Ports.SequenceEqual(other.Ports)
        && Selector.Count == other.Selector.Count && Selector.All(term => other.Selector.TryGetValue(term.Key, out var value) && value == term.Value);

    public override bool Equals(object? obj) => Equals(obj as TranslatedService);
    public override int GetHashCode() => Key.GetHashCode();
    public override string ToString() => ResourceName;
}
