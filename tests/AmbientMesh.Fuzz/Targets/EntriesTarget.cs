using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.ControlPlane.Translation;
using AmbientMesh.ControlPlane.Translation.Entries;
using AmbientMesh.Kubernetes;
using AmbientMesh.Model;
using AmbientMesh.Model.Decoding;

namespace AmbientMesh.Fuzz.Targets;

/// <summary>The objects <see cref="TranslationTarget"/> leaves out: entries, Gateways and their classes, namespaces, nodes, the mesh configuration. The first byte chooses.</summary>
public sealed class EntriesTarget : FuzzTarget
{
    private const string Pod = """{"metadata":{"name":"p","namespace":"ns","uid":"1","resourceVersion":"1","labels":{"app":"a"}},"spec":{"nodeName":"n"},"status":{"phase":"Running","podIP":"10.0.0.1","podIPs":[{"ip":"10.0.0.1"}]}}""";
    private const string Entry = """{"metadata":{"name":"bystander","namespace":"ns","resourceVersion":"1","creationTimestamp":"2020-01-01T00:00:00Z"},"spec":{"hosts":["by.example.com"],"resolution":"DNS","ports":[{"number":80,"name":"http"}]}}""";
    private const string Waypoint = """{"metadata":{"name":"w","namespace":"ns","resourceVersion":"1"},"spec":{"gatewayClassName":"c","listeners":[{"name":"mesh","port":15008,"protocol":"HBONE"}]},"status":{"addresses":[{"type":"IPAddress","value":"10.1.0.9"}]}}""";
    private static readonly IPNetwork Ipv4 = IPNetwork.Parse("240.240.0.0/28"), Ipv6 = IPNetwork.Parse("2001:2::/124");

    public override string Name => "entries";
    public override string Purpose => "ServiceEntry, WorkloadEntry, Gateway, GatewayClass, Namespace, Node, mesh configuration: only that object is refused, no address is given twice or out of a range somebody wrote";
    public override long MaxAllocatedBytes(int inputBytes) => (16 << 20) + (inputBytes * 16384L);

