using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using AmbientMesh.ControlPlane.Certificates;
using AmbientMesh.ControlPlane.Serving;
using AmbientMesh.ControlPlane.Settings;
using AmbientMesh.Kubernetes;
using AmbientMesh.Model;
using AmbientMesh.Protocol.Ca;
using AmbientMesh.Rpc;

namespace AmbientMesh.ControlPlane.Tests.Serving;

public class PortsAndPagesTests
{
    [Fact]
    public async Task Debug_pages_show_what_is_served_and_to_whom()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        await (await world.DiscoverAsync()).OpenWildcardAsync();

        var dump = JsonDocument.Parse((await world.GetAsync("/debug/config_dump?type=workload&name=Kubernetes//Pod/default/client")).Body).RootElement;
        Assert.Equal("10.98.0.1", dump.GetProperty("Kubernetes//Pod/default/client").GetProperty("addresses")[0].GetString());
        var sync = JsonDocument.Parse((await world.GetAsync("/debug/syncz", monitoring: true)).Body).RootElement[0];
        Assert.Equal(("ztunnel-abcde.istio-system", "Kubernetes"), (sync.GetProperty("proxy").GetString(), sync.GetProperty("cluster_id").GetString()));
        var connection = JsonDocument.Parse((await world.GetAsync("/debug/connections")).Body).RootElement[0];
        Assert.StartsWith("ztunnel~10.98.0.100~", connection.GetProperty("node").GetString(), StringComparison.Ordinal);
        Assert.Equal(5, JsonDocument.Parse((await world.GetAsync("/debug/collectionz")).Body).RootElement.GetProperty("pods").GetInt32());
        var origins = JsonDocument.Parse((await world.GetAsync("/debug/origins?name=Kubernetes//Pod/default/client&name=default/server.default.svc.cluster.local&name=nosuch")).Body).RootElement;
        Assert.Equal(["Pod v1 default/client", "Service v1 default/server"], origins.EnumerateArray().Select(o => $"{o.GetProperty("kind")} {o.GetProperty("apiVersion")} {o.GetProperty("namespace")}/{o.GetProperty("name")}"));
        Assert.Equal(("Kubernetes//Pod/default/client", Xds.TypeUrls.Address), (origins[0].GetProperty("resource").GetString(), origins[0].GetProperty("typeUrl").GetString()));
        Assert.NotEqual("", origins[0].GetProperty("resourceVersion").GetString());
        var certificates = JsonDocument.Parse((await world.GetAsync("/debug/certificates")).Body).RootElement;
        Assert.Equal(world.Process.Authority.Current.Certificate.SerialNumber, certificates.GetProperty("signing").GetProperty("serial").GetString());
        Assert.Equal((1, "announce"), (certificates.GetProperty("roots").GetArrayLength(), certificates.GetProperty("rotation").GetProperty("next_step").GetString()));
        Assert.Contains("/debug/syncz", (await world.GetAsync("/debug")).Body, StringComparison.Ordinal);
        Assert.Equal(404, (await world.GetAsync("/debug/nosuch")).Status);
        Assert.Equal(404, (await world.GetAsync("/debug/config_dump?type=secret")).Status);
        Assert.Equal(404, (await world.GetAsync("/")).Status);
    }

    [Fact]
    public async Task Metrics_are_those_of_istiod_and_count_what_happened()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        await (await world.DiscoverAsync()).OpenWildcardAsync();
        var (status, text) = await world.GetAsync("/metrics", monitoring: true);
        using var turns = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        var limit = Patience.Token;
        while (!text.Contains("pilot_xds_pushes{type=\"wds\"}", StringComparison.Ordinal))   // a push is counted when it is written, which the client may see first
        {
            await turns.WaitForNextTickAsync(limit);
            (status, text) = await world.GetAsync("/metrics", monitoring: true);
        }
        Assert.Equal(200, status);
        Assert.Contains("pilot_xds{version=\"unknown\"} 1\n", text, StringComparison.Ordinal);
        Assert.Contains("pilot_services 2\n", text, StringComparison.Ordinal);
        Assert.Contains("pilot_inbound_updates{type=\"pods\"} 5\n", text, StringComparison.Ordinal);
        Assert.Contains("pilot_xds_pushes{type=\"wds\"} 1\n", text, StringComparison.Ordinal);
        Assert.Contains("pilot_push_triggers{type=\"ambient\"} 1\n", text, StringComparison.Ordinal);
        Assert.Contains("citadel_server_root_cert_expiry_seconds ", text, StringComparison.Ordinal);
    }

    [Theory]
    [Scenario("T-39")]
    [InlineData("10.244.1.5", null, 401)]
    [InlineData("10.244.1.5", "Bearer system", 0)]
    [InlineData("10.244.1.5", "Bearer shop", 403)]
    [InlineData("10.244.1.5", "Bearer stranger", 401)]
    [InlineData("10.244.1.5", "Basic c3lzdGVt", 401)]
    [InlineData(null, null, 401)]
    [InlineData("127.0.0.1", null, 0)]
    [InlineData("::1", null, 0)]
    [InlineData("::ffff:127.0.0.1", null, 0)]
    public async Task Debug_pages_are_for_the_pod_itself_and_for_accounts_of_the_system_namespace(string? remote, string? authorization, int status)
    {
        static Task<Authentication> Authenticate(string token, CancellationToken _) => Task.FromResult<Authentication>(token switch
        {
            "system" => new Authentication.Proven(new Caller(new SpiffeId("cluster.local", "istio-system", "admin"), null, null)),
            "shop" => new Authentication.Proven(new Caller(new SpiffeId("cluster.local", "shop", "default"), null, null)),
            _ => new Authentication.Refused("unknown"),
        });
        var refusal = await DebugAccess.RefusalAsync(remote is null ? null : IPAddress.Parse(remote), authorization, Authenticate, "istio-system", Patience.Token);
        Assert.Equal(status, refusal?.Status ?? 0);
    }

    [Theory]
    [InlineData("--httpAddr")]
    [InlineData("--secureGRPCAddr")]
    public async Task A_port_in_use_is_named_with_its_flag(string flag)
    {
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var address = new ListenAddress("127.0.0.1", ((IPEndPoint)taken.LocalEndpoint).Port);
        var settings = flag == "--httpAddr" ? ControlPlaneWorld.Settings with { Http = address } : ControlPlaneWorld.Settings with { SecureGrpc = address };
        await using var cluster = await FakeCluster.StartAsync();
        var refused = await Assert.ThrowsAsync<IOException>(() => ControlPlaneWorld.StartAsync(cluster, settings));
        Assert.Equal($"Port {address.Port} ({flag}={address}) cannot be opened: it is already in use by another process.", refused.Message);
    }

    [Fact]
    [Scenario("L4-139")]
    public async Task The_recorded_certificate_request_is_answered_on_the_discovery_port()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        using var channel = world.Channel(world.Cluster.Token("istio-system", "ztunnel"));
        var request = IstioCertificateRequest.Parser.ParseFrom(Samples.Hex("samples/ztunnel/ca/wildcard-request-client.hex"));
        var answer = await channel.UnaryAsync(MeshMethods.CreateCertificate, request, cancellationToken: Patience.Token);
        Assert.Equal(world.Process.Authority.Current.Roots.Pem.Trim(), answer.CertChain[^1].Trim());
        using var leaf = System.Security.Cryptography.X509Certificates.X509Certificate2.CreateFromPem(answer.CertChain[0]);
        Assert.Contains("spiffe://cluster.local/ns/default/sa/client", leaf.Extensions["2.5.29.17"]!.Format(false), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_mesh_configuration_sets_the_trust_domain_and_a_useless_one_is_named()
    {
        await using var cluster = await FakeCluster.StartAsync();
        cluster.Put(new ConfigMap { Metadata = new ObjectMeta { Name = "istio", Namespace = "istio-system" }, Data = new Dictionary<string, string> { ["mesh"] = "trustDomain: Example Org" } });
        var refused = await Assert.ThrowsAsync<FormatException>(() => ControlPlaneWorld.StartAsync(cluster));
        Assert.Contains("'Example Org'", refused.Message, StringComparison.Ordinal);

        cluster.Put(new ConfigMap { Metadata = new ObjectMeta { Name = "istio", Namespace = "istio-system" }, Data = new Dictionary<string, string> { ["mesh"] = "trustDomain: example.org" } });
        cluster.Put(Translation.KubernetesObjects.OfYaml(SampleMesh.Yaml));
        await using var world = await ControlPlaneWorld.StartAsync(cluster);
        await world.Process.Readiness.WhenReadyAsync(Patience.Token);
        var addresses = await (await world.DiscoverAsync()).OpenWildcardAsync();
        Assert.Equal("example.org", Protocol.Wds.Address.Parser.ParseFrom(addresses.Resources.Single(r => r.Name == "Kubernetes//Pod/default/client").Resource_.Value).Workload.TrustDomain);
    }

    [Fact]
    public async Task Losing_the_API_server_changes_nothing_for_clients()
    {
        var cluster = await FakeCluster.StartAsync();
        cluster.Put(Translation.KubernetesObjects.OfYaml(SampleMesh.Yaml));
        await using var world = await ControlPlaneWorld.StartAsync(cluster);
        await world.Process.Readiness.WhenReadyAsync(Patience.Token);
        var stream = await world.DiscoverAsync();
        var before = await stream.OpenWildcardAsync();
        await cluster.DisposeAsync();
        var again = await world.DiscoverAsync(token: null, plaintext: true);
        Assert.Equal(before.Resources.Count, (await again.OpenWildcardAsync()).Resources.Count);
        Assert.False(world.Process.Ended.IsCompleted);
    }
}
