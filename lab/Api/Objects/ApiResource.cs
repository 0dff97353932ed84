using AmbientMesh.Lab.Api.CustomResources;
using AmbientMesh.Lab.Api.Schema;

namespace AmbientMesh.Lab.Api.Objects;

/// <summary>A resource without its version: what storage, RBAC and error messages name. The core group is empty.</summary>
public readonly record struct GroupResource(string Group, string Resource)
{
    /// <summary><c>pods</c> or <c>deployments.apps</c>.</summary>
    public override string ToString() => Group.Length == 0 ? Resource : $"{Resource}.{Group}";
}

/// <summary>A resource as served in one version.</summary>
public sealed record ApiResource
{
    public required string Group { get; init; }
    public required string Version { get; init; }
    /// <summary>Plural name in the path.</summary>
    public required string Plural { get; init; }
    public required string Singular { get; init; }
    public required string Kind { get; init; }
    public string ListKind { get => field ?? Kind + "List"; init; }
    public required bool IsNamespaced { get; init; }
    public IReadOnlyList<string> ShortNames { get; init; } = [];
    public IReadOnlyList<string> Categories { get; init; } = [];
    /// <summary>Names after the object's: status, scale, log, …</summary>
    public IReadOnlyList<string> Subresources { get; init; } = [];
    public IReadOnlyList<string> Verbs { get; init; } = AllVerbs;
    /// <summary>Fields of the kind; null where the lab keeps objects as they come.</summary>
    public SchemaType? Type { get; init; }
    /// <summary>The definition of a custom resource; null for built-in ones.</summary>
    public CustomVersion? Custom { get; init; }

    public static readonly IReadOnlyList<string> AllVerbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

    public GroupResource GroupResource => new(Group, Plural);
    public string ApiVersion => Group.Length == 0 ? Version : $"{Group}/{Version}";
    public bool HasStatus => Subresources.Contains("status", StringComparer.Ordinal);
    public bool IsStored => Verbs.Contains("get", StringComparer.Ordinal);
    public bool IsCustom => Custom is not null;
}