    public override IEnumerable<byte[]> Seeds() =>
    [
        SeedBytes.Of(0, """{"metadata":{"name":"e","namespace":"ns","resourceVersion":"1","creationTimestamp":"2020-01-01T00:00:00Z"},"spec":{"hosts":["a.example.com","*.b.example.com"],"addresses":["240.240.0.4","240.240.0.8/30"],"resolution":"STATIC","location":"MESH_EXTERNAL","ports":[{"number":443,"name":"tls","protocol":"TLS","targetPort":8443}],"endpoints":[{"address":"10.2.0.1","ports":{"tls":9443},"labels":{"a":"b"},"network":"n2","locality":"r/z/s","weight":2,"serviceAccount":"x"}],"exportTo":["."],"subjectAltNames":["spiffe://td/ns/a/sa/b"]},"status":{"addresses":[{"value":"240.240.0.2","host":"a.example.com"}],"conditions":[{"type":"istio.io/WaypointBound","status":"True"}]}}"""),
        SeedBytes.Of(0, """{"metadata":{"name":"e","namespace":"ns","labels":{"istio.io/use-waypoint":"w"}},"spec":{"hosts":["a.example.com"],"resolution":"DNS"},"status":{"addresses":[{"value":"240.240.0.1","host":"a.example.com"},{"value":"2001:2::1","host":"a.example.com"}]}}"""),
        SeedBytes.Of(0, """{"metadata":{"name":"e","namespace":"ns"},"spec":{"hosts":["by.example.com"],"workloadSelector":{"labels":{"app":"a"}},"resolution":"STATIC","ports":[{"number":80,"name":"http","protocol":"HTTP"}]}}"""),
        SeedBytes.Of(0, """{"metadata":{"name":"e","namespace":"ns"},"spec":{"hosts":["a.example.com"],"addresses":["240.240.0.5/29"],"resolution":"NONE"}}"""),   // a range written with bits behind its prefix
        SeedBytes.Of(1, """{"metadata":{"name":"vm","namespace":"ns","labels":{"app":"a"},"annotations":{"ambient.istio.io/redirection":"enabled"}},"spec":{"address":"10.3.0.1","ports":{"http":8080},"labels":{"x":"y"},"network":"n","locality":"r/z","weight":3,"serviceAccount":"vm"}}"""),
        SeedBytes.Of(1, """{"metadata":{"name":"vm","namespace":"ns"},"spec":{"address":"vm.example.com."}}"""),
        SeedBytes.Of(2, """{"metadata":{"name":"w","namespace":"ns","labels":{"istio.io/waypoint-for":"all"},"annotations":{"ambient.istio.io/waypoint-inbound-binding":"PROXY/15088"}},"spec":{"gatewayClassName":"c","listeners":[{"name":"mesh","port":15008,"protocol":"HBONE","allowedRoutes":{"namespaces":{"from":"Selector","selector":{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"k","operator":"In","values":["v"]}]}}}}]},"status":{"addresses":[{"type":"Hostname","value":"w.ns.svc.cluster.local"}]}}"""),
        SeedBytes.Of(3, """{"metadata":{"name":"c","labels":{"istio.io/waypoint-for":"workload"},"annotations":{"ambient.istio.io/waypoint-inbound-binding":"PROXY"}},"spec":{"controllerName":"istio.io/mesh-controller"}}"""),
        SeedBytes.Of(4, """{"metadata":{"name":"ns","labels":{"istio.io/use-waypoint":"w","istio.io/use-waypoint-namespace":"ns","istio.io/use-canary-waypoint":"w","istio.io/canary-waypoint-weight":"10"},"annotations":{"networking.istio.io/traffic-distribution":"PreferClose"}}}"""),
        SeedBytes.Of(4, """{"metadata":{"name":"istio-system","labels":{"topology.istio.io/network":"n1"}}}"""),
        SeedBytes.Of(5, """{"metadata":{"name":"n","labels":{"topology.kubernetes.io/region":"r","topology.kubernetes.io/zone":"z"}}}"""),
        SeedBytes.Of(6, """{"metadata":{"name":"istio","namespace":"istio-system"},"data":{"mesh":"serviceEntryVisibility:\n  defaultVisibility: NAMESPACE\n  policies:\n  - visibility: PUBLIC\n    matchingRules:\n    - namespaceSelector:\n        matchLabels: {a: b}\n        matchExpressions: [{key: k, operator: In, values: [v]}]\n"}}"""),
    ];

    public override IEnumerable<byte[]> Words() => SeedBytes.Words("null", "[]", "{}", "\"\"", "\"*\"", "\"hosts\":", "\"addresses\":", "\"0.0.0.0/0\"", "\"240.240.0.1/24\"", "\"::/0\"", "\"::ffff:240.240.0.1\"", "\"ports\":", "\"number\":", "\"endpoints\":", "\"address\":", "\"resolution\":\"DNS\"", "\"DYNAMIC_DNS\"", "\"workloadSelector\":", "\"listeners\":", "\"allowedRoutes\":", "\"matchExpressions\":", "\"conditions\":", "\"istio.io/use-waypoint\":\"w\"", "\"istio.io/dataplane-mode\":", "\\n", "*x", "&x ", "70000", "-1", "1e99");

