using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Certificates;
using AmbientMesh.ControlPlane.Kubernetes;
using AmbientMesh.Identity;
using AmbientMesh.Kubernetes;
using AmbientMesh.Kubernetes.Tests;
using AmbientMesh.Model;
using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.ControlPlane.Tests.Certificates;

/// <summary>Replicas of the CA with a self-signed root of 100 days and certificates of at most 10, over one API server.</summary>
/// <remarks>Certificates live by a clock that the test moves; leases and watches by the real one.</remarks>
internal sealed class RotationWorld : IAsyncDisposable
{
    public const string SecretPath = "/api/v1/namespaces/istio-system/secrets/istio-ca-secret";
    private static readonly DateTimeOffset Start = new(2026, 11, 21, 0, 0, 0, TimeSpan.Zero);
    private static readonly TimeSpan Tick = TimeSpan.FromMinutes(1);

    private readonly SigningAuthorityOptions _options = new()
    {
        TrustDomain = "cluster.local",
        SystemNamespace = "istio-system",
        PluggedInFolder = "/nowhere",
        SelfSignedLifetime = TimeSpan.FromDays(100),
        Policy = new IssuancePolicy { MaxLifetime = TimeSpan.FromDays(10) },
    };
    private readonly MetricRegistry _registry = new();
    private readonly CertificateMetrics _metrics;

    private RotationWorld(MemoryApi api)
    {
        Api = api;
        _metrics = new CertificateMetrics(_registry, () => Replicas[0].Authority.Current, Clock);
    }

    public MemoryApi Api { get; }
    public FakeTimeProvider Clock { get; } = new(Start);
    public CapturedLog Log { get; } = new();
    public List<Replica> Replicas { get; } = [];
    public RootRotationOptions Rotation { get; } = new() { HasJitter = false };
    public TimeSpan Elapsed => Clock.GetUtcNow() - Start;
    public JsonObject Secret => Api.Find(SecretPath)!;

    /// <summary>How often the Secret was replaced.</summary>
    public int Writes => Api.Requests.Count(r => r.Method == "PUT" && r.Path == SecretPath);

    /// <summary>No step is due, and every replica has what the Secret says.</summary>
    public bool IsQuiet => Replicas.All(r => r.Authority.Current.CertificatePem == Text(Secret, "ca-cert.pem") && r.Authority.Current.Roots.Pem == Text(Secret, "root-cert.pem") && r.Authority.NextStep(Rotation)!.Value.At > Clock.GetUtcNow());

    public sealed record Replica(SigningAuthority Authority, KubernetesClient Client, CancellationTokenSource Stop)
    {
        public Task Running { get; set; } = Task.CompletedTask;
    }

    public static async Task<RotationWorld> StartAsync()
    {
        var world = new RotationWorld(await MemoryApi.StartAsync());
        world.Api.Put("/api/v1/namespaces", """{"metadata":{"name":"default"},"status":{"phase":"Active"}}""");
        return world;
    }

    /// <summary>Starts what the control plane runs of it.</summary>
    public async Task<Replica> AddReplicaAsync(string name)
    {
        var client = Api.Client();
        var replica = new Replica(await SigningAuthority.LoadAsync(_options, client, Log, Patience.Token, Clock), client, new CancellationTokenSource());
        var watch = new ClusterWatch(client, "istio-system", NullLoggerFactory.Instance);
        var rotating = new RootRotating(client, _options, Rotation, _metrics, Clock, Log);
        var distribution = new RootDistribution(client, watch.Namespaces, replica.Authority, NullLogger.Instance);
        var duties = new LeaderDuties(client, "istio-system", name, [rotating.RunAsync, distribution.RunAsync], NullLoggerFactory.Instance);
        replica.Running = Task.WhenAll(watch.RunAsync(replica.Stop.Token), replica.Authority.RunAsync(replica.Stop.Token), duties.RunAsync(replica.Stop.Token));
        Replicas.Add(replica);
        return replica;
    }

    public async Task RemoveAsync(Replica replica)
    {
        Replicas.Remove(replica);
        await replica.Stop.CancelAsync();
        await Patience.Within(replica.Running.ContinueWith(_ => { }, TaskScheduler.Default));
        replica.Client.Dispose();
        replica.Stop.Dispose();
    }

    /// <summary>Lets that much time pass, and then as much as the replicas need for what became due.</summary>
    public async Task AdvanceAsync(TimeSpan by)
    {
        Clock.Advance(by);
        await UntilAsync(() => IsQuiet);
    }

    /// <summary>Moves the clock on in small steps until it is so, past the next look of the leader.</summary>
    public async Task UntilAsync(Func<bool> isSo)
    {
        using var turns = new PeriodicTimer(TimeSpan.FromMilliseconds(10));
        var limit = Patience.Token;
        while (!isSo())
        {
            Assert.False(limit.IsCancellationRequested, $"after {Elapsed}, {Writes} writes:\n{string.Join('\n', Log.Lines)}");
            await turns.WaitForNextTickAsync(CancellationToken.None);
            Clock.Advance(Tick);
        }
    }

    /// <summary>Changes the Secret as its operator would.</summary>
    public void Edit(Action<JsonObject> change)
    {
        var secret = Secret;
        change(secret);
        Api.Put("/api/v1/namespaces/istio-system/secrets", secret.ToJsonString());
    }

    public SvidVerdict Verify(Svid svid, TrustBundle roots) => new SvidVerifier(roots, SvidRules.Strict, Clock).Verify(svid.Leaf, [.. svid.Intermediates], new PeerExpectation.OneOf([svid.Id]));

    public string Exposed() => MetricExposition.Write(_registry, MetricFormat.Prometheus);

    public static SpiffeId Node(int number) => new("cluster.local", "default", $"node-{number}");
    public static string Text(JsonObject secret, string key) => Encoding.UTF8.GetString(Convert.FromBase64String((string?)secret["data"]![key] ?? ""));
    public static string Base64(string text) => Convert.ToBase64String(Encoding.UTF8.GetBytes(text));
    public static DateTimeOffset Day(int number) => Start.AddDays(number);

    /// <summary>A root that lives from one day to another.</summary>
    public static X509Certificate2 Root(int from, int to)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        return new CertificateRequest("O=cluster.local", key, HashAlgorithmName.SHA256).CreateSelfSigned(Day(from), Day(to));
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var replica in Replicas.ToList()) await RemoveAsync(replica);
        await Api.DisposeAsync();
    }
}
