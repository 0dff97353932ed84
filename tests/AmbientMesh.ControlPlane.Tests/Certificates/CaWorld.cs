using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Certificates;
using AmbientMesh.ControlPlane.Kubernetes;
using AmbientMesh.Identity;
using AmbientMesh.Kubernetes;
using AmbientMesh.Kubernetes.Tests;
using AmbientMesh.Protocol.Ca;
using AmbientMesh.Rpc;
using AmbientMesh.Telemetry;
using Google.Protobuf.WellKnownTypes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Tests.Certificates;

/// <summary>A CA with an API server over loopback: one ztunnel on node-1 which serves the pods client and server of namespace default.</summary>
internal sealed class CaWorld : IAsyncDisposable
{
    public const string Token = "h.e30.s";
    public const string Client = "spiffe://cluster.local/ns/default/sa/client";

    private readonly CancellationTokenSource _stop = new();
    private Task _watching = Task.CompletedTask;

    public required MemoryApi Api { get; init; }
    public required KubernetesClient Kubernetes { get; init; }
    public required FakeTimeProvider Clock { get; init; }
    public required SigningAuthority Authority { get; init; }
    public required CertificateRequests Requests { get; init; }
    public required CallerAuthentication Callers { get; init; }
    public required MetricRegistry Metrics { get; init; }
    public required CapturedLog Log { get; init; }
    public required Informer<Pod> Pods { get; init; }

    /// <summary>Names of reviewed tokens, in order.</summary>
    public ConcurrentQueue<string> Reviewed { get; } = [];

    public static async Task<CaWorld> StartAsync(IReadOnlyList<string>? trusted = null, string? pluggedInFolder = null)
    {
        var api = await MemoryApi.StartAsync();
        // The recorded requests were made on this day.
        var clock = new FakeTimeProvider(new DateTimeOffset(2026, 11, 21, 1, 23, 23, TimeSpan.Zero));
        var kubernetes = api.Client(clock);
        var log = new CapturedLog();
        PutPod(api, "istio-system", "ztunnel-abcde", "ztunnel", "node-1", uid: "uid-of-ztunnel");
        PutPod(api, "default", "client-1", "client", "node-1");
        PutPod(api, "default", "server-1", "server", "node-1");
        PutPod(api, "default", "late-1", "late", "node-1");
        PutPod(api, "default", "elsewhere-1", "elsewhere", "node-2");
        PutPod(api, "default", "failed-1", "failed", "node-1", phase: "Failed");

        var pods = new Informer<Pod>(kubernetes.Of<Pod>());
        var lookup = new PodsOnNodes(pods);
        var options = new SigningAuthorityOptions { TrustDomain = "cluster.local", SystemNamespace = "istio-system", PluggedInFolder = pluggedInFolder ?? "/nowhere" };
        var authority = await SigningAuthority.LoadAsync(options, kubernetes, log, Patience.Token);
        var callers = new CallerAuthentication(kubernetes, new CallerAuthenticationOptions { TrustDomain = "cluster.local", ClusterId = "Kubernetes" });
        var registry = new MetricRegistry();
        var metrics = new CertificateMetrics(registry, () => authority.Current, clock);
        var world = new CaWorld
        {
            Api = api,
            Kubernetes = kubernetes,
            Clock = clock,
            Authority = authority,
            Callers = callers,
            Metrics = registry,
            Log = log,
            Pods = pods,
            Requests = new CertificateRequests(callers, authority, lookup, trusted ?? ["istio-system/ztunnel"], metrics, clock, log),
        };
        api.Review = token =>
        {
            world.Reviewed.Enqueue(token);
            return Reviews.Ztunnel();
        };
        world._watching = pods.RunAsync(world._stop.Token);
        await pods.WaitForSyncAsync(Patience.Token);
        return world;
    }

    public Task<IstioCertificateResponse> AskAsync(IstioCertificateRequest request, string token = Token, string? cluster = "Kubernetes")
    {
        RpcMetadata metadata = [];
        metadata.Add("authorization", $"Bearer {token}");
        if (cluster is not null) metadata.Add("clusterid", cluster);
        return Requests.CreateAsync(request, metadata, "10.0.0.1:1", Patience.Token);
    }

    public async Task<RpcException> RefusedAsync(IstioCertificateRequest request, string token = Token, string? cluster = "Kubernetes") =>
        await Assert.ThrowsAsync<RpcException>(() => AskAsync(request, token, cluster));

    public static IstioCertificateRequest Request(string? impersonated = Client, long seconds = 86400, string? csr = null)
    {
        using var key = CsrBuilder.NewKey();
        AmbientMesh.Model.SpiffeId.TryParse(Client, out var id);
        var request = new IstioCertificateRequest { Csr = csr ?? CsrBuilder.Build(id, key), ValidityDuration = seconds };
        if (impersonated is not null) request.Metadata = new Struct { Fields = { ["ImpersonatedIdentity"] = Value.ForString(impersonated) } };
        return request;
    }

    public static void PutPod(MemoryApi api, string ns, string name, string account, string node, string phase = "Running", string? uid = null) =>
        api.Put($"/api/v1/namespaces/{ns}/pods", $$$"""
            {"metadata":{"name":"{{{name}}}","uid":"{{{uid ?? "uid-of-" + name}}}"},"spec":{"serviceAccountName":"{{{account}}}","nodeName":"{{{node}}}"},"status":{"phase":"{{{phase}}}"}}
            """);

    public string Exposed() => MetricExposition.Write(Metrics, MetricFormat.Prometheus);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Patience.Within(_watching.ContinueWith(_ => { }, TaskScheduler.Default));
        Kubernetes.Dispose();
        await Api.DisposeAsync();
        _stop.Dispose();
    }
}

/// <summary>Answers of TokenReview as a real API server gives them.</summary>
internal static class Reviews
{
    public static JsonObject Ztunnel(string uid = "uid-of-ztunnel", string pod = "ztunnel-abcde") => Account("istio-system", "ztunnel", pod, uid);

    public static JsonObject Account(string ns, string account, string? pod, string? uid, string audience = "istio-ca") => new()
    {
        ["authenticated"] = true,
        ["audiences"] = new JsonArray(audience),
        ["user"] = new JsonObject
        {
            ["username"] = $"system:serviceaccount:{ns}:{account}",
            ["groups"] = new JsonArray("system:serviceaccounts", $"system:serviceaccounts:{ns}", "system:authenticated"),
            ["extra"] = pod is null ? new JsonObject() : new JsonObject
            {
                ["authentication.kubernetes.io/pod-name"] = new JsonArray(pod),
                ["authentication.kubernetes.io/pod-uid"] = new JsonArray(uid!),
            },
        },
    };
}

internal sealed class CapturedLog : ILogger
{
    public ConcurrentQueue<string> Lines { get; } = [];
    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;
    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        Lines.Enqueue(formatter(state, exception));
}