    public override void Run(byte[] input)
    {
        var mode = (input.Length > 0 ? input[0] : 0) % 7;
        if (UserObjects.Read(input.AsSpan(Math.Min(1, input.Length))) is not { } given) return;
        var failures = new List<string>();
        var graph = new CollectionGraph { TransformationFailed = (_, failed, problem) => failures.Add($"{failed}: {problem.GetType().Name} {problem.Message}") };
        var mesh = new MeshCollections(graph, new MeshScope());
        var (pod, entry, waypoint) = (JsonSerializer.Deserialize(Pod, KubernetesJson.Of<Pod>())!, JsonSerializer.Deserialize(Entry, KubernetesJson.Of<ServiceEntry>())!, JsonSerializer.Deserialize(Waypoint, KubernetesJson.Of<Gateway>())!);
        graph.Apply(() =>
        {
            mesh.Pods.Set(pod.Key, pod);
            mesh.Entries.ServiceEntries.Set(entry.Key, entry);
            mesh.Waypoints.Gateways.Set(waypoint.Key, waypoint);
        });
        var read = false;
        ServiceEntry? added = null;
        graph.Apply(() => read = Set(mesh, mode, given, o => added = o));
        if (!read) return;
        Demand.That(mesh.Addresses.Items.Any(i => i.Key == "Kubernetes//Pod/ns/p"), "a bystander stays");
        Demand.That(failures.All(f => f.Contains("FormatException", StringComparison.Ordinal)), $"only what is written wrongly is refused: {string.Join("; ", failures)}");
        foreach (var (name, address) in mesh.Addresses.Items)
        {
            var reason = "";
            Demand.That(address.Message.Workload is { } workload ? AddressDecoding.TryDecode(workload, out Workload? _, out reason!) : AddressDecoding.TryDecode(address.Message.Service, out MeshService? _, out reason!), $"a ztunnel takes what results: {name} {reason}");
            Demand.That(mesh.OriginsOf(name).Any(), $"what results has an object behind it: {name}");
        }
        foreach (var (_, report) in mesh.Statuses.ServiceEntries.Items.Concat(mesh.Statuses.WorkloadEntries.Items)) Demand.That(report.Wanted.All(c => c.Type.Length > 0 && c.Status is "True" or "False"), "a status can be written");
        if (added is not null) CheckAddresses([entry, added], mesh);
    }

    private static bool Set(MeshCollections mesh, int mode, JsonObject given, Action<ServiceEntry> entry) => mode switch
    {
        0 => UserObjects.Typed<ServiceEntry>(given, o =>
        {
            if (o.Name == "bystander") return;
            mesh.Entries.ServiceEntries.Set(o.Key, o);
            entry(o);
        }),
        1 => UserObjects.Typed<WorkloadEntry>(given, o => mesh.Entries.WorkloadEntries.Set(o.Key, o)),
        2 => UserObjects.Typed<Gateway>(given, o => mesh.Waypoints.Gateways.Set(o.Key, o)),
        3 => UserObjects.Typed<GatewayClass>(given, o => mesh.Waypoints.GatewayClasses.Set(o.Key, o)),
        4 => UserObjects.Typed<Namespace>(given, o => mesh.Namespaces.Set(o.Key, o)),
        5 => UserObjects.Typed<Node>(given, o => mesh.Nodes.Set(o.Key, o)),
        _ => UserObjects.Typed<ConfigMap>(given, o => mesh.Entries.Configuration.Set(new ObjectKey("istio-system", "istio"), o)),
    };

    private static void CheckAddresses(IReadOnlyList<ServiceEntry> entries, MeshCollections mesh)
    {
        var due = new AddressPlan(Ipv4, Ipv6).Decide(entries, out _).ToDictionary(d => d.Entry.Key, d => d.Addresses);
        var held = entries.SelectMany(e => due.GetValueOrDefault(e.Key) ?? e.Status.Addresses).Select(a => a.Value).ToList();
        Demand.Equal(held.Distinct().Count(), held.Count, "no address is given twice");
        foreach (var text in entries.SelectMany(e => due.GetValueOrDefault(e.Key) ?? []).Select(a => a.Value))
            foreach (var (name, address) in mesh.Addresses.Items.Where(i => i.Value.Message.Service is not null && entries.Any(e => e.Spec.Addresses.Count > 0 && e.Namespace == i.Value.Message.Service.Namespace && e.Name == i.Value.Message.Service.Name)))
                foreach (var written in address.Message.Service.Addresses)
                    Demand.That(!Covers(written, IPAddress.Parse(text)), $"nothing is given out of a range somebody wrote: {text} of {name}");
    }

    private static bool Covers(Protocol.Wds.NetworkAddress written, IPAddress address)
    {
        var of = new IPAddress(written.Address.Span);
        return of.AddressFamily == address.AddressFamily && (written.HasLength ? new IPNetwork(of, (int)written.Length).Contains(address) : of.Equals(address));
    }
}
