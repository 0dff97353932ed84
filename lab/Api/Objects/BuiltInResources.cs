using AmbientMesh.Lab.Api.Schema;

namespace AmbientMesh.Lab.Api.Objects;

/// <summary>The resources every cluster has, in discovery order.</summary>
public static class BuiltInResources
{
    // group/version | plural | Kind | N(amespaced) or C(luster) | short names | categories | subresources | verbs (empty: all)
    private const string Table = """
        v1|bindings|Binding|N||||create
        v1|componentstatuses|ComponentStatus|C|cs|||get,list
        v1|configmaps|ConfigMap|N|cm|||
        v1|endpoints|Endpoints|N|ep|||
        v1|events|Event|N|ev|||
        v1|limitranges|LimitRange|N|limits|||
        v1|namespaces|Namespace|C|ns||finalize,status|create,delete,get,list,patch,update,watch
        v1|nodes|Node|C|no||proxy,status|
        v1|persistentvolumeclaims|PersistentVolumeClaim|N|pvc||status|
        v1|persistentvolumes|PersistentVolume|C|pv||status|
        v1|pods|Pod|N|po|all|attach,binding,ephemeralcontainers,eviction,exec,log,portforward,proxy,resize,status|
        v1|podtemplates|PodTemplate|N||||
        v1|replicationcontrollers|ReplicationController|N|rc|all|scale,status|
        v1|resourcequotas|ResourceQuota|N|quota||status|
        v1|secrets|Secret|N||||
        v1|serviceaccounts|ServiceAccount|N|sa||token|
        v1|services|Service|N|svc|all|proxy,status|
        apiregistration.k8s.io/v1|apiservices|APIService|C||api-extensions|status|
        apps/v1|controllerrevisions|ControllerRevision|N||||
        apps/v1|daemonsets|DaemonSet|N|ds|all|status|
        apps/v1|deployments|Deployment|N|deploy|all|scale,status|
        apps/v1|replicasets|ReplicaSet|N|rs|all|scale,status|
        apps/v1|statefulsets|StatefulSet|N|sts|all|scale,status|
        events.k8s.io/v1|events|Event|N|ev|||
        authentication.k8s.io/v1|selfsubjectreviews|SelfSubjectReview|C||||create
        authentication.k8s.io/v1|tokenreviews|TokenReview|C||||create
        authorization.k8s.io/v1|localsubjectaccessreviews|LocalSubjectAccessReview|N||||create
        authorization.k8s.io/v1|selfsubjectaccessreviews|SelfSubjectAccessReview|C||||create
        authorization.k8s.io/v1|selfsubjectrulesreviews|SelfSubjectRulesReview|C||||create
        authorization.k8s.io/v1|subjectaccessreviews|SubjectAccessReview|C||||create
        autoscaling/v2|horizontalpodautoscalers|HorizontalPodAutoscaler|N|hpa|all|status|
        autoscaling/v1|horizontalpodautoscalers|HorizontalPodAutoscaler|N|hpa|all|status|
        batch/v1|cronjobs|CronJob|N|cj|all|status|
        batch/v1|jobs|Job|N||all|status|
        certificates.k8s.io/v1|certificatesigningrequests|CertificateSigningRequest|C|csr||approval,status|
        networking.k8s.io/v1|ingressclasses|IngressClass|C||||
        networking.k8s.io/v1|ingresses|Ingress|N|ing||status|
        networking.k8s.io/v1|ipaddresses|IPAddress|C|ip|||
        networking.k8s.io/v1|networkpolicies|NetworkPolicy|N|netpol|||
        networking.k8s.io/v1|servicecidrs|ServiceCIDR|C|||status|
        policy/v1|poddisruptionbudgets|PodDisruptionBudget|N|pdb||status|
        rbac.authorization.k8s.io/v1|clusterrolebindings|ClusterRoleBinding|C||||
        rbac.authorization.k8s.io/v1|clusterroles|ClusterRole|C||||
        rbac.authorization.k8s.io/v1|rolebindings|RoleBinding|N||||
        rbac.authorization.k8s.io/v1|roles|Role|N||||
        storage.k8s.io/v1|csidrivers|CSIDriver|C||||
        storage.k8s.io/v1|csinodes|CSINode|C||||
        storage.k8s.io/v1|csistoragecapacities|CSIStorageCapacity|N||||
        storage.k8s.io/v1|storageclasses|StorageClass|C|sc|||
        storage.k8s.io/v1|volumeattachments|VolumeAttachment|C|||status|
        storage.k8s.io/v1|volumeattributesclasses|VolumeAttributesClass|C|vac|||
        admissionregistration.k8s.io/v1|mutatingadmissionpolicies|MutatingAdmissionPolicy|C||api-extensions||
        admissionregistration.k8s.io/v1|mutatingadmissionpolicybindings|MutatingAdmissionPolicyBinding|C||api-extensions||
        admissionregistration.k8s.io/v1|mutatingwebhookconfigurations|MutatingWebhookConfiguration|C||api-extensions||
        admissionregistration.k8s.io/v1|validatingadmissionpolicies|ValidatingAdmissionPolicy|C||api-extensions|status|
        admissionregistration.k8s.io/v1|validatingadmissionpolicybindings|ValidatingAdmissionPolicyBinding|C||api-extensions||
        admissionregistration.k8s.io/v1|validatingwebhookconfigurations|ValidatingWebhookConfiguration|C||api-extensions||
        apiextensions.k8s.io/v1|customresourcedefinitions|CustomResourceDefinition|C|crd,crds|api-extensions|status|
        scheduling.k8s.io/v1|priorityclasses|PriorityClass|C|pc|||
        coordination.k8s.io/v1|leases|Lease|N||||
        node.k8s.io/v1|runtimeclasses|RuntimeClass|C||||
        discovery.k8s.io/v1|endpointslices|EndpointSlice|N||||
        resource.k8s.io/v1|deviceclasses|DeviceClass|C||||
        resource.k8s.io/v1|resourceclaims|ResourceClaim|N|||status|
        resource.k8s.io/v1|resourceclaimtemplates|ResourceClaimTemplate|N||||
        resource.k8s.io/v1|resourceslices|ResourceSlice|C||||
        flowcontrol.apiserver.k8s.io/v1|flowschemas|FlowSchema|C|||status|
        flowcontrol.apiserver.k8s.io/v1|prioritylevelconfigurations|PriorityLevelConfiguration|C|||status|
        """;

    public static IReadOnlyList<ApiResource> All { get; } = [.. Table.Split('\n').Select(l => l.Split('|')).Select(Parse)];

    private static ApiResource Parse(string[] c)
    {
        var slash = c[0].IndexOf('/', StringComparison.Ordinal);
        var group = slash < 0 ? "" : c[0][..slash];
        var version = c[0][(slash + 1)..];
        return new ApiResource
        {
            Group = group,
            Version = version,
            Plural = c[1],
            Kind = c[2],
            Singular = c[1] == "endpoints" ? "endpoints" : c[2].ToLowerInvariant(),
            IsNamespaced = c[3] == "N",
            ShortNames = Words(c[4]),
            Categories = Words(c[5]),
            Subresources = Words(c[6]),
            Verbs = c[7].Length == 0 ? ApiResource.AllVerbs : Words(c[7]),
            Type = SchemaTable.Find($"{Package(group)}.{version}.{c[2]}"),
        };
    }

    private static string Package(string group) => group.Length == 0 ? "core" : group.Split('.')[0];

    private static string[] Words(string text) => text.Split(',', StringSplitOptions.RemoveEmptyEntries);
}
