using AmbientMesh.ControlPlane.Certificates;
using AmbientMesh.ControlPlane.Kubernetes;
using AmbientMesh.Identity;
using AmbientMesh.Kubernetes;
using AmbientMesh.Model;
using AmbientMesh.Protocol.Ca;
using AmbientMesh.Rpc;
using AmbientMesh.Telemetry;
using Google.Protobuf.WellKnownTypes;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.Integration.Tests.Kubernetes;

/// <summary>The CA as the control plane's ServiceAccount: with the rights of our manifests, real tokens of real pods, and no other right.</summary>
public sealed class CertificatesInAClusterTests
{
    private static readonly SpiffeId Web = new("cluster.local", "default", "web");

    [Fact]
    [Scenario("L4-139", "L4-140", "T-22", "T-23")]
    public async Task A_ztunnel_gets_certificates_for_its_node_as_long_as_its_pod_lives()
    {
        await using var cluster = await ClusterApi.StartAsync();
        await using var ca = await ClusterCa.StartAsync(cluster);
        var token = await ca.ZtunnelTokenAsync("istio-ca");

        using var leaf = PemBlocks.Certificates((await ca.AskAsync(token, Web)).CertChain[0])[0];
        Assert.Contains(Web.ToString(), System.Text.Encoding.ASCII.GetString(leaf.Extensions["2.5.29.17"]!.RawData));
        Assert.Equal("request impersonation authentication failure", (await ca.RefusedAsync(token, Web with { ServiceAccount = "elsewhere" })).Detail);

        foreach (var other in (string[])["https://kubernetes.default.svc.cluster.local", "vault"])
            Assert.Equal("request authenticate failure", (await ca.RefusedAsync(await ca.ZtunnelTokenAsync(other), Web)).Detail);

        await cluster.Admin.Of<Pod>().DeleteAsync("istio-system", "ztunnel-1", new DeleteOptions { GracePeriodSeconds = 0 }, Patience.Token);
        ca.Restart();   // forgets what was proven seconds ago
        Assert.Equal("request authenticate failure", (await ca.RefusedAsync(token, Web)).Detail);
    }

    [Fact]
    public async Task The_roots_reach_every_namespace_and_come_back_and_the_next_replica_has_the_same()
    {
        await using var cluster = await ClusterApi.StartAsync();
        await using var ca = await ClusterCa.StartAsync(cluster);
        using var stop = new CancellationTokenSource();
        var maps = new Informer<ConfigMap>(cluster.Admin.Of<ConfigMap>(), new InformerOptions { Selection = new Selection { FieldSelector = "metadata.name=istio-ca-root-cert" } });
        var changes = maps.Subscribe();
        var watching = maps.RunAsync(stop.Token);
        var duties = new LeaderDuties(ca.Client, "istio-system", "istiod-1", [new RootDistribution(ca.Client, ca.Watch.Namespaces, ca.Authority, NullLogger.Instance).RunAsync], NullLoggerFactory.Instance);
        var leading = duties.RunAsync(stop.Token);

        var served = new HashSet<string>();
        while (!served.IsSupersetOf(["default", "kube-system", "istio-system"])) await NextAsync(ChangeKind.Added);
        await cluster.Admin.Of<ConfigMap>().DeleteAsync("default", "istio-ca-root-cert", null, Patience.Token);
        await NextAsync(ChangeKind.Deleted);
        await NextAsync(ChangeKind.Added);
        Assert.All(maps.Items, map => Assert.Equal(ca.Authority.Current.Roots.Pem, map.Data["root-cert.pem"]));
        Assert.DoesNotContain(maps.Items, map => map.Namespace is "kube-public" or "kube-node-lease");

        Assert.Equal(ca.Authority.Current.Roots, (await ca.LoadAuthorityAsync()).Current.Roots);
        await stop.CancelAsync();
        await Task.WhenAll(watching, leading).ContinueWith(_ => { }, TaskScheduler.Default);

        async Task NextAsync(ChangeKind kind)
        {
            while (true)
            {
                var change = await changes.ReadAsync(Patience.Token);
                if (change.Kind != kind) continue;
                served.Add(change.Key.Namespace);
                return;
            }
        }
    }

