using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;
using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Controllers;

/// <summary>Keeps the EndpointSlices (and the old Endpoints) of Services that select pods.</summary>
/// <remarks>One slice for each address family and set of resolved ports. Shapes as recorded in the samples (endpointslices, endpointslice-timeline).</remarks>
internal sealed class EndpointSliceController(ClusterStore store, Action<string> report)
{
    private const string ServiceName = "kubernetes.io/service-name";
    private const string ManagedBy = "endpointslice.kubernetes.io/managed-by";
    private const string Manager = "endpointslice-controller.k8s.io";
    private const string Headless = "service.kubernetes.io/headless";
    private static readonly WriteOptions s_writes = WriteOptions.By("kube-controller-manager");

    public Task RunAsync(CancellationToken cancellationToken) => new ReconcileLoop(store, "endpointslice",
    [
        ReconcileSource.Own(Resources.Services),
        // Labels may have changed as well as the status, so every service that selects the pod now or has it in a slice is looked at.
        new ReconcileSource(Resources.Pods, pod => store.List(Resources.Services, new Selection(pod.Namespace())).Items
            .Where(s => Selector(s) is { } selector && selector.Matches(pod)).Concat(Holding(pod)).Select(ReconcileLoop.Key).Distinct()),
        new ReconcileSource(Resources.EndpointSlices, slice => slice.Labels() is var labels && labels.GetValueOrDefault(ManagedBy) == Manager
            ? [$"{slice.Namespace()}/{labels.GetValueOrDefault(ServiceName)}"] : []),
    ], Reconcile, report).RunAsync(cancellationToken);

    internal TimeSpan? Reconcile(string ns, string name)
    {
        if (store.TryGet(Resources.Services, ns, name) is not { } service || service.IsTerminating() || Selector(service) is not { } selector) return null;
        var pods = store.List(Resources.Pods, new Selection(ns)).Items.Where(p => selector.Matches(p) && p.Text("status", "podIP") is not null && !p.IsFinished()).ToArray();
        var families = service.Texts("spec", "ipFamilies").DefaultIfEmpty("IPv4").ToArray();
        var wanted = families.SelectMany(f => Groups(service, pods, f)).ToList();
        var existing = Managed(service).ToList();
        foreach (var group in wanted)
        {
            var slice = existing.Find(s => s.Text("addressType") == group.Family && JsonTree.Same(s.At("ports"), group.Ports))
                ?? existing.Find(s => s.Text("addressType") == group.Family && wanted.TrueForAll(w => w == group || w.Family != group.Family || !JsonTree.Same(s.At("ports"), w.Ports)));
            if (slice is null)
            {
                store.Create(Resources.EndpointSlices, New(service, group), s_writes);
                continue;
            }
            existing.Remove(slice);
            store.Modify(Resources.EndpointSlices, ns, slice.Name(), s => Fill(s, service, group), s_writes);
        }
        foreach (var stale in existing) store.Delete(Resources.EndpointSlices, ns, stale.Name());
        WriteEndpoints(service, wanted.Where(g => g.Family == families[0]).ToArray());
        return null;
    }

    private sealed record Group(string Family, JsonNode? Ports, IReadOnlyList<JsonObject> Endpoints);

    private static LabelSelector? Selector(JsonObject service) =>
        service.TextMap("spec", "selector") is { Count: > 0 } selector && service.Text("spec", "type") != "ExternalName" ? LabelSelector.Equal(selector) : null;

    private IEnumerable<JsonObject> Managed(JsonObject service) => store.List(Resources.EndpointSlices, new Selection(service.Namespace())).Items
        .Where(s => s.Labels() is var labels && labels.GetValueOrDefault(ServiceName) == service.Name() && labels.GetValueOrDefault(ManagedBy) == Manager);

    private IEnumerable<JsonObject> Holding(JsonObject pod) => store.List(Resources.EndpointSlices, new Selection(pod.Namespace())).Items
        .Where(s => s.Objects("endpoints").Any(e => e.Text("targetRef", "uid") == pod.Uid()))
        .Select(s => store.TryGet(Resources.Services, pod.Namespace(), s.Labels().GetValueOrDefault(ServiceName) ?? "")).OfType<JsonObject>();

    // ---- decision ----------------------------------------------------------------------------------------------------------

    private static List<Group> Groups(JsonObject service, IReadOnlyList<JsonObject> pods, string family)
    {
        var byPorts = new Dictionary<string, (JsonNode? Ports, List<JsonObject> Endpoints)>();
        foreach (var pod in pods)
        {
            var addresses = pod.Objects("status", "podIPs").Select(i => i.Text("ip") ?? "").Where(a => FamilyOf(a) == family).ToArray();
            if (addresses.Length == 0) continue;
            var ports = Ports(service, pod);
            var key = ports?.ToJsonString() ?? "";
            if (!byPorts.TryGetValue(key, out var group)) byPorts[key] = group = (ports, []);
            group.Endpoints.Add(Endpoint(service, pod, addresses));
        }
        if (byPorts.Count == 0) return [new Group(family, null, [])];
        return [.. byPorts.Values.Select(g => new Group(family, g.Ports, g.Endpoints))];
    }

    /// <summary>The service's ports as the pod has them; null for a service without ports.</summary>
    private static JsonNode? Ports(JsonObject service, JsonObject pod)
    {
        var ports = new JsonArray();
        foreach (var port in service.Objects("spec", "ports"))
        {
            if (TargetPort(port, pod) is not { } number) continue;
            var resolved = new JsonObject { ["name"] = port.Text("name") ?? "", ["protocol"] = port.Text("protocol") ?? "TCP", ["port"] = JsonTree.Number(number) };
            if (port.Text("appProtocol") is { } protocol) resolved["appProtocol"] = protocol;
            ports.Add(resolved);
        }
        return ports.Count > 0 ? ports : null;
    }

