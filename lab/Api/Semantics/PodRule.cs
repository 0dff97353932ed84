using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Semantics;

/// <summary>Pods: defaults, first status, what may change, graceful deletion.</summary>
internal sealed class PodRule : KindRule
{
    private const string Immutable =
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n";

    public override bool HasGeneration => true;

    public override void Default(JsonObject o)
    {
        var spec = o.Ensure("spec");
        PodDefaults.Spec(spec);
        spec.Default("enableServiceLinks", true);
    }

    public override void OnCreate(JsonObject o, ClusterStore store) =>
        o["status"] = new JsonObject { ["phase"] = "Pending", ["qosClass"] = PodDefaults.QosClass(o.Ensure("spec")) };

    public override IEnumerable<FieldError> Validate(JsonObject o, JsonObject? old)
    {
        if (old is null)
        {
            foreach (var error in PodValidation.Spec(o.Map("spec") ?? [], "spec")) yield return error;
            yield break;
        }
        var was = Mutable(old);
        var now = Mutable(o);
        if (JsonTree.Same(was, now)) yield break;
        yield return FieldError.Forbidden("spec", Immutable + string.Concat(now.Union(was)
            .Select(p => p.Key).Distinct(StringComparer.Ordinal).Where(k => !JsonTree.Same(was[k], now[k]))
            .Select(k => $"- {k}: {was[k]?.ToJsonString()}\n+ {k}: {now[k]?.ToJsonString()}\n")));
    }

    /// <summary>The spec without what may change.</summary>
    private static JsonObject Mutable(JsonObject pod)
    {
        var spec = (pod.Map("spec") ?? []).Copy();
        foreach (var container in spec.Objects("containers").Concat(spec.Objects("initContainers"))) container.Remove("image");
        foreach (var field in (string[])["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "ephemeralContainers"]) spec.Remove(field);
        if (pod.Text("spec", "nodeName") is null or "") spec.Remove("schedulingGates");
        return spec;
    }

    public override long? GracePeriod(JsonObject o, DeleteOptions options)
    {
        if (o.Text("spec", "nodeName") is null or "" || o.Text("status", "phase") is "Succeeded" or "Failed") return 0;
        return options.GracePeriodSeconds ?? o.Number("metadata", "deletionGracePeriodSeconds") ?? o.Number("spec", "terminationGracePeriodSeconds") ?? 30;
    }
}

/// <summary>What makes a pod spec unusable.</summary>
internal static class PodValidation
{
    public static IEnumerable<FieldError> Spec(JsonObject spec, string path)
    {
        var containers = spec.Objects("containers").ToList();
        if (containers.Count == 0) yield return FieldError.Required($"{path}.containers");
        var volumes = spec.Objects("volumes").Select(v => v.Text("name") ?? "").ToHashSet(StringComparer.Ordinal);
        var index = 0;
        foreach (var volume in spec.Objects("volumes"))
        {
            if (volume.Text("name") is not { Length: > 0 } name) yield return FieldError.Required($"{path}.volumes[{index}].name");
            else if (Names.LabelProblem(name) is { } problem) yield return FieldError.InvalidText($"{path}.volumes[{index}].name", name, problem);
            index++;
        }
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (var list in (string[])["initContainers", "containers"])
        {
            index = 0;
            foreach (var container in spec.Objects(list))
                foreach (var error in Container(container, $"{path}.{list}[{index++}]", volumes, names)) yield return error;
        }
        if (spec.Text("restartPolicy") is { } restart && restart is not ("Always" or "OnFailure" or "Never"))
            yield return FieldError.Unsupported($"{path}.restartPolicy", FieldError.Quote(restart), ["Always", "Never", "OnFailure"]);
        if (spec.Text("dnsPolicy") is { } dns && dns is not ("ClusterFirst" or "ClusterFirstWithHostNet" or "Default" or "None"))
            yield return FieldError.Unsupported($"{path}.dnsPolicy", FieldError.Quote(dns), ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
    }

    private static IEnumerable<FieldError> Container(JsonObject container, string path, HashSet<string> volumes, HashSet<string> names)
    {
        if (container.Text("name") is not { Length: > 0 } name) yield return FieldError.Required($"{path}.name");
        else if (Names.LabelProblem(name) is { } problem) yield return FieldError.InvalidText($"{path}.name", name, problem);
        else if (!names.Add(name)) yield return FieldError.Duplicate($"{path}.name", FieldError.Quote(name));
        if (container.Text("image") is not { Length: > 0 }) yield return FieldError.Required($"{path}.image");
        var index = 0;
        foreach (var port in container.Objects("ports"))
        {
            if (port.Number("containerPort") is not (>= 1 and <= 65535) and var number)
                yield return number is null ? FieldError.Required($"{path}.ports[{index}].containerPort")
                    : FieldError.Invalid($"{path}.ports[{index}].containerPort", $"{number}", "must be between 1 and 65535, inclusive");
            index++;
        }
        index = 0;
        foreach (var mount in container.Objects("volumeMounts"))
        {
            var volume = mount.Text("name") ?? "";
            if (!volumes.Contains(volume)) yield return new FieldError("FieldValueNotFound", $"{path}.volumeMounts[{index}].name", $"Not found: {FieldError.Quote(volume)}");
            if (mount.Text("mountPath") is not { Length: > 0 }) yield return FieldError.Required($"{path}.volumeMounts[{index}].mountPath");
            index++;
        }
        index = 0;
        foreach (var variable in container.Objects("env"))
        {
            if (variable.Text("name") is not { Length: > 0 }) yield return FieldError.Required($"{path}.env[{index}].name");
            index++;
        }
        if (container.Text("imagePullPolicy") is { } policy && policy is not ("Always" or "IfNotPresent" or "Never"))
            yield return FieldError.Unsupported($"{path}.imagePullPolicy", FieldError.Quote(policy), ["Always", "IfNotPresent", "Never"]);
    }
}
