using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using static AmbientMesh.Lab.Api.Http.Tables.Cells;

namespace AmbientMesh.Lab.Api.Http.Tables;

/// <summary>Columns of the built-in kinds.</summary>
internal static class BuiltInColumns
{
    private static Column Text(string name, Func<JsonObject, string?> cell, int priority = 0, string? about = null) =>
        new(name, "string", priority, about ?? name, (o, _) => Of(cell(o)));
    private static Column Timed(string name, Func<JsonObject, DateTimeOffset, string?> cell, int priority = 0) => new(name, "string", priority, name, (o, now) => Of(cell(o, now)));
    private static Column Count(string name, Func<JsonObject, long> cell, string type = "integer") => new(name, type, 0, name, (o, _) => JsonTree.Number(cell(o)));

    public static readonly Column Name = new("Name", "string", 0, "Name of the object, unique in its namespace.", (o, _) => Of(o.Name())) { Format = "name" };
    public static readonly Column Age = Timed("Age", (o, now) => Cells.Age(o.Text("metadata", "creationTimestamp"), now));
    private static readonly Column CreatedAt = new("Created At", "date", 0, "Time of creation.", (o, _) => Of(o.Text("metadata", "creationTimestamp")));

    /// <summary>Kinds without columns of their own.</summary>
    public static readonly IReadOnlyList<Column> Plain = [Name, CreatedAt];

    private static Column[] Template(params string[] path) =>
        [Text("Containers", o => Cells.Containers(o.Map(path)), 1), Text("Images", o => Cells.Images(o.Map(path)), 1)];
    private static readonly Column[] TemplateOfSpec = Template("spec", "template", "spec");
    private static readonly Column SelectorOfSpec = Text("Selector", o => Selector(o.Map("spec", "selector")), 1);