    private static long? TargetPort(JsonObject port, JsonObject pod)
    {
        if (port.Number("targetPort") is { } number) return number;
        if (port.Text("targetPort") is not { } name) return port.Number("port");
        return pod.Containers().SelectMany(c => c.Objects("ports"))
            .FirstOrDefault(p => p.Text("name") == name && (p.Text("protocol") ?? "TCP") == (port.Text("protocol") ?? "TCP")).Number("containerPort");
    }

    private static JsonObject Endpoint(JsonObject service, JsonObject pod, string[] addresses)
    {
        var (ready, terminating) = (pod.IsReady(), pod.IsTerminating());
        var endpoint = new JsonObject
        {
            ["addresses"] = new JsonArray([.. addresses]),
            ["conditions"] = new JsonObject
            {
                ["ready"] = service.Flag("spec", "publishNotReadyAddresses") == true || (ready && !terminating),
                ["serving"] = ready,
                ["terminating"] = terminating,
            },
            ["targetRef"] = new JsonObject { ["kind"] = "Pod", ["namespace"] = pod.Namespace(), ["name"] = pod.Name(), ["uid"] = pod.Uid() },
            ["nodeName"] = pod.NodeName(),
        };
        if (pod.Text("spec", "hostname") is { Length: > 0 } hostname && pod.Text("spec", "subdomain") == service.Name()) endpoint["hostname"] = hostname;
        return endpoint;
    }

    private static string FamilyOf(string address) =>
        IPAddress.TryParse(address, out var ip) && ip.AddressFamily == AddressFamily.InterNetworkV6 ? "IPv6" : "IPv4";

    // ---- writing -----------------------------------------------------------------------------------------------------------

    private JsonObject New(JsonObject service, Group group)
    {
        var slice = new JsonObject
        {
            ["kind"] = "EndpointSlice",
            ["apiVersion"] = "discovery.k8s.io/v1",
            ["metadata"] = new JsonObject
            {
                ["generateName"] = $"{service.Name()}-",
                ["namespace"] = service.Namespace(),
                ["ownerReferences"] = new JsonArray(service.ControllerReference()),
            },
            ["addressType"] = group.Family,
        };
        Fill(slice, service, group);
        return slice;
    }

    private void Fill(JsonObject slice, JsonObject service, Group group)
    {
        var labels = new JsonObject();
        foreach (var (key, value) in service.Labels()) labels[key] = value;
        labels[ManagedBy] = Manager;
        labels[ServiceName] = service.Name();
        if (service.Text("spec", "clusterIP") == "None") labels[Headless] = "";
        var endpoints = group.Endpoints.Count > 0 ? new JsonArray([.. group.Endpoints.Select(e => (JsonNode)e.Copy())]) : null;
        if (JsonTree.Same(slice["endpoints"], endpoints) && JsonTree.Same(slice["ports"], group.Ports) && JsonTree.Same(slice.At("metadata", "labels"), labels)) return;
        slice.Ensure("metadata")["labels"] = labels;
        slice.Ensure("metadata", "annotations")["endpoints.kubernetes.io/last-change-trigger-time"] = KubernetesTime.Seconds(store.Clock.GetUtcNow());
        slice["endpoints"] = endpoints;
        slice["ports"] = group.Ports?.DeepClone();
    }

    private void WriteEndpoints(JsonObject service, Group[] groups)
    {
        var subsets = groups.Where(g => g.Endpoints.Count > 0).Select(Subset).ToArray();
        void Change(JsonObject o)
        {
            if (subsets.Length > 0) o["subsets"] = new JsonArray([.. subsets.Select(s => (JsonNode)s.Copy())]);
            else o.Remove("subsets");
        }
        if (store.TryGet(Resources.Endpoints, service.Namespace(), service.Name()) is not null)
        {
            store.Modify(Resources.Endpoints, service.Namespace(), service.Name(), Change, s_writes);
            return;
        }
        var endpoints = new JsonObject
        {
            ["kind"] = "Endpoints",
            ["apiVersion"] = "v1",
            ["metadata"] = new JsonObject
            {
                ["name"] = service.Name(),
                ["namespace"] = service.Namespace(),
                ["labels"] = new JsonObject { ["endpoints.kubernetes.io/managed-by"] = "endpoint-controller" },
                ["ownerReferences"] = new JsonArray(service.ControllerReference()),
            },
        };
        Change(endpoints);
        store.Create(Resources.Endpoints, endpoints, s_writes);
    }

    private static JsonObject Subset(Group group)
    {
        var subset = new JsonObject();
        foreach (var (field, ready) in ((string, bool)[])[("addresses", true), ("notReadyAddresses", false)])
        {
            var addresses = group.Endpoints.Where(e => (e.Flag("conditions", "ready") == true) == ready).Select(e => (JsonNode)new JsonObject
            {
                ["ip"] = e.Texts("addresses").First(),
                ["nodeName"] = e.Text("nodeName"),
                ["targetRef"] = e.Map("targetRef")!.Copy(),
            }).ToArray();
            if (addresses.Length > 0) subset[field] = new JsonArray(addresses);
        }
        if (group.Ports is JsonArray ports)
        {
            subset["ports"] = new JsonArray([.. ports.OfType<JsonObject>().Select(p =>
            {
                var port = new JsonObject { ["port"] = p["port"]?.DeepClone(), ["protocol"] = p.Text("protocol") };
                if (p.Text("name") is { Length: > 0 } name) port["name"] = name;
                return port;
            })]);
        }
        return subset;
    }
}
