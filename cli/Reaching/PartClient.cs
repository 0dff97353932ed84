using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Cli.CommandLine;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.Cli.Reaching;

/// <summary>An HTTP answer of a part.</summary>
public sealed record PartAnswer(HttpStatusCode Status, byte[] Body)
{
    public string Text => Encoding.UTF8.GetString(Body);
}

/// <summary>What one part answered, or why nothing is known; the failure of one part never hides the others.</summary>
public readonly record struct Asked<T>(T? Answer, string? Problem) where T : class;

/// <summary>Asks the parts' own HTTP ports, through port-forward: also those that listen on the pod's loopback only.</summary>
public sealed class PartClient(PodPorts ports, TimeProvider clock)
{
    /// <summary>Ports of the parts (architecture: ports).</summary>
    public const int ZtunnelAdmin = 15000, ZtunnelMetrics = 15020, ControlPlaneDebug = 8080, ControlPlaneMonitoring = 15014, AgentStatus = 8000;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    /// <summary>Sends one request to a port inside a pod and returns the whole answer, whatever its status.</summary>
    /// <exception cref="MeshctlException">The port cannot be reached, or does not answer in time.</exception>
    public async Task<PartAnswer> AskAsync(Pod pod, int port, string path, CancellationToken cancellationToken, HttpMethod? method = null)
    {
        var (ns, name) = (pod.Metadata.Namespace ?? "", pod.Key.Name);
        using var handler = new SocketsHttpHandler { ConnectCallback = async (_, token) => await ports.ConnectAsync(ns, name, port, token), UseProxy = false, UseCookies = false };
        using var http = new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan };
        using var request = new HttpRequestMessage(method ?? HttpMethod.Get, new Uri($"http://localhost:{port}{path}"));
        request.Headers.ConnectionClose = true;
        using var late = new CancellationTokenSource(Patience, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(late.Token, cancellationToken);
        try
        {
            using var answer = await http.SendAsync(request, either.Token);
            return new PartAnswer(answer.StatusCode, await answer.Content.ReadAsByteArrayAsync(either.Token));
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new MeshctlException($"Pod {ns}/{name} did not answer on port {port} within {Patience.TotalSeconds:0} s.", e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or KubernetesException)
        {
            throw new MeshctlException(Explain(e, ns, name, port), e);
        }
    }

    /// <summary>The answer of a page that must exist.</summary>
    /// <exception cref="MeshctlException">It cannot be had.</exception>
    public async Task<byte[]> PageAsync(Pod pod, int port, string path, CancellationToken cancellationToken)
    {
        var answer = await AskAsync(pod, port, path, cancellationToken);
        return answer.Status == HttpStatusCode.OK ? answer.Body
            : throw new MeshctlException($"Pod {pod.Metadata.Namespace}/{pod.Key.Name} answered {(int)answer.Status} to {path} on port {port}: {Shortened(answer.Text)}");
    }

    /// <inheritdoc cref="PageAsync"/>
    public async Task<string> TextAsync(Pod pod, int port, string path, CancellationToken cancellationToken) => Encoding.UTF8.GetString(await PageAsync(pod, port, path, cancellationToken));

    /// <summary>The answer of a page that must exist, as JSON.</summary>
    /// <exception cref="MeshctlException">It cannot be had.</exception>
    public async Task<JsonNode> JsonAsync(Pod pod, int port, string path, CancellationToken cancellationToken)
    {
        var page = await PageAsync(pod, port, path, cancellationToken);
        try
        {
            return AnswerJson.Read(page);
        }
        catch (JsonException e)
        {
            throw new MeshctlException($"Pod {pod.Metadata.Namespace}/{pod.Key.Name} answered {path} on port {port} with something that is not JSON: {e.Message}", e);
        }
    }

    /// <summary>Asks one thing and keeps the problem instead of throwing it.</summary>
    public static async Task<Asked<T>> TryAsync<T>(Func<Task<T>> ask) where T : class
    {
        try
        {
            return new Asked<T>(await ask(), null);
        }
        catch (MeshctlException e)
        {
            return new Asked<T>(null, e.Message);
        }
    }

    private static string Explain(Exception failure, string ns, string pod, int port)
    {
        for (var e = failure; e is not null; e = e.InnerException)
        {
            if (e is KubernetesException { IsForbidden: true } forbidden)
                return $"{forbidden.Status.Message ?? forbidden.Message}. meshctl reaches the mesh's pods by port-forward; it needs the verbs get and create on pods/portforward in namespace {ns}.";
            if (e is KubernetesException refused) return refused.Message;
        }
        return $"Port {port} of pod {ns}/{pod} cannot be reached: {failure.GetBaseException().Message}";
    }

    private static string Shortened(string text) => text.Length <= 200 ? text.Trim() : text[..200].Trim() + "…";
}
