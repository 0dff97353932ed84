using System.Text;
using System.Text.Json;
using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.ControlPlane.Discovery;
using AmbientMesh.ControlPlane.Translation;
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

    public IEnumerable<string> Names => Mesh.Addresses.Items.Select(i => i.Key).Order(StringComparer.Ordinal);

    /// <summary>Every resource by name, as JSON.</summary>
    public string Text()
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true }))
        {
            json.WriteStartObject();
            foreach (var name in Names)
            {
                json.WritePropertyName(name);
                ResourceText.Write(json, Mesh.Addresses.Find(name)!.Message);
            }
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(buffer.ToArray()) + "\n";
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
            default: throw new NotSupportedException(item.GetType().Name);
        }
    }
}
