using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Bootstrap;

/// <summary>What every namespace gets when it begins, and the emptying of one that ends.</summary>
internal sealed class NamespaceContents(ClusterStore store, string authorityPem)
{
    private static readonly GroupResource Namespaces = new("", "namespaces");
    private static readonly GroupResource Accounts = new("", "serviceaccounts");
    private static readonly GroupResource ConfigMaps = new("", "configmaps");
    private static readonly GroupResource Pods = new("", "pods");
    private const string RootConfigMap = "kube-root-ca.crt";
    private const string Description =
        "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

    public void Observe(Change change)
    {
        if (change.Resource == Namespaces && change.After is { } ns)
        {
            if (ns.IsTerminating()) Empty(ns);
            else Furnish(ns.Name());
            return;
        }
        if (change.After is not null) return;
        var gone = change.Before!;
        if (gone.Namespace().Length == 0 || store.TryGet(Namespaces, "", gone.Namespace()) is not { } owner) return;
        if (owner.IsTerminating()) Empty(owner);
        else if ((change.Resource == Accounts && gone.Name() == "default") || (change.Resource == ConfigMaps && gone.Name() == RootConfigMap)) Furnish(owner.Name());
    }

    /// <summary>The default account and the cluster's root certificate.</summary>
    public void Furnish(string ns)
    {
        if (store.TryGet(ConfigMaps, ns, RootConfigMap) is null)
        {
            store.Create(ConfigMaps, new JsonObject
            {
                ["metadata"] = new JsonObject { ["name"] = RootConfigMap, ["namespace"] = ns, ["annotations"] = new JsonObject { ["kubernetes.io/description"] = Description } },
                ["data"] = new JsonObject { ["ca.crt"] = authorityPem },
            }, WriteOptions.By("kube-controller-manager"));
        }
        if (store.TryGet(Accounts, ns, "default") is null)
            store.Create(Accounts, new JsonObject { ["metadata"] = new JsonObject { ["name"] = "default", ["namespace"] = ns } }, WriteOptions.By("kube-controller-manager"));
    }

    private void Empty(JsonObject ns)
    {
        var name = ns.Name();
        if (store.TryGet(Namespaces, "", name) is not { } current || !current.IsTerminating()) return;
        var selection = new Selection(name);
        var remaining = new List<(GroupResource Resource, JsonObject Object)>();
        // Pods first: what they use goes when they are gone.
        foreach (var resource in store.Populated().OrderBy(r => r == Pods ? 0 : 1))
        {
            foreach (var o in store.List(resource, selection).Items)
            {
                if (!o.IsTerminating()) store.Delete(resource, name, o.Name(), new DeleteOptions { Propagation = Propagation.Background });
                if (store.TryGet(resource, name, o.Name()) is { } left) remaining.Add((resource, left));
            }
        }
        SetConditions(name, remaining);
        if (remaining.Count == 0) store.FinalizeNamespace(name, [.. current.Texts("spec", "finalizers").Where(f => f != "kubernetes")]);
    }

    private void SetConditions(string ns, List<(GroupResource Resource, JsonObject Object)> remaining)
    {
        var content = string.Join(", ", remaining.GroupBy(r => r.Resource).Select(g => $"{Kind(g.Key)} has {g.Count()} resource instances"));
        var finalizers = string.Join(", ", remaining.SelectMany(r => r.Object.Finalizers()).GroupBy(f => f, StringComparer.Ordinal).Select(g => $"{g.Key} in {g.Count()} resource instances"));
        (string Type, bool IsTrue, string Reason, string Message)[] conditions =
        [
            ("NamespaceDeletionDiscoveryFailure", false, "ResourcesDiscovered", "All resources successfully discovered"),
            ("NamespaceDeletionGroupVersionParsingFailure", false, "ParsedGroupVersions", "All legacy kube types successfully parsed"),
            ("NamespaceDeletionContentFailure", false, "ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
            ("NamespaceContentRemaining", remaining.Count > 0, remaining.Count > 0 ? "SomeResourcesRemain" : "ContentRemoved",
                remaining.Count > 0 ? $"Some resources are remaining: {content}" : "All content successfully removed"),
            ("NamespaceFinalizersRemaining", finalizers.Length > 0, finalizers.Length > 0 ? "SomeFinalizersRemain" : "ContentHasNoFinalizers",
                finalizers.Length > 0 ? $"Some content in the namespace has finalizers remaining: {finalizers}" : "All content-preserving finalizers finished"),
        ];
        var now = KubernetesTime.Seconds(store.Clock.GetUtcNow());
        store.ModifyStatus(Namespaces, "", ns, o =>
        {
            var before = o.Objects("status", "conditions").ToDictionary(c => c.Text("type") ?? "", StringComparer.Ordinal);
            o.Ensure("status")["conditions"] = new JsonArray([.. conditions.Select(c =>
            {
                var status = c.IsTrue ? "True" : "False";
                var since = before.TryGetValue(c.Type, out var old) && old.Text("status") == status ? old.Text("lastTransitionTime") : now;
                return new JsonObject { ["type"] = c.Type, ["status"] = status, ["lastTransitionTime"] = since, ["reason"] = c.Reason, ["message"] = c.Message };
            })]);
        }, WriteOptions.By("kube-controller-manager"));
    }

    private static string Kind(GroupResource resource) => $"{resource.Resource}.{resource.Group}";
}
