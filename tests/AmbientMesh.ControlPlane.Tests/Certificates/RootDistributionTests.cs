using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Certificates;
using AmbientMesh.ControlPlane.Kubernetes;
using AmbientMesh.Kubernetes;
using AmbientMesh.Kubernetes.Tests;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.ControlPlane.Tests.Certificates;

public sealed class RootDistributionTests
{
    [Fact]
    public async Task Every_namespace_gets_the_roots_but_those_where_nothing_runs()
    {
        await using var world = await World.StartAsync("default", "kube-system", "kube-public", "kube-node-lease", "local-path-storage");
        await world.Published("default");
        await world.Published("kube-system");
        world.AddNamespace("later");
        await world.Published("later");
        var map = world.Api.Find(Path("default"))!;
        Assert.Equal(world.Roots, (string?)map["data"]!["root-cert.pem"]);
        Assert.Equal("true", (string?)map["metadata"]!["labels"]!["istio.io/config"]);
        foreach (var excluded in (string[])["kube-public", "kube-node-lease", "local-path-storage"]) Assert.Null(world.Api.Find(Path(excluded)));
    }

    [Theory]
    [InlineData("""{"metadata":{"name":"istio-ca-root-cert","labels":{"istio.io/config":"true","mine":"kept"}},"data":{"root-cert.pem":"someone else's","other":"kept"}}""")]
    [InlineData("""{"metadata":{"name":"istio-ca-root-cert"},"data":{}}""")]
    public async Task An_edited_ConfigMap_is_repaired_and_what_is_not_ours_stays(string edited)
    {
        await using var world = await World.StartAsync("default");
        await world.Published("default");
        world.Api.Put("/api/v1/namespaces/default/configmaps", edited);
        await world.Published("default");
        var map = world.Api.Find(Path("default"))!;
        Assert.Equal(world.Roots, (string?)map["data"]!["root-cert.pem"]);
        Assert.Equal("true", (string?)map["metadata"]!["labels"]!["istio.io/config"]);
        if (edited.Contains("kept")) Assert.Equal(("kept", "kept"), ((string?)map["metadata"]!["labels"]!["mine"], (string?)map["data"]!["other"]));
    }

    [Fact]
    public async Task A_deleted_ConfigMap_comes_back()
    {
        await using var world = await World.StartAsync("default");
        await world.Published("default");
        world.Api.Remove(Path("default"));
        await world.Published("default");
        Assert.NotNull(world.Api.Find(Path("default")));
    }

    [Fact]
    public async Task One_namespace_that_cannot_be_written_is_tried_again_and_disturbs_no_other()
    {
        await using var world = await World.StartAsync();
        world.Api.Fault = r => r.Method == "POST" && r.Path.Contains("/bad/") ? 500 : 0;
        world.AddNamespace("bad");
        world.AddNamespace("good");
        await world.Published("good");
        Assert.Null(world.Api.Find(Path("bad")));
        world.Api.Fault = _ => 0;
        // The failed write may not have asked for its next try yet: time goes on until it has come.
        using var turns = new PeriodicTimer(TimeSpan.FromMilliseconds(10));
        var published = world.Published("bad");
        while (!published.IsCompleted)
        {
            world.Clock.Advance(TimeSpan.FromSeconds(1));
            await turns.WaitForNextTickAsync(CancellationToken.None);
        }
        await published;
    }

    [Fact]
    public async Task A_namespace_on_its_way_out_is_left_alone()
    {
        await using var world = await World.StartAsync();
        world.Api.Put("/api/v1/namespaces", """{"metadata":{"name":"leaving"},"status":{"phase":"Terminating"}}""");
        world.AddNamespace("staying");
        await world.Published("staying");
        Assert.Null(world.Api.Find(Path("leaving")));
    }

    [Fact]
    public async Task Nothing_is_written_when_everything_is_right_already()
    {
        await using var world = await World.StartAsync("default");
        await world.Published("default");
        await world.RestartAsync();
        world.AddNamespace("later");
        await world.Published("later");
        Assert.Single(world.Api.Requests, r => r.Method is "POST" or "PATCH" && r.Path.Contains("/default/configmaps"));
    }

