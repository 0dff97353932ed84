using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>How a workload is spoken to: HBONE when the CNI has redirected it, or when it says that it speaks HBONE itself (reference 4.8).</summary>
internal static class TunnelChoice
{
    private const string RedirectionAnnotation = "ambient.istio.io/redirection";
    private const string TunnelLabel = "networking.istio.io/tunnel";

    public static void Apply(Wds.Workload workload, IReadOnlyDictionary<string, string> labels, IReadOnlyDictionary<string, string> annotations)
    {
        workload.NativeTunnel = labels.GetValueOrDefault(TunnelLabel, "").Split(',').Contains("http");
        var isRedirected = annotations.GetValueOrDefault(RedirectionAnnotation) == "enabled";
        workload.TunnelProtocol = isRedirected || workload.NativeTunnel ? Wds.TunnelProtocol.Hbone : Wds.TunnelProtocol.None;
    }
}
