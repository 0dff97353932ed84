using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.Semantics;

/// <summary>The admission steps every cluster runs, in order.</summary>
internal static class AdmissionChain
{
    private static readonly GroupResource Namespaces = new("", "namespaces");
    private static readonly GroupResource Accounts = new("", "serviceaccounts");
    private static readonly GroupResource PriorityClasses = new("scheduling.k8s.io", "priorityclasses");
    private const string TokenMountPath = "/var/run/secrets/kubernetes.io/serviceaccount";

    public static IReadOnlyList<Action<AdmissionRequest>> All { get; } = [NamespaceLifecycle, ServiceAccount, Priority, Tolerations];

    /// <summary>Nothing new in a namespace that is missing or ending.</summary>
    private static void NamespaceLifecycle(AdmissionRequest r)
    {
        if (!r.IsCreate || !r.Resource.IsNamespaced) return;
        var name = r.Object.Namespace();
        var ns = r.Store.TryGet(Namespaces, "", name) ?? throw ApiErrors.NotFound(Namespaces, name);
        if (!ns.IsTerminating()) return;
        var cause = new JsonObject { ["reason"] = "NamespaceTerminating", ["message"] = $"namespace {name} is being terminated", ["field"] = "metadata.namespace" };
        throw ApiErrors.Forbidden(r.Resource.GroupResource, r.Object.Name(), $"unable to create new content in namespace {name} because it is being terminated", new JsonArray(cause));
    }

    /// <summary>Every pod has an account, and its token where the account does not refuse.</summary>
    private static void ServiceAccount(AdmissionRequest r)
    {
        if (!r.IsCreate || !r.Is("", "pods")) return;
        var spec = r.Object.Ensure("spec");
        if (r.Object.Annotations().ContainsKey("kubernetes.io/config.mirror")) return;
        if (spec.Text("serviceAccountName") is not { Length: > 0 } name) spec["serviceAccountName"] = name = "default";
        spec["serviceAccount"] = name;
        var account = r.Store.TryGet(Accounts, r.Object.Namespace(), name)
            ?? throw ApiErrors.Forbidden(r.Resource.GroupResource, r.Object.Name(),
                $"error looking up service account {r.Object.Namespace()}/{name}: serviceaccount \"{name}\" not found");
        if (spec.List("imagePullSecrets") is null or { Count: 0 } && account.List("imagePullSecrets") is { Count: > 0 } secrets)
            spec["imagePullSecrets"] = JsonTree.CopyNode(secrets);
        if (spec.Flag("automountServiceAccountToken") ?? account.Flag("automountServiceAccountToken") ?? true) MountToken(spec);
    }

    private static void MountToken(JsonObject spec)
    {
        var containers = spec.Objects("initContainers").Concat(spec.Objects("containers"))
            .Where(c => !c.Objects("volumeMounts").Any(m => m.Text("mountPath") == TokenMountPath)).ToList();
        if (containers.Count == 0) return;
        var volume = $"kube-api-access-{Names.RandomSuffix()}";
        if (spec["volumes"] is not JsonArray volumes) spec["volumes"] = volumes = [];
        volumes.Add(new JsonObject
        {
            ["name"] = volume,
            ["projected"] = new JsonObject
            {
                ["sources"] = new JsonArray(
                    new JsonObject { ["serviceAccountToken"] = new JsonObject { ["expirationSeconds"] = JsonTree.Number(3607), ["path"] = "token" } },
                    new JsonObject { ["configMap"] = new JsonObject { ["name"] = "kube-root-ca.crt", ["items"] = new JsonArray(new JsonObject { ["key"] = "ca.crt", ["path"] = "ca.crt" }) } },
                    new JsonObject
                    {
                        ["downwardAPI"] = new JsonObject
                        {
                            ["items"] = new JsonArray(new JsonObject
                            {
                                ["path"] = "namespace",
                                ["fieldRef"] = new JsonObject { ["apiVersion"] = "v1", ["fieldPath"] = "metadata.namespace" },
                            }),
                        },
                    }),
                ["defaultMode"] = JsonTree.Number(420),
            },
        });
        foreach (var container in containers)
        {
            if (container["volumeMounts"] is not JsonArray mounts) container["volumeMounts"] = mounts = [];
            mounts.Add(new JsonObject { ["name"] = volume, ["readOnly"] = true, ["mountPath"] = TokenMountPath });
        }
    }

    private static void Priority(AdmissionRequest r)
    {
        if (!r.IsCreate || !r.Is("", "pods")) return;
        var spec = r.Object.Ensure("spec");
        var preemption = "PreemptLowerPriority";
        long value = 0;
        if (spec.Text("priorityClassName") is { Length: > 0 } name)
        {
            var @class = r.Store.TryGet(PriorityClasses, "", name)
                ?? throw ApiErrors.Forbidden(r.Resource.GroupResource, r.Object.Name(), $"no PriorityClass with name {name} was found");
            value = @class.Number("value") ?? 0;
            preemption = @class.Text("preemptionPolicy") ?? preemption;
        }
        spec["priority"] = JsonTree.Number(value);
        spec.Default("preemptionPolicy", preemption);
    }

    private static void Tolerations(AdmissionRequest r)
    {
        if (!r.IsCreate || !r.Is("", "pods")) return;
        var spec = r.Object.Ensure("spec");
        if (spec["tolerations"] is not JsonArray tolerations) spec["tolerations"] = tolerations = [];
        foreach (var key in (string[])["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"])
        {
            var tolerated = tolerations.OfType<JsonObject>().Any(t => (t.Text("key") == key || t.Text("key") is null or "") && t.Text("effect") is "NoExecute" or null or "");
            if (!tolerated)
                tolerations.Add(new JsonObject { ["key"] = key, ["operator"] = "Exists", ["effect"] = "NoExecute", ["tolerationSeconds"] = JsonTree.Number(300) });
        }
    }
}
