using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.Semantics;

/// <summary>What a pod spec holds when its author left it out; for pods and for templates.</summary>
internal static class PodDefaults
{
    public static void Spec(JsonObject spec)
    {
        spec.Default("restartPolicy", "Always");
        spec.Default("terminationGracePeriodSeconds", 30);
        spec.Default("dnsPolicy", "ClusterFirst");
        spec.Default("securityContext", new JsonObject());
        spec.Default("schedulerName", "default-scheduler");
        if (spec.Text("serviceAccountName") is { Length: > 0 } account) spec["serviceAccount"] = account;
        else if (spec.Text("serviceAccount") is { Length: > 0 } deprecated) spec["serviceAccountName"] = deprecated;
        foreach (var volume in spec.Objects("volumes")) Volume(volume);
        var hostNetwork = spec.Flag("hostNetwork") == true;
        foreach (var container in Containers(spec)) Container(container, hostNetwork);
    }

    /// <summary>All containers of a pod spec: init, main, ephemeral.</summary>
    public static IEnumerable<JsonObject> Containers(JsonObject? spec) =>
        spec.Objects("initContainers").Concat(spec.Objects("containers")).Concat(spec.Objects("ephemeralContainers"));

    private static void Container(JsonObject container, bool hostNetwork)
    {
        container.Default("terminationMessagePath", "/dev/termination-log");
        container.Default("terminationMessagePolicy", "File");
        container.Default("imagePullPolicy", PullsAlways(container.Text("image") ?? "") ? "Always" : "IfNotPresent");
        foreach (var port in container.Objects("ports"))
        {
            port.Default("protocol", "TCP");
            if (hostNetwork && port.Number("hostPort") is null or 0) port["hostPort"] = JsonTree.CopyNode(port["containerPort"]);
        }
        foreach (var variable in container.Objects("env"))
        {
            if (variable.Map("valueFrom", "fieldRef") is { } field) field.Default("apiVersion", "v1");
            if (variable.Map("valueFrom", "resourceFieldRef") is { } resource) resource.Default("divisor", "0");
        }
        foreach (var name in (string[])["livenessProbe", "readinessProbe", "startupProbe"])
            if (container.Map(name) is { } probe) Probe(probe);
        foreach (var hook in (string[])["postStart", "preStop"])
            if (container.Map("lifecycle", hook, "httpGet") is { } get) HttpGet(get);
        if (container.Map("resources", "limits") is { } limits)
        {
            var requests = container.Ensure("resources", "requests");
            foreach (var (name, value) in limits.ToList()) requests.Default(name, JsonTree.CopyNode(value));
        }
    }

    private static bool PullsAlways(string image)
    {
        if (image.Contains('@', StringComparison.Ordinal)) return false;
        var tag = image[(image.LastIndexOf('/') + 1)..].Split(':');
        return tag.Length < 2 || tag[1] == "latest";
    }

    private static void Probe(JsonObject probe)
    {
        probe.Default("timeoutSeconds", 1);
        probe.Default("periodSeconds", 10);
        probe.Default("successThreshold", 1);
        probe.Default("failureThreshold", 3);
        if (probe.Map("httpGet") is { } get) HttpGet(get);
        if (probe.Map("grpc") is { } grpc) grpc.Default("service", "");
    }

    private static void HttpGet(JsonObject get)
    {
        get.Default("path", "/");
        get.Default("scheme", "HTTP");
    }

    private static void Volume(JsonObject volume)
    {
        if (volume.Count == 1) volume["emptyDir"] = new JsonObject();
        foreach (var kind in (string[])["secret", "configMap", "downwardAPI", "projected"])
            volume.Map(kind)?.Default("defaultMode", 420);
        if (volume.Map("hostPath") is { } path) path.Default("type", "");
        DownwardItems(volume.Map("downwardAPI"));
        foreach (var source in volume.Objects("projected", "sources"))
        {
            source.Map("serviceAccountToken")?.Default("expirationSeconds", 3600);
            DownwardItems(source.Map("downwardAPI"));
        }
    }

    private static void DownwardItems(JsonObject? downward)
    {
        foreach (var item in downward.Objects("items"))
        {
            item.Map("fieldRef")?.Default("apiVersion", "v1");
            item.Map("resourceFieldRef")?.Default("divisor", "0");
        }
    }

    /// <summary>Guaranteed, Burstable or BestEffort by the containers' resources.</summary>
    public static string QosClass(JsonObject spec)
    {
        var containers = spec.Objects("containers").Concat(spec.Objects("initContainers")).ToList();
        bool Any(string side) => containers.Any(c => c.Map("resources", side) is { Count: > 0 });
        if (!Any("requests") && !Any("limits")) return "BestEffort";
        var guaranteed = containers.All(c => ((string[])["cpu", "memory"]).All(r =>
            c.Text("resources", "limits", r) is { } limit && (c.Text("resources", "requests", r) ?? limit) == limit));
        return guaranteed ? "Guaranteed" : "Burstable";
    }
}
