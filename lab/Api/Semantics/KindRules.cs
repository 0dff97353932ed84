using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.Semantics;

/// <summary>Which kind follows which rule.</summary>
public static class KindRules
{
    public static KindRule Plain { get; } = new();

    public static IReadOnlyDictionary<GroupResource, KindRule> All { get; } = new Dictionary<GroupResource, KindRule>
    {
        [new("", "pods")] = new PodRule(),
        [new("", "services")] = new ServiceRule(),
        [new("", "namespaces")] = new NamespaceRule(),
        [new("", "configmaps")] = new DataRule(isSecret: false),
        [new("", "secrets")] = new DataRule(isSecret: true),
        [new("", "nodes")] = new DefaultsOnly(_ => { }, keepsStatus: true),
        [new("", "events")] = new EventRule(),
        [new("", "replicationcontrollers")] = new ReplicationControllerRule(),
        [new("", "persistentvolumeclaims")] = new DefaultsOnly(o =>
        {
            o.Ensure("spec").Default("volumeMode", "Filesystem");
            o.Ensure("status").Default("phase", "Pending");
        }),
        [new("", "endpoints")] = new DefaultsOnly(o =>
        {
            foreach (var port in o.Objects("subsets").SelectMany(s => s.Objects("ports"))) port.Default("protocol", "TCP");
        }),
        [new("apps", "deployments")] = new DeploymentRule(),
        [new("apps", "replicasets")] = new ReplicaSetRule(),
        [new("apps", "daemonsets")] = new DaemonSetRule(),
        [new("apps", "statefulsets")] = new StatefulSetRule(),
        [new("batch", "jobs")] = new JobRule(),
        [new("batch", "cronjobs")] = new CronJobRule(),
        [new("rbac.authorization.k8s.io", "roles")] = new RoleRule(),
        [new("rbac.authorization.k8s.io", "clusterroles")] = new RoleRule(),
        [new("rbac.authorization.k8s.io", "rolebindings")] = new BindingRule(),
        [new("rbac.authorization.k8s.io", "clusterrolebindings")] = new BindingRule(),
        [new("discovery.k8s.io", "endpointslices")] = new EndpointSliceRule(),
        [new("coordination.k8s.io", "leases")] = new LeaseRule(),
        [new("networking.k8s.io", "ingresses")] = new DefaultsOnly(o => o.Ensure("status").Default("loadBalancer", new JsonObject()), hasGeneration: true),
        [new("networking.k8s.io", "ingressclasses")] = new DefaultsOnly(_ => { }, hasGeneration: true),
        [new("networking.k8s.io", "networkpolicies")] = new DefaultsOnly(NetworkPolicy, hasGeneration: true),
        [new("policy", "poddisruptionbudgets")] = new DefaultsOnly(_ => { }, hasGeneration: true),
        [new("scheduling.k8s.io", "priorityclasses")] = new DefaultsOnly(o => o.Default("preemptionPolicy", "PreemptLowerPriority"), hasGeneration: true),
        [new("autoscaling", "horizontalpodautoscalers")] = new DefaultsOnly(o => o.Ensure("spec").Default("minReplicas", 1)),
        [new("admissionregistration.k8s.io", "mutatingwebhookconfigurations")] = new DefaultsOnly(o => Webhooks(o, mutating: true), hasGeneration: true),
        [new("admissionregistration.k8s.io", "validatingwebhookconfigurations")] = new DefaultsOnly(o => Webhooks(o, mutating: false), hasGeneration: true),
        [new("admissionregistration.k8s.io", "validatingadmissionpolicies")] = new DefaultsOnly(AdmissionPolicy, hasGeneration: true),
        [new("admissionregistration.k8s.io", "validatingadmissionpolicybindings")] = new DefaultsOnly(AdmissionPolicyBinding, hasGeneration: true),
        [new("storage.k8s.io", "storageclasses")] = new DefaultsOnly(o =>
        {
            o.Default("reclaimPolicy", "Delete");
            o.Default("volumeBindingMode", "Immediate");
        }),
        [new("apiregistration.k8s.io", "apiservices")] = new DefaultsOnly(_ => { }, name: _ => null),
        [new("apiextensions.k8s.io", "customresourcedefinitions")] = new CustomResources.DefinitionRule(),
    };

    private static void NetworkPolicy(JsonObject o)
    {
        var spec = o.Ensure("spec");
        if (spec["policyTypes"] is null)
            spec["policyTypes"] = spec.List("egress") is { Count: > 0 } ? new JsonArray("Ingress", "Egress") : new JsonArray("Ingress");
        foreach (var port in spec.Objects("ingress").Concat(spec.Objects("egress")).SelectMany(r => r.Objects("ports"))) port.Default("protocol", "TCP");
    }

    private static void Webhooks(JsonObject o, bool mutating)
    {
        foreach (var hook in o.Objects("webhooks"))
        {
            hook.Default("failurePolicy", "Fail");
            hook.Default("matchPolicy", "Equivalent");
            hook.Default("namespaceSelector", new JsonObject());
            hook.Default("objectSelector", new JsonObject());
            hook.Default("timeoutSeconds", 10);
            if (mutating) hook.Default("reinvocationPolicy", "Never");
            hook.Map("clientConfig", "service")?.Default("port", 443);
            foreach (var rule in hook.Objects("rules")) rule.Default("scope", "*");
        }
    }

    private static void AdmissionPolicy(JsonObject o)
    {
        var spec = o.Ensure("spec");
        spec.Default("failurePolicy", "Fail");
        if (spec.Map("matchConstraints") is { } match) MatchResources(match);
    }

    private static void AdmissionPolicyBinding(JsonObject o)
    {
        if (o.Map("spec", "matchResources") is { } match) MatchResources(match);
    }

    private static void MatchResources(JsonObject match)
    {
        match.Default("matchPolicy", "Equivalent");
        match.Default("namespaceSelector", new JsonObject());
        match.Default("objectSelector", new JsonObject());
        foreach (var rule in match.Objects("resourceRules").Concat(match.Objects("excludeResourceRules"))) rule.Default("scope", "*");
    }
}

/// <summary>Events belong to the namespace of their object.</summary>
internal sealed class EventRule : KindRule
{
    public override IEnumerable<FieldError> Validate(JsonObject o, JsonObject? old)
    {
        if (old is not null) yield break;
        var ns = o.Text("involvedObject", "namespace") ?? "";
        if (ns.Length == 0 ? o.Namespace() is not ("default" or "kube-system") : ns != o.Namespace())
            yield return FieldError.InvalidText("involvedObject.namespace", ns, "does not match event.namespace");
    }
}
