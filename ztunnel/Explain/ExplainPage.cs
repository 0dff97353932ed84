using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using AmbientMesh.Hbone;
using AmbientMesh.Model;
using AmbientMesh.Model.Explanation;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.InPod;

namespace AmbientMesh.Ztunnel.Explain;

/// <summary><c>GET /debug/explain</c>: what this ztunnel would do with a connection now, and why.</summary>
/// <remarks>
/// Outbound half, for a pod of any node the mesh knows: <c>from=namespace/pod</c>, <c>to=host:port</c> or <c>ip:port</c>; <c>captured=false</c> explains a
/// pod that is not enrolled. Inbound half: <c>side=inbound</c>, <c>pod=namespace/pod</c>, <c>to=</c> the authority asked for, <c>identity=</c> the client's SPIFFE id
/// (none: a plain connection), <c>source=</c> its address, <c>address=</c> the pod's address it arrives at (else its first).
/// Answer: <see cref="OutboundExplanation"/> or <see cref="InboundExplanation"/>; 400 names the parameter, 404 says that the pod is not known here.
/// </remarks>
/// <param name="pods">The pods handed to this ztunnel, and whether it serves each.</param>
public sealed class ExplainPage(ProxyServices services, Func<IEnumerable<(WorkloadInfo Pod, bool IsUp)>> pods, string version)
{
    private readonly ExplainSettings _settings = ExplainSettings.Of(services.Settings);

    public HttpEndpointResponse Answer(HttpEndpointRequest request)
    {
        if (request.Method is not ("GET" or "HEAD")) return HttpEndpointResponse.MethodNotAllowed;
        var side = request.QueryValue("side") ?? "outbound";
        if (!TryAuthority(request, out var to)) return Problem(400, "to: expected host:port or ip:port");
        return side switch
        {
            "outbound" => Outbound(request, to),
            "inbound" => Inbound(request, to),
            _ => Problem(400, "side: expected outbound or inbound"),
        };
    }

    private HttpEndpointResponse Outbound(HttpEndpointRequest request, HboneAuthority to)
    {
        if (!TryPod(request.QueryValue("from"), out var ns, out var name)) return Problem(400, "from: expected namespace/pod");
        var mesh = services.Mesh.Current;
        var served = Served(ns, name);
        if (request.QueryValue("captured") == "false") return Json(OutboundExplainer.Direct(mesh, ns, to, _settings) with { By = By(), ServedAs = served }, ExplanationJson.Default.OutboundExplanation);
        if (Find(mesh, ns, name) is not { } source) return Problem(404, $"pod {ns}/{name} is not known here");
        var said = OutboundExplainer.Captured(mesh, source, to, _settings, services.Unanswered.For(source));
        return Json(said with { By = By(), ServedAs = served, Certificate = Certificate(source), AsksOnDemand = services.Settings.XdsOnDemand }, ExplanationJson.Default.OutboundExplanation);
    }

    private HttpEndpointResponse Inbound(HttpEndpointRequest request, HboneAuthority to)
    {
        if (!TryPod(request.QueryValue("pod"), out var ns, out var name)) return Problem(400, "pod: expected namespace/pod");
        if (!IPAddress.TryParse(request.QueryValue("source"), out var source)) return Problem(400, "source: expected the client's address");
        var identity = request.QueryValue("identity");
        SpiffeId? peer = null;
        if (!string.IsNullOrEmpty(identity))
        {
            if (!SpiffeId.TryParse(identity, out var id, out var reason)) return Problem(400, $"identity: {reason}");
            peer = id;
        }
        var mesh = services.Mesh.Current;
        if (Find(mesh, ns, name) is not { } local) return Problem(404, $"pod {ns}/{name} is not known here");
        if (!TryLocalAddress(request, to, local, out var address)) return Problem(400, $"address: pod {ns}/{name} has no such address");
        if (peer is null && to.Address is null) return Problem(400, "to: a plain connection arrives at an address and port");
        var said = peer is { } client
            ? InboundExplainer.Hbone(mesh, local, address, to, client, source, _settings)
            : InboundExplainer.Plaintext(mesh, local, new IPEndPoint(to.Address!, to.Port), source, _settings);
        return Json(said with { By = By(), ServedAs = Served(ns, name), Certificate = Certificate(local) }, ExplanationJson.Default.InboundExplanation);
    }

    private Answerer By() => new() { Node = services.Settings.NodeName, Version = version, At = services.Clock.GetUtcNow() };

    /// <summary>The pod's workload; of several of one name, as while it is replaced, the one this proxy serves.</summary>
    private Workload? Find(MeshSnapshot mesh, string ns, string name)
    {
        foreach (var (pod, _) in pods())
            if (pod.Namespace == ns && pod.Name == name && mesh.FindWorkload(pod) is { } served) return served;
        return mesh.FindPod(ns, name);
    }

    private string? Served(string ns, string name)
    {
        string? state = null;
        foreach (var (pod, isUp) in pods())
            if (pod.Namespace == ns && pod.Name == name) state = isUp ? "Up" : state ?? "Pending";
        return state;
    }

    private CertificateReport? Certificate(Workload workload)
    {
        if (services.Svids.States.FirstOrDefault(s => s.Identity == workload.Identity) is not { } state) return null;
        return new CertificateReport(state.Identity.ToString(), state.Current is not null, state.Current?.NotBefore, state.Current?.NotAfter, state.Current is null ? state.Problem : null);
    }

    private static bool TryLocalAddress(HttpEndpointRequest request, HboneAuthority to, Workload local, out IPAddress address)
    {
        address = IPAddress.None;
        if (request.QueryValue("address") is { } text)
        {
            if (!IPAddress.TryParse(text, out var given) || !local.Addresses.Contains(given)) return false;
            address = given;
            return true;
        }
        address = to.Address is { } asked && local.Addresses.Contains(asked) ? asked : local.Addresses.FirstOrDefault(IPAddress.None);
        return !address.Equals(IPAddress.None);
    }

    private static bool TryAuthority(HttpEndpointRequest request, [NotNullWhen(true)] out HboneAuthority? authority)
    {
        authority = null;
        return request.QueryValue("to") is { } text && HboneAuthority.TryParse(text, out authority);
    }

    private static bool TryPod(string? text, out string ns, out string name)
    {
        (ns, name) = ("", "");
        if (text?.Split('/') is not [{ Length: > 0 } first, { Length: > 0 } second]) return false;
        (ns, name) = (first, second);
        return true;
    }

    private static HttpEndpointResponse Problem(int status, string text) => HttpEndpointResponse.Text(status, text + "\n");

    private static HttpEndpointResponse Json<T>(T said, JsonTypeInfo<T> type) => HttpEndpointResponse.Json(JsonSerializer.SerializeToUtf8Bytes(said, type));
}