    [Fact]
    public async Task New_roots_and_revocation_lists_reach_every_namespace()
    {
        using var folder = new PluggedInFolder(TimeProvider.System);
        using var next = new PluggedInFolder(TimeProvider.System);
        await using var world = await World.StartWithAsync(folder.Path, "default", "other");
        await world.Published("default");
        Assert.Null(world.Api.Find(RevocationsPath("default")));   // nothing to tell, nothing there
        folder.Write("root-cert.pem", folder.Read("root-cert.pem") + next.Read("root-cert.pem"));
        var list = folder.Revoke(TimeProvider.System, [7]);
        world.Reload();
        foreach (var ns in (string[])["default", "other"])
        {
            while ((string?)world.Api.Find(Path(ns))?["data"]?["root-cert.pem"] != world.Roots || (string?)world.Api.Find(RevocationsPath(ns))?["data"]?["ca-crl.pem"] != list)
                await world.Api.Written.Reader.ReadAsync(Patience.Token);
        }
        folder.Delete("ca-crl.pem");
        world.Reload();
        while ((string?)world.Api.Find(RevocationsPath("other"))!["data"]!["ca-crl.pem"] != "") await world.Api.Written.Reader.ReadAsync(Patience.Token);
    }

    private static string RevocationsPath(string ns) => $"/api/v1/namespaces/{ns}/configmaps/{RootDistribution.RevocationsConfigMapName}";
    private static string Path(string ns) => $"/api/v1/namespaces/{ns}/configmaps/{RootDistribution.ConfigMapName}";

    /// <summary>Namespaces, a CA and the leader's duty, over an API server on loopback.</summary>
    private sealed class World : IAsyncDisposable
    {
        private CancellationTokenSource _stop = new();
        private KubernetesClient _client = null!;
        private SigningAuthority _authority = null!;
        private Task _running = Task.CompletedTask;

        public MemoryApi Api { get; private set; } = null!;
        public FakeTimeProvider Clock { get; } = new(new DateTimeOffset(2026, 11, 21, 0, 0, 0, TimeSpan.Zero));
        public string Roots => _authority.Current.Roots.Pem;

        public static Task<World> StartAsync(params string[] namespaces) => StartWithAsync("/nowhere", namespaces);

        public void Reload() => _authority.Reload();

        public static async Task<World> StartWithAsync(string pluggedIn, params string[] namespaces)
        {
            var world = new World { Api = await MemoryApi.StartAsync() };
            foreach (var ns in namespaces) world.AddNamespace(ns);
            world._client = world.Api.Client(world.Clock);
            world._authority = await SigningAuthority.LoadAsync(
                new SigningAuthorityOptions { TrustDomain = "cluster.local", SystemNamespace = "istio-system", PluggedInFolder = pluggedIn }, world._client, NullLogger.Instance, Patience.Token);
            await world.RunAsync();
            return world;
        }

        public void AddNamespace(string name) => Api.Put("/api/v1/namespaces", new JsonObject { ["metadata"] = new JsonObject { ["name"] = name }, ["status"] = new JsonObject { ["phase"] = "Active" } }.ToJsonString());

        /// <summary>Completes when that namespace has the ConfigMap as it should be, at a write at the earliest.</summary>
        public async Task Published(string ns)
        {
            await foreach (var path in Api.Written.Reader.ReadAllAsync(Patience.Token))
                if (path == Path(ns) && IsRight(Api.Find(path))) return;
        }

        public async Task RestartAsync()
        {
            await StopAsync();
            _stop = new CancellationTokenSource();
            await RunAsync();
        }

        private bool IsRight(JsonObject? map) => (string?)map?["data"]?["root-cert.pem"] == Roots && (string?)map["metadata"]?["labels"]?["istio.io/config"] == "true";

        private async Task RunAsync()
        {
            var watch = new ClusterWatch(_client, "istio-system", NullLoggerFactory.Instance);
            var duty = new RootDistribution(_client, watch.Namespaces, _authority, NullLogger.Instance);
            _running = Task.WhenAll(watch.RunAsync(_stop.Token), duty.RunAsync(_stop.Token));
            await watch.WaitForSyncAsync(Patience.Token);
            Assert.True(watch.HasSynced);
            Assert.Empty(watch.Pending);
        }

        private async Task StopAsync()
        {
            await _stop.CancelAsync();
            await Patience.Within(_running.ContinueWith(_ => { }, TaskScheduler.Default));
            _stop.Dispose();
        }

        public async ValueTask DisposeAsync()
        {
            await StopAsync();
            _client.Dispose();
            await Api.DisposeAsync();
        }
    }
}
