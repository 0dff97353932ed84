using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation.Entries;

/// <summary>Who may find a ServiceEntry.</summary>
public enum EntryVisibility
{
    /// <summary>Everyone.</summary>
    Public,
    /// <summary>Clients of its own namespace.</summary>
    Namespace,
    /// <summary>Nobody: it is not sent.</summary>
    None,
}

/// <summary>MeshConfig <c>serviceEntryVisibility</c>: the first policy all of whose selectors match the namespace of a ServiceEntry decides, else the default.</summary>
/// <param name="Default">Where no policy matches.</param>
/// <param name="Policies">In order.</param>
public sealed record EntryVisibilityRules(EntryVisibility Default, IReadOnlyList<EntryVisibilityPolicy> Policies)
{
    /// <summary>What of the configuration is not as it should be, for its author; empty when all is.</summary>
    public IReadOnlyList<string> Problems { get; init; } = [];

    /// <param name="labels">Of the ServiceEntry's namespace.</param>
    public EntryVisibility Of(IReadOnlyDictionary<string, string> labels)
    {
        foreach (var policy in Policies)
            if (policy.Namespaces.All(selector => LabelSelection.Matches(selector, labels))) return policy.Visibility;
        return Default;
    }
}

/// <param name="Namespaces">Selectors, all of which a namespace must match.</param>
public sealed record EntryVisibilityPolicy(EntryVisibility Visibility, IReadOnlyList<LabelSelector> Namespaces);
