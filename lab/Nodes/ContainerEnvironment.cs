using System.Text;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Nodes;

/// <summary>A container cannot be configured; the message shows as CreateContainerConfigError.</summary>
public sealed class ContainerConfigurationException(string message) : Exception(message);

/// <summary>The objects a container's environment refers to.</summary>
internal interface IEnvironmentSources
{
    /// <summary>Null when absent.</summary>
    JsonObject? ConfigMap(string ns, string name);

    /// <summary>Null when absent.</summary>
    JsonObject? Secret(string ns, string name);

    IEnumerable<JsonObject> Services(string ns);

    JsonObject? Node(string name);
}

/// <summary>The environment of a container: service links, envFrom, env, with references and <c>$(NAME)</c> resolved. Pure but for its sources.</summary>
internal static class ContainerEnvironment
{
    /// <summary>In order; later entries win.</summary>
    /// <exception cref="ContainerConfigurationException">A required ConfigMap, Secret or key is missing.</exception>
    public static IReadOnlyList<KeyValuePair<string, string>> Build(JsonObject pod, JsonObject container, IEnvironmentSources sources)
    {
        var result = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ["HOME"] = "/root",
            ["HOSTNAME"] = pod.Hostname(),
        };
        var links = ServiceLinks(pod, sources);
        foreach (var from in container.Objects("envFrom")) AddAll(result, pod, from, sources);
        // Service variables come before env, so that $(MY_SVC_SERVICE_HOST) can be used there and env can replace them.
        foreach (var (name, value) in links) result.TryAdd(name, value);
        foreach (var variable in container.Objects("env"))
        {
            if (Value(pod, container, variable, sources, result) is { } value) result[variable.Text("name") ?? ""] = value;
        }
        return [.. result];
    }

    /// <summary>Command and arguments with <c>$(NAME)</c> resolved.</summary>
    public static IEnumerable<string> Expand(IEnumerable<string> words, IReadOnlyList<KeyValuePair<string, string>> environment)
    {
        var known = environment.ToDictionary(e => e.Key, e => e.Value, StringComparer.Ordinal);
        return words.Select(w => Expand(w, known));
    }

    /// <summary><c>$(NAME)</c> becomes the value, <c>$$</c> a dollar; an unknown name stays as written.</summary>
    internal static string Expand(string text, IReadOnlyDictionary<string, string> known)
    {
        var result = new StringBuilder(text.Length);
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] != '$' || i + 1 == text.Length)
            {
                result.Append(text[i]);
            }
            else if (text[i + 1] == '$')
            {
                result.Append('$');
                i++;
            }
            else if (text[i + 1] == '(' && text.IndexOf(')', i) is var end and > 0)
            {
                result.Append(known.TryGetValue(text[(i + 2)..end], out var value) ? value : text[i..(end + 1)]);
                i = end;
            }
            else
            {
                result.Append('$');
            }
        }
        return result.ToString();
    }

    private static void AddAll(Dictionary<string, string> result, JsonObject pod, JsonObject from, IEnvironmentSources sources)
    {
        var prefix = from.Text("prefix") ?? "";
        var (reference, isSecret) = from.Map("configMapRef") is { } map ? (map, false) : (from.Map("secretRef"), true);
        if (reference is null) return;
        if (Data(pod, reference, isSecret, sources) is not { } data) return;
        foreach (var (key, value) in data) result[prefix + key] = value;
    }

    private static string? Value(JsonObject pod, JsonObject container, JsonObject variable, IEnvironmentSources sources, Dictionary<string, string> known)
    {
        if (variable.Map("valueFrom") is not { } from) return Expand(variable.Text("value") ?? "", known);
        if (from.Text("fieldRef", "fieldPath") is { } path)
            return FieldReferences.Field(pod, path) ?? throw new ContainerConfigurationException($"unsupported fieldPath: {path}");
        if (from.Map("resourceFieldRef") is { } resource) return FieldReferences.Resource(pod, container, resource, sources.Node(pod.NodeName()));
        var isSecret = from.Map("secretKeyRef") is not null;
        if ((from.Map("configMapKeyRef") ?? from.Map("secretKeyRef")) is not { } reference) return null;
        if (Data(pod, reference, isSecret, sources) is not { } data) return null;
        if (data.TryGetValue(reference.Text("key") ?? "", out var value)) return value;
        return reference.Flag("optional") == true
            ? null
            : throw new ContainerConfigurationException($"couldn't find key {reference.Text("key")} in {(isSecret ? "Secret" : "ConfigMap")} {pod.Namespace()}/{reference.Text("name")}");
    }

    private static Dictionary<string, string>? Data(JsonObject pod, JsonObject reference, bool isSecret, IEnvironmentSources sources)
    {
        var name = reference.Text("name") ?? "";
        var found = isSecret ? sources.Secret(pod.Namespace(), name) : sources.ConfigMap(pod.Namespace(), name);
        if (found is null)
        {
            if (reference.Flag("optional") == true) return null;
            throw new ContainerConfigurationException($"{(isSecret ? "secret" : "configmap")} \"{name}\" not found");
        }
        return isSecret
            ? found.TextMap("data").ToDictionary(d => d.Key, d => Encoding.UTF8.GetString(Convert.FromBase64String(d.Value)))
            : found.TextMap("data");
    }

    private static IEnumerable<KeyValuePair<string, string>> ServiceLinks(JsonObject pod, IEnvironmentSources sources)
    {
        var links = pod.Flag("spec", "enableServiceLinks") != false ? sources.Services(pod.Namespace()) : [];
        var api = sources.Services("default").Where(s => s.Name() == "kubernetes");
        foreach (var service in links.Where(s => !(s.Namespace() == "default" && s.Name() == "kubernetes")).Concat(api))
        {
            foreach (var variable in ServiceVariables(service)) yield return variable;
        }
    }

    // Source: kubelet envvars.FromServices, as recorded in the samples (inside-a-container).
    private static IEnumerable<KeyValuePair<string, string>> ServiceVariables(JsonObject service)
    {
        if (service.Text("spec", "clusterIP") is not { Length: > 0 } address || address == "None") yield break;
        var ports = service.Objects("spec", "ports").ToArray();
        if (ports.Length == 0) yield break;
        var prefix = Name(service.Name());
        var host = address.Contains(':') ? $"[{address}]" : address;
        yield return new($"{prefix}_SERVICE_HOST", address);
        yield return new($"{prefix}_SERVICE_PORT", $"{ports[0].Number("port")}");
        foreach (var port in ports)
        {
            if (port.Text("name") is { Length: > 0 } name) yield return new($"{prefix}_SERVICE_PORT_{Name(name)}", $"{port.Number("port")}");
        }
        for (var i = 0; i < ports.Length; i++)
        {
            var (number, protocol) = (ports[i].Number("port"), (ports[i].Text("protocol") ?? "TCP").ToLowerInvariant());
            var url = $"{protocol}://{host}:{number}";
            if (i == 0) yield return new($"{prefix}_PORT", url);
            var portPrefix = $"{prefix}_PORT_{number}_{protocol.ToUpperInvariant()}";
            yield return new(portPrefix, url);
            yield return new($"{portPrefix}_PROTO", protocol);
            yield return new($"{portPrefix}_PORT", $"{number}");
            yield return new($"{portPrefix}_ADDR", address);
        }
    }

    private static string Name(string name) => name.ToUpperInvariant().Replace('-', '_');
}
