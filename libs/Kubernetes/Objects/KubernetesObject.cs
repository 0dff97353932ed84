using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace AmbientMesh.Kubernetes;

/// <summary>What every typed object has. Immutable: change one with a <c>with</c> expression.</summary>
/// <remarks>Typed objects hold the fields the mesh reads. Only those marked <see cref="IReplaceable"/> hold every field, so only those can be written back whole.</remarks>
public abstract record KubernetesObject
{
    /// <summary>Null on items of a list.</summary>
    [JsonPropertyOrder(-3)] public string? ApiVersion { get; init; }
    /// <summary>Null on items of a list.</summary>
    [JsonPropertyOrder(-2)] public string? Kind { get; init; }
    [JsonPropertyOrder(-1)] public ObjectMeta Metadata { get; init => field = value ?? new(); } = new();

    [JsonIgnore] public string Name => Metadata.Name ?? "";
    /// <summary>Empty for cluster-scoped objects.</summary>
    [JsonIgnore] public string Namespace => Metadata.Namespace ?? "";
    [JsonIgnore] public ObjectKey Key => new(Namespace, Name);
}

/// <summary>A typed object which knows where the API server keeps its kind.</summary>
public interface IResource<T> where T : KubernetesObject, IResource<T>
{
    /// <summary>Where the API server keeps this kind.</summary>
    static abstract ResourceType Type { get; }

    /// <summary>How the kind is read and written.</summary>
    static virtual ObjectKind<T> Kind =>
        new(T.Type, KubernetesJson.Of<T>(), o => o.Key, o => o.Metadata.ResourceVersion ?? "", Named);

    private static T Named(T o) => (T)((KubernetesObject)o with { ApiVersion = T.Type.ApiVersion, Kind = T.Type.Kind });
}

/// <summary>Marks types which hold every field of their kind, so that a PUT loses nothing.</summary>
public interface IReplaceable;

/// <summary>Namespace and name; the namespace is empty for cluster-scoped objects.</summary>
public readonly record struct ObjectKey(string Namespace, string Name) : IComparable<ObjectKey>
{
    public override string ToString() => Namespace.Length == 0 ? Name : $"{Namespace}/{Name}";

    public int CompareTo(ObjectKey other)
    {
        var byNamespace = string.CompareOrdinal(Namespace, other.Namespace);
        return byNamespace != 0 ? byNamespace : string.CompareOrdinal(Name, other.Name);
    }

    public static bool operator <(ObjectKey left, ObjectKey right) => left.CompareTo(right) < 0;
    public static bool operator >(ObjectKey left, ObjectKey right) => left.CompareTo(right) > 0;
    public static bool operator <=(ObjectKey left, ObjectKey right) => left.CompareTo(right) <= 0;
    public static bool operator >=(ObjectKey left, ObjectKey right) => left.CompareTo(right) >= 0;
}

/// <summary>How objects of one kind are read, written and told apart.</summary>
/// <param name="Type">Where the API server keeps them.</param>
/// <param name="Json">Reader and writer.</param>
/// <param name="KeyOf">Namespace and name of an object.</param>
/// <param name="VersionOf">The object's resourceVersion; empty when absent.</param>
/// <param name="Stamp">The object with its apiVersion and kind filled in.</param>
public sealed record ObjectKind<T>(ResourceType Type, JsonTypeInfo<T> Json, Func<T, ObjectKey> KeyOf, Func<T, string> VersionOf, Func<T, T> Stamp) where T : class;
