using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Bootstrap;

/// <summary>The ClusterRoles and bindings every cluster starts with, as far as users and workloads lean on them.</summary>
internal static class BootstrapRoles
{
    private const string Rbac = "rbac.authorization.k8s.io";
    private static readonly GroupResource ClusterRoles = new(Rbac, "clusterroles");
    private static readonly GroupResource Bindings = new(Rbac, "clusterrolebindings");


    // role | verbs | groups | resources; or role | verbs | path,path…   (core group: "")
    private const string Rules = """
        cluster-admin|*|*|*
        cluster-admin|*|/*
        system:discovery|get|/api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/
        system:public-info-viewer|get|/healthz,/livez,/readyz,/version,/version/
        system:basic-user|create|authorization.k8s.io|selfsubjectaccessreviews,selfsubjectrulesreviews
        system:basic-user|create|authentication.k8s.io|selfsubjectreviews
        system:service-account-issuer-discovery|get|/.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,/openid/v1/jwks/
        system:auth-delegator|create|authentication.k8s.io|tokenreviews
        system:auth-delegator|create|authorization.k8s.io|subjectaccessreviews
        system:monitoring|get|/healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*
        system:aggregate-to-view|get,list,watch||configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status,bindings,events,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,resourcequotas,resourcequotas/status,namespaces
        system:aggregate-to-view|get,list,watch|discovery.k8s.io|endpointslices
        system:aggregate-to-view|get,list,watch|apps|controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,statefulsets/status
        system:aggregate-to-view|get,list,watch|autoscaling|horizontalpodautoscalers,horizontalpodautoscalers/status
        system:aggregate-to-view|get,list,watch|batch|cronjobs,cronjobs/status,jobs,jobs/status
        system:aggregate-to-view|get,list,watch|policy|poddisruptionbudgets,poddisruptionbudgets/status
        system:aggregate-to-view|get,list,watch|networking.k8s.io|ingresses,ingresses/status,networkpolicies
        system:aggregate-to-edit|get,list,watch||pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy
        system:aggregate-to-edit|impersonate||serviceaccounts
        system:aggregate-to-edit|create,delete,deletecollection,patch,update||pods,pods/attach,pods/exec,pods/portforward,pods/proxy,configmaps,events,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy
        system:aggregate-to-edit|create||pods/eviction,serviceaccounts/token
        system:aggregate-to-edit|create,delete,deletecollection,patch,update|apps|daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,statefulsets,statefulsets/scale
        system:aggregate-to-edit|create,delete,deletecollection,patch,update|autoscaling|horizontalpodautoscalers
        system:aggregate-to-edit|create,delete,deletecollection,patch,update|batch|cronjobs,jobs
        system:aggregate-to-edit|create,delete,deletecollection,patch,update|policy|poddisruptionbudgets
        system:aggregate-to-edit|create,delete,deletecollection,patch,update|networking.k8s.io|ingresses,networkpolicies
        system:aggregate-to-edit|create,delete,deletecollection,get,list,patch,update,watch|coordination.k8s.io|leases
        system:aggregate-to-admin|create|authorization.k8s.io|localsubjectaccessreviews
        system:aggregate-to-admin|create,delete,deletecollection,get,list,patch,update,watch|rbac.authorization.k8s.io|rolebindings,roles
        system:node|create|authentication.k8s.io|tokenreviews
        system:node|create|authorization.k8s.io|localsubjectaccessreviews,subjectaccessreviews
        system:node|get,list,watch||services,nodes,pods,configmaps,secrets,persistentvolumeclaims,persistentvolumes
        system:node|create,get,patch,update||nodes,nodes/status,pods/status
        system:node|create,delete||pods
        system:node|create||pods/eviction,serviceaccounts/token
        system:node|create,patch,update||events
        system:node|create,delete,get,patch,update|coordination.k8s.io|leases
        system:node-proxier|list,watch||services,endpoints,nodes
        system:node-proxier|get||nodes
        system:node-proxier|create,patch,update|,events.k8s.io|events
        system:node-proxier|list,watch|discovery.k8s.io|endpointslices
        system:kube-dns|list,watch||endpoints,services
        system:coredns|list,watch||endpoints,services,pods,namespaces
        system:coredns|list,watch|discovery.k8s.io|endpointslices
        system:kubelet-api-admin|get,list,watch,proxy||nodes
        system:kubelet-api-admin|*||nodes/proxy,nodes/log,nodes/metrics,nodes/stats,nodes/spec
        """;

