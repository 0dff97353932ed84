using System.Text.Json.Nodes;

namespace AmbientMesh.Lab.Api.Objects;

/// <summary>Reading an object's metadata.</summary>
public static class ObjectMeta
{
    public static string Name(this JsonObject o) => o.Text("metadata", "name") ?? "";
    public static string Namespace(this JsonObject o) => o.Text("metadata", "namespace") ?? "";
    public static string Uid(this JsonObject o) => o.Text("metadata", "uid") ?? "";
    public static string Kind(this JsonObject o) => o.Text("kind") ?? "";
    public static string ApiVersion(this JsonObject o) => o.Text("apiVersion") ?? "";
    public static long ResourceVersion(this JsonObject o) => long.TryParse(o.Text("metadata", "resourceVersion"), out var rv) ? rv : 0;
    public static long Generation(this JsonObject o) => o.Number("metadata", "generation") ?? 0;
    public static bool IsTerminating(this JsonObject o) => o.Text("metadata", "deletionTimestamp") is not null;
    public static Dictionary<string, string> Labels(this JsonObject o) => o.TextMap("metadata", "labels");
    public static Dictionary<string, string> Annotations(this JsonObject o) => o.TextMap("metadata", "annotations");
    public static IEnumerable<string> Finalizers(this JsonObject o) => o.Texts("metadata", "finalizers");
    public static IEnumerable<JsonObject> OwnerReferences(this JsonObject o) => o.Objects("metadata", "ownerReferences");
    public static JsonObject Metadata(this JsonObject o) => o.Ensure("metadata");

    /// <summary>The reference a child carries to name <paramref name="owner"/> as its controller.</summary>
    public static JsonObject ControllerReference(this JsonObject owner) => new()
    {
        ["apiVersion"] = owner.ApiVersion(),
        ["kind"] = owner.Kind(),
        ["name"] = owner.Name(),
        ["uid"] = owner.Uid(),
        ["controller"] = true,
        ["blockOwnerDeletion"] = true,
    };

    /// <summary>The uid of the controlling owner; null without one.</summary>
    public static string? ControllerUid(this JsonObject o) => o.OwnerReferences().FirstOrDefault(r => r.Flag("controller") == true).Text("uid");
}

/// <summary>Times as Kubernetes writes them.</summary>
public static class KubernetesTime
{
    /// <summary>RFC 3339, UTC, whole seconds.</summary>
    public static string Seconds(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'");

    /// <summary>RFC 3339, UTC, six decimals.</summary>
    public static string Micro(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'");

    public static DateTimeOffset? Parse(string? text) =>
        DateTimeOffset.TryParse(text, System.Globalization.CultureInfo.InvariantCulture, System.Globalization.DateTimeStyles.AssumeUniversal, out var time) ? time : null;
}
