using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Nodes;

/// <summary>A volume cannot be made yet; the message shows in the Event FailedMount.</summary>
public sealed class VolumeException(string message) : Exception(message);

/// <summary>A token for a pod's service account, bound to the pod.</summary>
/// <param name="audience">Null for the API server's own.</param>
/// <param name="expires">When it stops to be valid.</param>
internal delegate string TokenSource(JsonObject pod, string? audience, TimeSpan lifetime, out DateTimeOffset expires);

/// <summary>What configMap, secret, downwardAPI and projected volumes hold.</summary>
/// <param name="sources">Looked up anew each time.</param>
internal sealed class VolumeContents(IEnvironmentSources sources, TokenSource tokens, TimeProvider clock)
{
    private readonly Dictionary<string, (string Token, DateTimeOffset RenewAt)> _tokens = [];

    /// <summary>Null for a volume that is not made of files the kubelet writes.</summary>
    /// <exception cref="VolumeException">A required source is missing.</exception>
    public IReadOnlyList<VolumeFile>? Files(JsonObject pod, JsonObject volume)
    {
        if (volume.Map("configMap") is { } map) return [.. FromMap(pod, map, map.Text("name"), isSecret: false, Mode(map, "defaultMode"))];
        if (volume.Map("secret") is { } secret) return [.. FromMap(pod, secret, secret.Text("secretName"), isSecret: true, Mode(secret, "defaultMode"))];
        if (volume.Map("downwardAPI") is { } downward) return [.. Downward(pod, downward, Mode(downward, "defaultMode"))];
        if (volume.Map("projected") is not { } projected) return null;
        var mode = Mode(projected, "defaultMode");
        // A later source wins where two name the same file.
        return [.. projected.Objects("sources").SelectMany(s => Projected(pod, volume.Text("name") ?? "", s, mode)).GroupBy(f => f.Path).Select(g => g.Last())];
    }

    /// <summary>Names of the ConfigMaps and Secrets a volume depends on, as <c>configmaps/x</c> and <c>secrets/x</c>.</summary>
    public static IEnumerable<string> Sources(JsonObject volume)
    {
        if (volume.Text("configMap", "name") is { } map) yield return $"configmaps/{map}";
        if (volume.Text("secret", "secretName") is { } secret) yield return $"secrets/{secret}";
        foreach (var source in volume.Objects("projected", "sources"))
        {
            if (source.Text("configMap", "name") is { } projectedMap) yield return $"configmaps/{projectedMap}";
            if (source.Text("secret", "name") is { } projectedSecret) yield return $"secrets/{projectedSecret}";
        }
    }

    private IEnumerable<VolumeFile> Projected(JsonObject pod, string volume, JsonObject source, UnixFileMode mode)
    {
        if (source.Map("configMap") is { } map) return FromMap(pod, map, map.Text("name"), isSecret: false, mode);
        if (source.Map("secret") is { } secret) return FromMap(pod, secret, secret.Text("name"), isSecret: true, mode);
        if (source.Map("downwardAPI") is { } downward) return Downward(pod, downward, mode);
        if (source.Map("serviceAccountToken") is { } token)
            return [new VolumeFile(token.Text("path") ?? "token", Token(pod, $"{volume}/{token.Text("path")}", token), mode)];
        if (source.Map("clusterTrustBundle") is { } bundle)
        {
            return bundle.Flag("optional") == true
                ? []
                : throw new VolumeException("clusterTrustBundle volumes are not served by this cluster");
        }
        return [];
    }

    private IEnumerable<VolumeFile> FromMap(JsonObject pod, JsonObject reference, string? name, bool isSecret, UnixFileMode mode)
    {
        var found = isSecret ? sources.Secret(pod.Namespace(), name ?? "") : sources.ConfigMap(pod.Namespace(), name ?? "");
        var optional = reference.Flag("optional") == true;
        if (found is null)
            return optional ? [] : throw new VolumeException($"{(isSecret ? "secret" : "configmap")} \"{name}\" not found");
        var data = new Dictionary<string, byte[]>(StringComparer.Ordinal);
        foreach (var (key, value) in found.TextMap("data")) data[key] = isSecret ? Convert.FromBase64String(value) : System.Text.Encoding.UTF8.GetBytes(value);
        foreach (var (key, value) in found.TextMap("binaryData")) data[key] = Convert.FromBase64String(value);
        if (reference.List("items") is null) return data.Select(d => new VolumeFile(d.Key, d.Value, mode));
        return reference.Objects("items").Where(i => !optional || data.ContainsKey(i.Text("key") ?? "")).Select(item =>
        {
            var key = item.Text("key") ?? "";
            return data.TryGetValue(key, out var value)
                ? new VolumeFile(SafePath(item.Text("path") ?? key), value, item.Number("mode") is null ? mode : Mode(item, "mode"))
                : throw new VolumeException($"references non-existent {(isSecret ? "secret" : "config")} key: {key}");
        });
    }

    private IEnumerable<VolumeFile> Downward(JsonObject pod, JsonObject downward, UnixFileMode mode) => downward.Objects("items").Select(item =>
    {
        var value = item.Text("fieldRef", "fieldPath") is { } path
            ? FieldReferences.Field(pod, path)
            : item.Map("resourceFieldRef") is { } resource ? FieldReferences.Resource(pod, null, resource, sources.Node(pod.NodeName())) : "";
        return new VolumeFile(SafePath(item.Text("path") ?? ""), value ?? "", item.Number("mode") is null ? mode : Mode(item, "mode"));
    });

    // Asked for once and again after four fifths of its life, as the kubelet's token manager does.
    private string Token(JsonObject pod, string key, JsonObject request)
    {
        var now = clock.GetUtcNow();
        if (_tokens.TryGetValue(key, out var held) && now < held.RenewAt) return held.Token;
        var lifetime = TimeSpan.FromSeconds(request.Number("expirationSeconds") ?? 3600);
        var token = tokens(pod, request.Text("audience"), lifetime, out _);
        _tokens[key] = (token, now + lifetime * 0.8);
        return token;
    }

    private static string SafePath(string path) =>
        path.Length > 0 && !path.StartsWith('/') && !path.Split('/').Contains("..") ? path : throw new VolumeException($"\"{path}\" is not a path inside a volume");

    private static UnixFileMode Mode(JsonObject node, string name) => (UnixFileMode)(node.Number(name) ?? 420);
}
