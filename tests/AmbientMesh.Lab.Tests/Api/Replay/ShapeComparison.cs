using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace AmbientMesh.Lab.Tests.Api.Replay;

/// <summary>Compares an answer with its recording: every field and value, except what differs from run to run.</summary>
public static partial class ShapeComparison
{
    /// <summary>Fields whose value belongs to one run: only presence and type count.</summary>
    private static readonly HashSet<string> Volatile = new(StringComparer.Ordinal)
    {
        "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "time", "lastTransitionTime", "lastUpdateTime", "lastProbeTime", "token", "expirationTimestamp",
        "clusterIP", "nodePort", "continue", "serverAddress", "storageVersionHash", "gitCommit", "generatedName", "description", "ca.crt", "lastScheduleTime", "Etag",
        "client-ca-file", "requestheader-client-ca-file", "jwks_uri", "expirationSeconds", "remainingItemCount",
    };

    [GeneratedRegex(@"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")]
    private static partial Regex Uuid();
    [GeneratedRegex(@"(JTI|X509SHA256)=[0-9a-f-]+")]
    private static partial Regex Credential();
    [GeneratedRegex(@"kube-api-access-[a-z0-9]{5}")]
    private static partial Regex TokenVolume();
    [GeneratedRegex(@"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")]
    private static partial Regex Timestamp();
    [GeneratedRegex(@"(current: |version: |in record \()\d+")]
    private static partial Regex Revision();
    [GeneratedRegex(@"[-.][bcdfghjklmnpqrstvwxz2456789]{5}\b")]
    private static partial Regex Suffix();

    /// <summary>The differences, one line each; empty when alike.</summary>
    public static List<string> Compare(JsonNode? expected, JsonNode? actual)
    {
        var differences = new List<string>();
        Compare(Columns(expected), Columns(actual), "", differences);
        return differences;
    }

    /// <summary>A table without its rows: they show a state this server never had.</summary>
    private static JsonNode? Columns(JsonNode? node)
    {
        if (node is not JsonObject o || o["kind"]?.ToString() != "Table") return node;
        var copy = (JsonObject)o.DeepClone();
        copy.Remove("rows");
        copy.Remove("metadata");
        return copy;
    }

    private static void Compare(JsonNode? expected, JsonNode? actual, string path, List<string> differences)
    {
        if (differences.Count > 12) return;
        if (expected is JsonObject e && actual is JsonObject a)
        {
            foreach (var (name, value) in e)
            {
                if (!a.ContainsKey(name)) differences.Add($"{path}.{name}: missing (recorded {Short(value)})");
                else if (Volatile.Contains(name)) SameKind(value, a[name], $"{path}.{name}", differences);
                else if (name != "clusterIPs") Compare(value, a[name], $"{path}.{name}", differences);
            }
            foreach (var (name, value) in a)
                // Many recordings leave managedFields out.
                if (!e.ContainsKey(name) && !(name == "managedFields" && path.EndsWith("metadata", StringComparison.Ordinal))) differences.Add($"{path}.{name}: unexpected {Short(value)}");
            return;
        }
        if (expected is JsonArray x && actual is JsonArray y)
        {
            if (x.Count != y.Count) differences.Add($"{path}: {y.Count} items (recorded {x.Count}): {Short(actual)}");
            for (var i = 0; i < Math.Min(x.Count, y.Count); i++) Compare(x[i], y[i], $"{path}[{i}]", differences);
            return;
        }
        if (Text(expected) != Text(actual)) differences.Add($"{path}: {Short(actual)} (recorded {Short(expected)})");
    }

    private static void SameKind(JsonNode? expected, JsonNode? actual, string path, List<string> differences)
    {
        if ((expected?.GetValueKind() ?? JsonValueKind.Null) != (actual?.GetValueKind() ?? JsonValueKind.Null)) differences.Add($"{path}: {Short(actual)} (recorded {Short(expected)})");
    }

    private static string Text(JsonNode? node) => Normalized(node?.ToJsonString() ?? "null");

    /// <summary>Ids, times and revisions inside texts replaced by marks.</summary>
    public static string Normalized(string text)
    {
        text = Uuid().Replace(text, "UID");
        text = Credential().Replace(text, "$1=ID");
        text = TokenVolume().Replace(text, "kube-api-access-xxxxx");
        text = Timestamp().Replace(text, "TIME");
        text = Revision().Replace(text, "${1}N");
        return Suffix().Replace(text, "-xxxxx");
    }

    private static string Short(JsonNode? node)
    {
        var text = node?.ToJsonString() ?? "null";
        return text.Length > 160 ? text[..160] + "…" : text;
    }
}
