using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Cni.Node.Enrollment;
using AmbientMesh.Cni.Node.Installation;
using AmbientMesh.Cni.Node.Ztunnel;
using AmbientMesh.Telemetry;
using AmbientMesh.Telemetry.Coverage;

namespace AmbientMesh.Cni.Node.Status;

/// <summary>Port 8000: <c>/healthz</c>, <c>/readyz</c> (200 once the configuration is installed and the agent serves) <c>/status</c>, which names every pod that should be enrolled and is not, and
/// <c>/debug/coverage</c>, which has the state of each.</summary>
internal sealed class StatusEndpoint(string node, string backend, Func<PluginInstallation?> installation, Func<bool> isServing, EnrolledPods pods, UnenrolledPods unenrolled, ZdsServer ztunnels, Func<DateTimeOffset?> lastVerification, NodeCoverageReport coverage)
{
    private static readonly string s_version = typeof(StatusEndpoint).Assembly.GetName().Version?.ToString(3) ?? "unknown";

    public HttpEndpointResponse Answer(HttpEndpointRequest request) => request.Path switch
    {
        "/healthz" => HttpEndpointResponse.Text(200, "ok\n"),
        "/readyz" => Readiness(),
        "/status" => HttpEndpointResponse.Json(System.Text.Encoding.UTF8.GetBytes(Status().ToJsonString() + "\n")),
        "/debug/coverage" when request.Method is "GET" or "HEAD" => HttpEndpointResponse.Json(JsonSerializer.SerializeToUtf8Bytes(coverage.Report(), CoverageJson.Default.AgentCoverage)),
        "/debug/coverage" => HttpEndpointResponse.MethodNotAllowed,
        _ => HttpEndpointResponse.NotFound,
    };

    private IEnumerable<string> Problems()
    {
        if (!isServing()) yield return "the agent is still starting";
        if (installation() is not { Problem: null } installed) yield return installation()?.Problem ?? "the plugin is not installed yet";
    }

    // A pod in trouble does not make the agent unready: it could not help that pod by leaving the others alone.
    private HttpEndpointResponse Readiness()
    {
        string[] problems = [.. Problems()];
        var text = problems.Length == 0 ? "ready\n" : string.Concat(problems.Select(problem => $"not ready: {problem}\n"));
        text += string.Concat(unenrolled.All.Select(pod => $"pod not enrolled: {pod.Key}: {pod.Reason}\n"));
        if (ztunnels.Connected == 0) text += "no ztunnel is connected\n";
        return HttpEndpointResponse.Text(problems.Length == 0 ? 200 : 503, text);
    }

    private JsonObject Status() => new()
    {
        ["node"] = node,
        ["version"] = s_version,
        ["ready"] = !Problems().Any(),
        ["problems"] = new JsonArray([.. Problems().Select(problem => (JsonNode?)problem)]),
        ["redirection"] = backend,
        ["ztunnels"] = ztunnels.Connected,
        ["lastVerification"] = lastVerification()?.ToString("O"),
        ["enrolled"] = new JsonArray([.. pods.All.OrderBy(pod => pod.Key).Select(pod => (JsonNode)new JsonObject
        {
            ["namespace"] = pod.Key.Namespace,
            ["name"] = pod.Key.Name,
            ["uid"] = pod.Uid,
            ["addresses"] = new JsonArray([.. pod.Addresses.Select(address => (JsonNode?)address.ToString())]),
            ["networkNamespace"] = pod.Namespace?.Id.ToString(),
            ["complete"] = pod.IsComplete,
            ["acknowledged"] = ztunnels.Serves(pod.Uid),
        })]),
        ["notEnrolled"] = new JsonArray([.. unenrolled.All.Select(pod => (JsonNode)new JsonObject
        {
            ["namespace"] = pod.Key.Namespace,
            ["name"] = pod.Key.Name,
            ["uid"] = pod.Uid,
            ["ready"] = false,
            ["gap"] = pod.Gap.Word(),
            ["reason"] = pod.Reason,
            ["since"] = pod.Since.ToString("O"),
        })]),
    };
}