    public static IReadOnlyDictionary<GroupResource, IReadOnlyList<Column>> All { get; } = new Dictionary<GroupResource, IReadOnlyList<Column>>
    {
        [new("", "pods")] = PodColumns.All,
        [new("", "services")] =
        [
            Name, Text("Type", o => o.Text("spec", "type")), Text("Cluster-IP", o => o.Text("spec", "clusterIP") is { Length: > 0 } ip ? ip : None),
            Text("External-IP", ServiceColumns.External), Text("Port(s)", ServiceColumns.Ports), Age, Text("Selector", o => Labels(o.At("spec", "selector")), 1),
        ],
        [new("", "nodes")] = NodeColumns.All,
        [new("", "namespaces")] = [Name, Text("Status", o => o.Text("status", "phase")), Age],
        [new("", "configmaps")] = [Name, Count("Data", o => (o.Map("data")?.Count ?? 0) + (o.Map("binaryData")?.Count ?? 0), "string"), Age],
        [new("", "secrets")] = [Name, Text("Type", o => o.Text("type")), Count("Data", o => o.Map("data")?.Count ?? 0, "string"), Age],
        [new("", "serviceaccounts")] = [Name, Age],
        [new("", "endpoints")] = [Name, Text("Endpoints", ServiceColumns.Endpoints), Age],
        [new("", "events")] = EventColumns.All("involvedObject", "source", "firstTimestamp", "lastTimestamp", "count", "message", "reportingComponent"),
        [new("events.k8s.io", "events")] = EventColumns.All("regarding", "deprecatedSource", "deprecatedFirstTimestamp", "deprecatedLastTimestamp", "deprecatedCount", "note", "reportingController"),
        [new("", "persistentvolumeclaims")] =
        [
            Name, Text("Status", o => o.Text("status", "phase")), Text("Volume", o => o.Text("spec", "volumeName") ?? ""), Text("Capacity", o => o.Text("status", "capacity", "storage") ?? ""),
            Text("Access Modes", o => string.Join(",", o.Texts("status", "accessModes"))), Text("StorageClass", o => o.Text("spec", "storageClassName") ?? ""), Age,
        ],
        [new("", "replicationcontrollers")] =
        [
            Name, Count("Desired", o => o.Number("spec", "replicas") ?? 0), Count("Current", o => o.Number("status", "replicas") ?? 0), Count("Ready", o => o.Number("status", "readyReplicas") ?? 0),
            Age, .. TemplateOfSpec, Text("Selector", o => Labels(o.At("spec", "selector")), 1),
        ],
        [new("apps", "deployments")] =
        [
            Name, Text("Ready", o => $"{o.Number("status", "readyReplicas") ?? 0}/{o.Number("spec", "replicas") ?? 0}"), Count("Up-to-date", o => o.Number("status", "updatedReplicas") ?? 0, "string"),
            Count("Available", o => o.Number("status", "availableReplicas") ?? 0, "string"), Age, .. TemplateOfSpec, SelectorOfSpec,
        ],
        [new("apps", "replicasets")] =
        [
            Name, Count("Desired", o => o.Number("spec", "replicas") ?? 0), Count("Current", o => o.Number("status", "replicas") ?? 0), Count("Ready", o => o.Number("status", "readyReplicas") ?? 0),
            Age, .. TemplateOfSpec, SelectorOfSpec,
        ],
        [new("apps", "daemonsets")] =
        [
            Name, Count("Desired", o => o.Number("status", "desiredNumberScheduled") ?? 0), Count("Current", o => o.Number("status", "currentNumberScheduled") ?? 0),
            Count("Ready", o => o.Number("status", "numberReady") ?? 0), Count("Up-to-date", o => o.Number("status", "updatedNumberScheduled") ?? 0),
            Count("Available", o => o.Number("status", "numberAvailable") ?? 0), Text("Node Selector", o => Labels(o.At("spec", "template", "spec", "nodeSelector"))), Age, .. TemplateOfSpec, SelectorOfSpec,
        ],
        [new("apps", "statefulsets")] =
            [Name, Text("Ready", o => $"{o.Number("status", "readyReplicas") ?? 0}/{o.Number("spec", "replicas") ?? 0}"), Age, .. TemplateOfSpec],
        [new("apps", "controllerrevisions")] =
        [
            Name, Text("Controller", o => o.OwnerReferences().FirstOrDefault(r => r.Flag("controller") == true) is { } r ? $"{r.Text("kind")!.ToLowerInvariant()}.apps/{r.Text("name")}" : None),
            Count("Revision", o => o.Number("revision") ?? 0), Age,
        ],
        [new("autoscaling", "horizontalpodautoscalers")] =
        [
            Name, Text("Reference", o => $"{o.Text("spec", "scaleTargetRef", "kind")}/{o.Text("spec", "scaleTargetRef", "name")}"), Text("Targets", _ => Unknown),
            Text("MinPods", o => $"{o.Number("spec", "minReplicas") ?? 1}"), Count("MaxPods", o => o.Number("spec", "maxReplicas") ?? 0, "string"), Count("Replicas", o => o.Number("status", "currentReplicas") ?? 0, "string"), Age,
        ],
        [new("batch", "jobs")] =
        [
            Name, Text("Status", JobStatus), Text("Completions", o => $"{o.Number("status", "succeeded") ?? 0}/{o.Number("spec", "completions") ?? 1}"), Timed("Duration", JobDuration), Age,
            .. TemplateOfSpec, SelectorOfSpec,
        ],
        [new("batch", "cronjobs")] =
        [
            Name, Text("Schedule", o => o.Text("spec", "schedule")), Text("Timezone", o => o.Text("spec", "timeZone") ?? None), new Column("Suspend", "boolean", 0, "Suspend", (o, _) => Of(o.Flag("spec", "suspend") == true ? "True" : "False")),
            Count("Active", o => o.List("status", "active")?.Count ?? 0), Timed("Last Schedule", (o, now) => o.Text("status", "lastScheduleTime") is { } t ? Cells.Age(t, now) : None), Age,
            .. Template("spec", "jobTemplate", "spec", "template", "spec"), Text("Selector", o => Selector(o.Map("spec", "jobTemplate", "spec", "selector")), 1),
        ],
        [new("discovery.k8s.io", "endpointslices")] =
        [
            Name, Text("AddressType", o => o.Text("addressType")), Text("Ports", ServiceColumns.SlicePorts), Text("Endpoints", ServiceColumns.SliceEndpoints), Age,
        ],
        [new("coordination.k8s.io", "leases")] = [Name, Text("Holder", o => o.Text("spec", "holderIdentity") ?? ""), Age],
        [new("rbac.authorization.k8s.io", "rolebindings")] = Bindings("roleBinding"),
        [new("rbac.authorization.k8s.io", "clusterrolebindings")] = Bindings("clusterRoleBinding"),
        [new("networking.k8s.io", "networkpolicies")] = [Name, Text("Pod-Selector", o => Selector(o.Map("spec", "podSelector"))), Age],
        [new("networking.k8s.io", "ingresses")] =
        [
            Name, Text("Class", o => o.Text("spec", "ingressClassName") ?? None), Text("Hosts", o => Joined(o.Objects("spec", "rules").Select(r => r.Text("host")), "*")),
            Text("Address", o => string.Join(",", o.Objects("status", "loadBalancer", "ingress").Select(i => i.Text("ip") ?? i.Text("hostname")))),
            Text("Ports", o => o.List("spec", "tls") is { Count: > 0 } ? "80, 443" : "80"), Age,
        ],
        [new("policy", "poddisruptionbudgets")] =
        [
            Name, Text("Min Available", o => o.At("spec", "minAvailable")?.ToString() ?? "N/A"), Text("Max Unavailable", o => o.At("spec", "maxUnavailable")?.ToString() ?? "N/A"),
            Count("Allowed Disruptions", o => o.Number("status", "disruptionsAllowed") ?? 0), Age,
        ],
        [new("scheduling.k8s.io", "priorityclasses")] =
        [
            Name, Count("Value", o => o.Number("value") ?? 0), new Column("Global-Default", "boolean", 0, "Global-Default", (o, _) => JsonValue.Create(o.Flag("globalDefault") == true)), Age,
            Text("PreemptionPolicy", o => o.Text("preemptionPolicy")),
        ],
        [new("apiregistration.k8s.io", "apiservices")] =
        [
            Name, Text("Service", o => o.Map("spec", "service") is { } s ? $"{s.Text("namespace")}/{s.Text("name")}" : "Local"),
            Text("Available", o => o.Objects("status", "conditions").FirstOrDefault(k => k.Text("type") == "Available").Text("status") ?? "Unknown"), Age,
        ],
        [new("admissionregistration.k8s.io", "mutatingwebhookconfigurations")] = [Name, Count("Webhooks", o => o.List("webhooks")?.Count ?? 0), Age],
        [new("admissionregistration.k8s.io", "validatingwebhookconfigurations")] = [Name, Count("Webhooks", o => o.List("webhooks")?.Count ?? 0), Age],
        [new("admissionregistration.k8s.io", "validatingadmissionpolicies")] =
        [
            Name, Count("Validations", o => o.List("spec", "validations")?.Count ?? 0),
            Text("ParamKind", o => o.Map("spec", "paramKind") is { } p ? $"{p.Text("apiVersion")}/{p.Text("kind")}" : "<unset>"), Age,
        ],
        [new("admissionregistration.k8s.io", "validatingadmissionpolicybindings")] =
        [
            Name, Text("PolicyName", o => o.Text("spec", "policyName")), Text("ParamRef", o => o.Text("spec", "paramRef", "name") ?? "<unset>"), Age,
        ],
        [new("storage.k8s.io", "storageclasses")] =
            [Name, Text("Provisioner", o => o.Text("provisioner")), Text("ReclaimPolicy", o => o.Text("reclaimPolicy")), Text("VolumeBindingMode", o => o.Text("volumeBindingMode")), Age],
    };