    private static readonly (string Role, string Selects)[] Aggregated = [("admin", "admin"), ("edit", "edit"), ("view", "view")];

    private static readonly (string Role, string[] Groups)[] Bound =
    [
        ("cluster-admin", ["system:masters"]), ("system:basic-user", ["system:authenticated"]), ("system:discovery", ["system:authenticated"]),
        ("system:public-info-viewer", ["system:authenticated", "system:unauthenticated"]), ("system:service-account-issuer-discovery", ["system:serviceaccounts"]),
        ("system:monitoring", ["system:monitoring"]),
    ];

    public static void Create(ClusterStore store)
    {
        foreach (var role in Rules.Split('\n').Select(l => l.Split('|')).GroupBy(p => p[0], StringComparer.Ordinal))
        {
            var o = Named(role.Key);
            o["rules"] = new JsonArray([.. role.Select(Rule)]);
            var labels = o.Metadata().Ensure("labels");
            if (role.Key.StartsWith("system:aggregate-to-", StringComparison.Ordinal)) labels[$"{Rbac}/aggregate-to-{role.Key["system:aggregate-to-".Length..]}"] = "true";
            store.Create(ClusterRoles, o, WriteOptions.By("kube-apiserver"));
        }
        foreach (var (name, selects) in Aggregated) Aggregate(store, name, selects);
        foreach (var (role, groups) in Bound)
        {
            var binding = Named(role);
            binding["roleRef"] = new JsonObject { ["apiGroup"] = Rbac, ["kind"] = "ClusterRole", ["name"] = role };
            binding["subjects"] = new JsonArray([.. groups.Select(g => new JsonObject { ["apiGroup"] = Rbac, ["kind"] = "Group", ["name"] = g })]);
            store.Create(Bindings, binding, WriteOptions.By("kube-apiserver"));
        }
    }

    private static void Aggregate(ClusterStore store, string name, string selects)
    {
        var o = Named(name);
        // Every role of the chain admin > edit > view also takes part in the next wider one.
        if (name != "admin") o.Metadata().Ensure("labels")[$"{Rbac}/aggregate-to-{(name == "edit" ? "admin" : "edit")}"] = "true";
        o["aggregationRule"] = new JsonObject
        {
            ["clusterRoleSelectors"] = new JsonArray(new JsonObject { ["matchLabels"] = new JsonObject { [$"{Rbac}/aggregate-to-{selects}"] = "true" } }),
        };
        o["rules"] = new JsonArray();
        store.Create(ClusterRoles, o, WriteOptions.By("kube-apiserver"));
    }

    private static JsonObject Named(string name) => new()
    {
        ["metadata"] = new JsonObject
        {
            ["name"] = name,
            ["labels"] = new JsonObject { ["kubernetes.io/bootstrapping"] = "rbac-defaults" },
            ["annotations"] = new JsonObject { ["rbac.authorization.kubernetes.io/autoupdate"] = "true" },
        },
    };

    private static JsonObject Rule(string[] parts)
    {
        var verbs = Texts(parts[1]);
        return parts.Length == 3
            ? new JsonObject { ["verbs"] = verbs, ["nonResourceURLs"] = Texts(parts[2] == "/*" ? "*" : parts[2]) }
            : new JsonObject { ["verbs"] = verbs, ["apiGroups"] = Texts(parts[2]), ["resources"] = Texts(parts[3]) };
    }

    private static JsonArray Texts(string list) => new([.. list.Split(',').Select(v => (JsonNode)JsonValue.Create(v)!)]);
}
