using System.Text.Json.Nodes;

namespace AmbientMesh.Kubernetes;

/// <summary>Which objects of a kind are meant; everything null means all of them.</summary>
public sealed record Selection
{
    public static Selection All { get; } = new();

    /// <summary>Null: all namespaces.</summary>
    public string? Namespace { get; init; }
    /// <summary>As the API writes it: <c>app=x,tier in (a,b)</c>.</summary>
    public string? LabelSelector { get; init; }
    /// <summary>E.g. <c>spec.nodeName=node-1</c>.</summary>
    public string? FieldSelector { get; init; }
}

/// <summary>How a write is made.</summary>
public sealed record WriteOptions
{
    /// <summary>Who owns the fields written; null: the client's own name.</summary>
    public string? FieldManager { get; init; }
    /// <summary>Server-side apply only: take over fields owned by others.</summary>
    public bool Force { get; init; }
    /// <summary>Answer as if done, store nothing.</summary>
    public bool DryRun { get; init; }
    /// <summary>Unknown or repeated fields are an error instead of a warning.</summary>
    public bool Strict { get; init; }
}

/// <summary>How an object is deleted.</summary>
public sealed record DeleteOptions
{
    /// <summary>Delete only this very object.</summary>
    public string? Uid { get; init; }
    /// <summary>Delete only this very version.</summary>
    public string? ResourceVersion { get; init; }
    /// <summary>Null: what the object says.</summary>
    public long? GracePeriodSeconds { get; init; }
    /// <summary><c>Background</c>, <c>Foreground</c> or <c>Orphan</c>; null: the server's default.</summary>
    public string? PropagationPolicy { get; init; }

    internal JsonObject ToJson()
    {
        var body = new JsonObject { ["apiVersion"] = "v1", ["kind"] = "DeleteOptions" };
        if (GracePeriodSeconds is { } seconds) body["gracePeriodSeconds"] = seconds;
        if (PropagationPolicy is { } policy) body["propagationPolicy"] = policy;
        if (Uid is null && ResourceVersion is null) return body;
        var preconditions = new JsonObject();
        if (Uid is not null) preconditions["uid"] = Uid;
        if (ResourceVersion is not null) preconditions["resourceVersion"] = ResourceVersion;
        body["preconditions"] = preconditions;
        return body;
    }
}

/// <summary>A change to an object, in one of the forms the API server takes.</summary>
public sealed record Patch
{
    private Patch(string contentType, JsonNode body) => (ContentType, Body) = (contentType, body);

    public string ContentType { get; }
    public JsonNode Body { get; }

    /// <summary>RFC 7386: null removes, lists are replaced.</summary>
    public static Patch Merge(JsonObject changes) => new("application/merge-patch+json", changes);

    /// <summary>RFC 6902 operations.</summary>
    public static Patch Json(JsonArray operations) => new("application/json-patch+json", operations);

    /// <summary>Lists with a merge key merge by it; built-in kinds only.</summary>
    public static Patch Strategic(JsonObject changes) => new("application/strategic-merge-patch+json", changes);

    /// <summary>Server-side apply: the fields this manager wants, and no others.</summary>
    public static Patch Apply(JsonObject wanted) => new("application/apply-patch+yaml", wanted);
}

/// <summary>One consistent reading of a collection.</summary>
/// <param name="ResourceVersion">Where to begin watching.</param>
/// <param name="Unreadable">Objects which this client could not make sense of; they do not keep the others from being read.</param>
public sealed record ObjectList<T>(IReadOnlyList<T> Items, string ResourceVersion, IReadOnlyList<UnreadableObject> Unreadable);

/// <summary>An object of a form this client does not understand.</summary>
/// <param name="Key">As far as it could be read.</param>
public sealed record UnreadableObject(ObjectKey Key, string Problem)
{
    public override string ToString() => $"{Key}: {Problem}";
}

/// <summary>What a watch told. Exactly one case holds.</summary>
public abstract record WatchEvent<T>
{
    private WatchEvent()
    {
    }

    /// <summary>The object is in the selection, in this state (ADDED or MODIFIED).</summary>
    public sealed record Present(T Object, bool IsNew) : WatchEvent<T>;

    /// <summary>The object is gone or left the selection; its last state, with a new resourceVersion.</summary>
    public sealed record Gone(T Object) : WatchEvent<T>;

    /// <summary>Everything up to this version has been told.</summary>
    /// <param name="EndsInitialEvents">The last of the objects that were there when the watch began.</param>
    public sealed record Bookmark(string ResourceVersion, bool EndsInitialEvents) : WatchEvent<T>;

    /// <summary>Something happened to an object of a form this client does not understand.</summary>
    public sealed record Unreadable(UnreadableObject Object, string ResourceVersion) : WatchEvent<T>;
}