    private static Column[] Bindings(string kind) =>
    [
        Name, Text("Role", o => $"{o.Text("roleRef", "kind")}/{o.Text("roleRef", "name")}"), Age,
        Text("Users", o => Subjects(o, "User"), 1, $"Users in the {kind}"), Text("Groups", o => Subjects(o, "Group"), 1, $"Groups in the {kind}"),
        Text("ServiceAccounts", o => Subjects(o, "ServiceAccount"), 1, $"ServiceAccounts in the {kind}"),
    ];

    private static string Subjects(JsonObject o, string kind) =>
        string.Join(", ", o.Objects("subjects").Where(s => s.Text("kind") == kind).Select(s => kind == "ServiceAccount" ? $"{s.Text("namespace")}/{s.Text("name")}" : s.Text("name")));

    private static string JobStatus(JsonObject o)
    {
        var conditions = o.Objects("status", "conditions").Where(c => c.Text("status") == "True").Select(c => c.Text("type")).ToList();
        foreach (var type in (string[])["Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet"])
            if (conditions.Contains(type, StringComparer.Ordinal)) return type;
        return o.IsTerminating() ? "Terminating" : "Running";
    }

    private static string JobDuration(JsonObject o, DateTimeOffset now)
    {
        if (KubernetesTime.Parse(o.Text("status", "startTime")) is not { } start) return "";
        return Duration((KubernetesTime.Parse(o.Text("status", "completionTime")) ?? now) - start);
    }
}

