using AmbientMesh.Kubernetes;
using AmbientMesh.Protocol.Wds;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>Where a node stands, by its labels. Heartbeats do not change it, so they move no workload.</summary>
public sealed record NodeLocality(string Name, string Region, string Zone, string Subzone)
{
    private const string RegionLabel = "topology.kubernetes.io/region";
    private const string ZoneLabel = "topology.kubernetes.io/zone";
    private const string SubzoneLabel = "topology.istio.io/subzone";

    public static NodeLocality Of(Node node)
    {
        var labels = node.Metadata.Labels;
        return new NodeLocality(node.Name, labels.GetValueOrDefault(RegionLabel, ""), labels.GetValueOrDefault(ZoneLabel, ""), labels.GetValueOrDefault(SubzoneLabel, ""));
    }

    /// <summary>Null when the node has none of the labels.</summary>
    public Locality? ToWire() =>
        Region.Length == 0 && Zone.Length == 0 && Subzone.Length == 0 ? null : new Locality { Region = Region, Zone = Zone, Subzone = Subzone };
}
