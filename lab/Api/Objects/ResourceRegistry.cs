namespace AmbientMesh.Lab.Api.Objects;

/// <summary>Which resources exist now: the built-in ones and those of custom resource definitions. Thread-safe.</summary>
public sealed class ResourceRegistry
{
    private readonly Lock _gate = new();
    private List<ApiResource> _all = [.. BuiltInResources.All];

    /// <summary>Every resource in every served version, in discovery order. A snapshot.</summary>
    public IReadOnlyList<ApiResource> All
    {
        get { lock (_gate) return _all; }
    }

    public ApiResource? Find(string group, string version, string plural) => All.FirstOrDefault(r => r.Plural == plural && r.Version == version && r.Group == group);

    /// <summary>The resource in its storage (or first) version; null when there is none.</summary>
    public ApiResource? Find(GroupResource resource)
    {
        ApiResource? first = null;
        foreach (var r in All)
        {
            if (r.Plural != resource.Resource || r.Group != resource.Group) continue;
            if (r.Custom is null or { IsStorage: true }) return r;
            first ??= r;
        }
        return first;
    }

    /// <summary>The resource of a kind; null when there is none.</summary>
    public ApiResource? FindKind(string apiVersion, string kind) => All.FirstOrDefault(r => r.Kind == kind && r.ApiVersion == apiVersion);

    /// <summary>As <see cref="Find(GroupResource)"/>; throws 404 when there is none.</summary>
    public ApiResource Get(GroupResource resource) => Find(resource) ?? throw ApiErrors.NoSuchResource();

    /// <summary>Replaces all versions of a custom resource; none removes it.</summary>
    public void SetCustom(GroupResource resource, IReadOnlyList<ApiResource> versions)
    {
        lock (_gate)
        {
            var next = _all.ToList();
            var at = next.FindIndex(r => r.IsCustom && r.GroupResource == resource);
            next.RemoveAll(r => r.IsCustom && r.GroupResource == resource);
            next.InsertRange(at < 0 ? next.Count : at, versions);
            _all = next;
        }
    }
}