/// <summary>Addresses and ports of Services and their endpoints.</summary>
internal static class ServiceColumns
{
    public static string External(JsonObject o) => o.Text("spec", "type") switch
    {
        "ExternalName" => o.Text("spec", "externalName") ?? "",
        "LoadBalancer" => Joined(o.Objects("status", "loadBalancer", "ingress").Select(i => i.Text("ip") ?? i.Text("hostname")).Concat(o.Texts("spec", "externalIPs")), "<pending>"),
        _ => Joined(o.Texts("spec", "externalIPs")),
    };

    public static string Ports(JsonObject o) => Joined(o.Objects("spec", "ports").Select(p =>
        p.Number("nodePort") is > 0 and var node ? $"{p.Number("port")}:{node}/{p.Text("protocol")}" : $"{p.Number("port")}/{p.Text("protocol")}"));

    public static string Endpoints(JsonObject o) => Shortened([.. o.Objects("subsets").SelectMany(s =>
        s.Objects("addresses").SelectMany(a => s.Objects("ports").Select(p => $"{a.Text("ip")}:{p.Number("port")}")))]);

    public static string SlicePorts(JsonObject o)
    {
        var ports = o.Objects("ports").ToList();
        return ports.Count == 0 ? "<unset>" : Shortened([.. ports.Select(p => p.Number("port") is { } n ? $"{n}" : "*")], "");
    }

    public static string SliceEndpoints(JsonObject o)
    {
        var addresses = o.Objects("endpoints").SelectMany(e => e.Texts("addresses")).ToList();
        return addresses.Count == 0 ? "<unset>" : Shortened(addresses, "");
    }

    private static string Shortened(List<string> values, string empty = None)
    {
        if (values.Count == 0) return empty.Length == 0 ? None : empty;
        var shown = string.Join(",", values.Take(3));
        return values.Count > 3 ? $"{shown} + {values.Count - 3} more..." : shown;
    }
}

/// <summary>Columns of Nodes.</summary>
internal static class NodeColumns
{
    private static Column Text(string name, Func<JsonObject, string?> cell, int priority = 0) => new(name, "string", priority, name, (o, _) => Of(cell(o)));

