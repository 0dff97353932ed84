using System.Text;
using System.Text.Json;
using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.ControlPlane.Discovery;
using AmbientMesh.ControlPlane.Translation;
using AmbientMesh.ControlPlane.Translation.Waypoints;
using AmbientMesh.Kubernetes;
using AmbientMesh.Protocol.Wds;
using Service = AmbientMesh.Kubernetes.Service;

namespace AmbientMesh.ControlPlane.Tests.Translation;

/// <summary>The collections of the control plane fed by hand.</summary>
internal sealed class TranslationWorld
{
    public TranslationWorld(MeshScope? scope = null)
    {
        Graph = new CollectionGraph { TransformationFailed = (collection, key, problem) => Failures.Add($"{collection} {key}: {problem.Message}") };
        Mesh = new MeshCollections(Graph, scope ?? new MeshScope());
        Mesh.Addresses.Subscribe(changes => Changed.AddRange(changes.Select(c => c.Key)));
    }

    public CollectionGraph Graph { get; }
    public MeshCollections Mesh { get; }
    public List<string> Failures { get; } = [];

    /// <summary>Names of the resources that changed, in order; clear it between steps.</summary>
    public List<string> Changed { get; } = [];

    public TranslationWorld With(params IEnumerable<KubernetesObject> objects)
    {
        Graph.Apply(() =>
        {
            foreach (var item in objects) Set(item);
        });
        return this;
    }

    public TranslationWorld WithYaml(string yaml) => With(KubernetesObjects.OfYaml(yaml));

    public Workload Workload(string uid) => Mesh.Addresses.Find(uid)?.Message.Workload ?? throw new KeyNotFoundException($"{uid} is not among {string.Join(", ", Names)}");

    public Protocol.Wds.Service Service(string name) => Mesh.Addresses.Find(name)?.Message.Service ?? throw new KeyNotFoundException($"{name} is not among {string.Join(", ", Names)}");

    /// <summary>The conditions an object is to carry, as <c>type=status reason</c>; empty when it says nothing.</summary>
    public IReadOnlyList<string> Conditions(ResourceType type, string ns, string name) =>
        [.. Statuses.Where(s => s.Type == type && s.Key == new ObjectKey(ns, name)).SelectMany(s => s.Wanted).Select(c => $"{c.Type}={c.Status} {c.Reason}")];

    public IEnumerable<StatusReport> Statuses => Mesh.Statuses.Services.Items.Concat(Mesh.Statuses.ServiceEntries.Items).Concat(Mesh.Statuses.WorkloadEntries.Items).Select(i => i.Value);

    public IEnumerable<string> Names => Mesh.Addresses.Items.Select(i => i.Key).Order(StringComparer.Ordinal);

    /// <summary>Every resource by name, as JSON; then what objects are to say about themselves, if any.</summary>
    public string Text()
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            foreach (var name in Names)
            {
                json.WritePropertyName(name);
                ResourceText.Write(json, Mesh.Addresses.Find(name)!.Message);
            }
            if (Statuses.Any()) WriteStatuses(json);
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(buffer.ToArray()) + "\n";
    }

    private void WriteStatuses(Utf8JsonWriter json)
    {
        json.WriteStartObject("statuses");
        foreach (var report in Statuses.OrderBy(s => s.Type.Kind, StringComparer.Ordinal).ThenBy(s => s.Key))
            foreach (var condition in report.Wanted)
                json.WriteString($"{report.Type.Kind} {report.Key} {condition.Type}", $"{condition.Status} {condition.Reason}: {condition.Message}");
        json.WriteEndObject();
    }

    private void Set(KubernetesObject item)
    {
        switch (item)
        {
            case Namespace ns: Mesh.Namespaces.Set(ns.Key, ns); break;
            case Node node: Mesh.Nodes.Set(node.Key, node); break;
            case Pod pod: Mesh.Pods.Set(pod.Key, pod); break;
            case Service service: Mesh.Services.Set(service.Key, service); break;
            case EndpointSlice slice: Mesh.EndpointSlices.Set(slice.Key, slice); break;
            case ConfigMap map: Mesh.Entries.Configuration.Set(map.Key, map); break;
            case ServiceEntry entry: Mesh.Entries.ServiceEntries.Set(entry.Key, entry); break;
            case WorkloadEntry entry: Mesh.Entries.WorkloadEntries.Set(entry.Key, entry); break;
            case Gateway gateway: Mesh.Waypoints.Gateways.Set(gateway.Key, LastAddress.Keep(Mesh.Waypoints.Gateways.Find(gateway.Key), gateway)); break;
            case GatewayClass @class: Mesh.Waypoints.GatewayClasses.Set(@class.Key, @class); break;
            default: throw new NotSupportedException(item.GetType().Name);
        }
    }
}
