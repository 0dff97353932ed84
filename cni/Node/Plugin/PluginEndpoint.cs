using System.Net.Sockets;
using System.Text.Json;
using AmbientMesh.Cni.Node.Enrollment;
using AmbientMesh.Kubernetes;
using AmbientMesh.Linux;
using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Cni.Node.Plugin;

/// <summary>Answers the plugin, which asks for every pod that starts and lets it start only after a 200. Source: reference 9.5.</summary>
/// <remarks>
/// A pod that is not eligible is an error, as in the reference, unless the caller asks with <see cref="EligibilityHeader"/>: our plugin leaves
/// the decision to the agent and gets 200 with the reason.
/// </remarks>
internal sealed class PluginEndpoint(
    EnrollmentRules rules, Informer<Pod> pods, Informer<Namespace> namespaces, PodReconciler reconciler,
    string hostRoot, AgentMetrics metrics, TimeProvider clock, ILogger log)
{
    public const string EligibilityHeader = "x-ambientmesh-eligibility";
    public const string NotEligible = "not eligible: ";

    private const int Tries = 10;
    private static readonly TimeSpan s_betweenTries = TimeSpan.FromMilliseconds(10);

    /// <summary>Listens on a Unix socket that only root may use; a file left there is replaced.</summary>
    /// <exception cref="IOException">The path cannot be bound.</exception>
    public static Socket Bind(string path)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.Delete(path);
            socket.Bind(new UnixDomainSocketEndPoint(path));
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            return socket;
        }
        catch (Exception e) when (e is SocketException or UnauthorizedAccessException or ArgumentOutOfRangeException)
        {
            socket.Dispose();
            throw new IOException($"The plugin socket {path} cannot be opened: {e.Message}", e);
        }
    }

    /// <summary>Answers a request on the plugin's socket.</summary>
    public async ValueTask<HttpEndpointResponse> AnswerAsync(HttpEndpointRequest request, CancellationToken cancellationToken)
    {
        var answer = request is { Method: "POST", Path: "/cmdadd" } ? await AddAsync(request, cancellationToken) : HttpEndpointResponse.NotFound;
        metrics.PluginAnswered(answer.Status);
        return answer;
    }

    /// <summary>Takes log lines of a plugin: a JSON array of strings.</summary>
    public ValueTask<HttpEndpointResponse> LogAsync(HttpEndpointRequest request, CancellationToken cancellationToken)
    {
        if (request is not { Method: "POST", Path: "/log" }) return ValueTask.FromResult(HttpEndpointResponse.NotFound);
        try
        {
            foreach (var line in JsonSerializer.Deserialize(request.Body.Span, AddRequestJson.Default.ListString) ?? []) log.LogInformation("plugin: {Line}", line);
            return ValueTask.FromResult(HttpEndpointResponse.Text(200, ""));
        }
        catch (JsonException e)
        {
            return ValueTask.FromResult(HttpEndpointResponse.Text(400, $"not an array of strings: {e.Message}"));
        }
    }

    private async Task<HttpEndpointResponse> AddAsync(HttpEndpointRequest request, CancellationToken cancellationToken)
    {
        if (!AddRequest.TryRead(request.Body.Span, out var add, out var problem)) return HttpEndpointResponse.Text(400, problem);
        var key = new ObjectKey(add.PodNamespace!, add.PodName!);
        try
        {
            var (pod, ns) = await FindAsync(key, add.PodUid, cancellationToken);
            if (pod is null || ns is null) return Refuse(key, "the agent has not seen the pod or its namespace yet");
            var decision = rules.Decide(pod, ns.Metadata.Labels);
            if (!decision.ShouldBeEnrolled)
            {
                return request.Headers.ContainsKey(EligibilityHeader)
                    ? HttpEndpointResponse.Text(200, NotEligible + decision.Reason)
                    : Refuse(key, $"not eligible for the mesh: {decision.Reason}");
            }
            await reconciler.EnrolStartingAsync(pod, Open(add.Netns!), add.Addresses, cancellationToken);
            return HttpEndpointResponse.Text(200, "");
        }
        catch (Exception e) when (e is EnrollmentException or IOException)
        {
            return Refuse(key, e.Message);
        }
    }

    private HttpEndpointResponse Refuse(ObjectKey key, string reason)
    {
        log.LogWarning("{Pod} may not start: {Reason}", key, reason);
        return HttpEndpointResponse.Text(500, reason);
    }

    // The runtime may be faster than the watch.
    private async Task<(Pod?, Namespace?)> FindAsync(ObjectKey key, string? uid, CancellationToken cancellationToken)
    {
        for (var i = 0; ; i++)
        {
            var pod = pods.Get(key);
            if (pod is not null && uid is { Length: > 0 } && pod.Metadata.Uid != uid && !IsMirror(pod)) pod = null;   // an earlier pod of that name
            var ns = namespaces.Get("", key.Namespace);
            if ((pod is not null && ns is not null) || i == Tries) return (pod, ns);
            await Task.Delay(s_betweenTries, clock, cancellationToken);
        }
    }

    // The runtime knows a static pod by another uid than the API server.
    private static bool IsMirror(Pod pod) => pod.Metadata.Annotations.ContainsKey("kubernetes.io/config.mirror");

    // The runtime's path is the node's; here it is mounted below /host.
    private NetworkNamespace Open(string path)
    {
        var mounted = hostRoot.TrimEnd('/') + path;
        return NetworkNamespace.Open(File.Exists(mounted) ? mounted : path);
    }
}