    public static readonly IReadOnlyList<Column> All =
    [
        BuiltInColumns.Name, Text("Status", Status), Text("Roles", Roles), BuiltInColumns.Age, Text("Version", o => o.Text("status", "nodeInfo", "kubeletVersion")),
        Text("Internal-IP", o => Address(o, "InternalIP"), 1), Text("External-IP", o => Address(o, "ExternalIP"), 1), Text("OS-Image", o => Info(o, "osImage"), 1),
        Text("Kernel-Version", o => o.Text("status", "nodeInfo", "architecture") is { Length: > 0 } arch ? $"{Info(o, "kernelVersion")} ({arch})" : Info(o, "kernelVersion"), 1),
        Text("Container-Runtime", o => Info(o, "containerRuntimeVersion"), 1),
    ];

    private static string Status(JsonObject o)
    {
        var ready = o.Objects("status", "conditions").FirstOrDefault(c => c.Text("type") == "Ready").Text("status");
        var status = ready switch { "True" => "Ready", null => "Unknown", _ => "NotReady" };
        return o.Flag("spec", "unschedulable") == true ? status + ",SchedulingDisabled" : status;
    }

    private static string Roles(JsonObject o) => Joined(o.Labels()
        .Select(l => l.Key.StartsWith("node-role.kubernetes.io/", StringComparison.Ordinal) ? l.Key["node-role.kubernetes.io/".Length..] : l.Key == "kubernetes.io/role" ? l.Value : null)
        .Where(r => r is not null).Order(StringComparer.Ordinal));

    private static string Address(JsonObject o, string type) => o.Objects("status", "addresses").FirstOrDefault(a => a.Text("type") == type).Text("address") ?? None;
    private static string Info(JsonObject o, string field) => o.Text("status", "nodeInfo", field) is { Length: > 0 } text ? text : Unknown;
}

/// <summary>Columns of Events in both their shapes.</summary>
internal static class EventColumns
{
    public static Column[] All(string subject, string source, string first, string last, string count, string message, string reporter) =>
    [
        new("Last Seen", "string", 0, "Last Seen", (o, now) => Of(LastSeen(o, last, first, now))),
        new("Type", "string", 0, "Type", (o, _) => Of(o.Text("type"))),
        new("Reason", "string", 0, "Reason", (o, _) => Of(o.Text("reason"))),
        new("Object", "string", 0, "The object that this event is about.", (o, _) => Of(Object(o.Map(subject)))),
        new("Subobject", "string", 1, "Subobject", (o, _) => Of(o.Text(subject, "fieldPath") ?? "")),
        new("Source", "string", 1, "Source", (o, _) => Of(Source(o, source, reporter))),
        new("Message", "string", 0, "Message", (o, _) => Of((o.Text(message) ?? "").Trim())),
        new("First Seen", "string", 1, "First Seen", (o, now) => Of(Age(o.Text(first) ?? o.Text("eventTime"), now))),
        new("Count", "string", 1, "The number of times this event has occurred.", (o, _) => JsonTree.Number(o.Number("series", "count") ?? Math.Max(1, o.Number(count) ?? 1))),
        BuiltInColumns.Name with { Priority = 1 },
    ];

    private static string LastSeen(JsonObject o, string last, string first, DateTimeOffset now) =>
        Age(o.Text("series", "lastObservedTime") ?? o.Text(last) ?? o.Text(first) ?? o.Text("eventTime"), now);

    private static string Object(JsonObject? subject)
    {
        var kind = subject.Text("kind")?.ToLowerInvariant() ?? "";
        return subject.Text("name") is { Length: > 0 } name ? $"{kind}/{name}" : kind;
    }

    private static string Source(JsonObject o, string source, string reporter)
    {
        var component = o.Text(source, "component") is { Length: > 0 } c ? c : o.Text(reporter) ?? "";
        var host = o.Text(source, "host") is { Length: > 0 } h ? h : o.Text("reportingInstance") ?? "";
        return host.Length > 0 ? $"{component}, {host}" : component;
    }
}