    /// <summary>The CA's parts, composed as the control plane composes them.</summary>
    private sealed class ClusterCa : IAsyncDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly ClusterApi _cluster;
        private readonly PodsOnNodes _pods;
        private CertificateRequests _requests = null!;
        private Task _watching = Task.CompletedTask;

        private ClusterCa(ClusterApi cluster, KubernetesClient client)
        {
            _cluster = cluster;
            Client = client;
            Watch = new ClusterWatch(client, "istio-system", NullLoggerFactory.Instance);
            _pods = new PodsOnNodes(Watch.Pods);
        }

        public KubernetesClient Client { get; }
        public ClusterWatch Watch { get; }
        public SigningAuthority Authority { get; private set; } = null!;

        public static async Task<ClusterCa> StartAsync(ClusterApi cluster)
        {
            foreach (var manifest in (string[])["namespace.yaml", "controlplane/serviceaccount.yaml", "controlplane/rbac.yaml", "ztunnel/serviceaccount.yaml"]) await cluster.ApplyAsync(manifest);
            foreach (var account in (string[])["web", "elsewhere"])
                await cluster.ApplyAsync(ClusterApi.Json($$$"""{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"namespace":"default","name":"{{{account}}}"}}"""));
            await cluster.RunPodAsync("istio-system", "ztunnel-1", "ztunnel", "node-1");
            await cluster.RunPodAsync("default", "web-1", "web", "node-1");
            await cluster.RunPodAsync("default", "elsewhere-1", "elsewhere", "node-2");
            var ca = new ClusterCa(cluster, await cluster.ClientOfAsync("istio-system", "istiod"));
            ca._watching = ca.Watch.RunAsync(ca._stop.Token);
            ca.Authority = await ca.LoadAuthorityAsync();
            await ca.Watch.WaitForSyncAsync(Patience.Token);
            ca.Restart();
            return ca;
        }

        public Task<SigningAuthority> LoadAuthorityAsync() => SigningAuthority.LoadAsync(
            new SigningAuthorityOptions { TrustDomain = "cluster.local", SystemNamespace = "istio-system", PluggedInFolder = "/nowhere" }, Client, NullLogger.Instance, Patience.Token);

        public void Restart()
        {
            var callers = new CallerAuthentication(Client, new CallerAuthenticationOptions { TrustDomain = "cluster.local", ClusterId = "Kubernetes" });
            var metrics = new CertificateMetrics(new MetricRegistry(), () => Authority.Current, TimeProvider.System);
            _requests = new CertificateRequests(callers, Authority, _pods, ["istio-system/ztunnel"], metrics, TimeProvider.System, NullLogger.Instance);
        }

        public async Task<string> ZtunnelTokenAsync(string audience)
        {
            var pod = (await _cluster.Admin.Of<Pod>().GetAsync("istio-system", "ztunnel-1", Patience.Token))!;
            var bound = new ObjectReference { ApiVersion = "v1", Kind = "Pod", Name = pod.Name, Uid = pod.Metadata.Uid };
            return (await _cluster.Admin.RequestTokenAsync("istio-system", "ztunnel", new TokenRequestSpec { Audiences = [audience], BoundObjectRef = bound }, Patience.Token)).Token!;
        }

        public async Task<IstioCertificateResponse> AskAsync(string token, SpiffeId id)
        {
            using var key = CsrBuilder.NewKey();
            var request = new IstioCertificateRequest
            {
                Csr = CsrBuilder.Build(id, key),
                ValidityDuration = 86400,
                Metadata = new Struct { Fields = { ["ImpersonatedIdentity"] = Value.ForString(id.ToString()) } },
            };
            RpcMetadata metadata = [];
            metadata.Add("authorization", $"Bearer {token}");
            return await _requests.CreateAsync(request, metadata, "test", Patience.Token);
        }

        public async Task<RpcException> RefusedAsync(string token, SpiffeId id) => await Assert.ThrowsAsync<RpcException>(() => AskAsync(token, id));

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            await _watching.ContinueWith(_ => { }, TaskScheduler.Default);
            Client.Dispose();
            _stop.Dispose();
        }
    }
}
