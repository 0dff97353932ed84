using AmbientMesh.ControlPlane.Tests.Translation;
using AmbientMesh.Protocol.Ca;
using AmbientMesh.Protocol.Discovery;
using AmbientMesh.Rpc;
using AmbientMesh.Xds;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;

namespace AmbientMesh.ControlPlane.Tests.Serving;

/// <summary>Who is let in, and that whoever is not disturbs nobody.</summary>
public class DiscoveryAccessTests
{
    private const string First = "wildcard/01-c2s-address-first.hex";

    private static async Task<RpcException> RefusalAsync(ControlPlaneWorld world, string? token, bool plaintext = false)
    {
        var stream = await world.DiscoverAsync(token, plaintext);
        await stream.SendRecordedAsync(First);
        return await stream.EndAsync();
    }

    [Fact]
    [Scenario("L4-138")]
    public async Task The_token_of_another_namespaces_account_is_denied()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        var refusal = await RefusalAsync(world, world.Cluster.Token("shop", "ztunnel"));
        Assert.Equal((StatusCode.PermissionDenied, "authorization failed: no identities ([spiffe://cluster.local/ns/shop/sa/ztunnel]) matched istio-system/"), (refusal.Code, refusal.Detail));
    }

    [Fact]
    public async Task A_token_for_another_audience_a_made_up_one_and_none_are_not_authenticated()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        foreach (var token in new[] { world.Cluster.Token("istio-system", "ztunnel", audience: "https://kubernetes.default.svc"), "made.up.token", null })
            Assert.Equal((StatusCode.Unauthenticated, "authentication failure"), await RefusalAsync(world, token) is var refusal ? (refusal.Code, refusal.Detail) : default);
        await (await world.DiscoverAsync()).OpenWildcardAsync();
    }

    [Fact]
    public async Task While_tokens_cannot_be_reviewed_nobody_new_is_let_in_and_streams_go_on()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        var stream = await world.DiscoverAsync();
        await stream.OpenWildcardAsync();
        world.Cluster.FailsReviews = true;
        Assert.Equal(StatusCode.Unauthenticated, (await RefusalAsync(world, world.Cluster.Token("istio-system", "ztunnel"))).Code);
        world.Cluster.Put(KubernetesObjects.OfYaml(SampleMesh.Pod("late", "n2", "10.98.0.6", null)));
        Assert.Single((await stream.TakeAsync()).Resources);
    }

    [Fact]
    public async Task Malformed_protobuf_ends_its_own_stream_only()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        var stream = await world.DiscoverAsync();
        await stream.OpenWildcardAsync();

        using var channel = world.Channel(world.Cluster.Token("istio-system", "ztunnel"));
        var method = new RpcMethod<BytesValue, DeltaDiscoveryResponse>(MeshMethods.DeltaAggregatedResources.Path, BytesValue.Parser, DeltaDiscoveryResponse.Parser);
        await using var call = await channel.DuplexAsync(method, cancellationToken: Patience.Token);
        await call.WriteAsync(new BytesValue { Value = ByteString.CopyFrom(0xff, 0xff, 0xff) }, Patience.Token);   // field 1 is a node message, and that is none
        var refusal = await Assert.ThrowsAsync<RpcException>(async () => await call.ReadAsync(Patience.Token));
        Assert.NotEmpty(refusal.Detail);

        world.Cluster.Put(KubernetesObjects.OfYaml(SampleMesh.Pod("late", "n2", "10.98.0.6", null)));
        Assert.Single((await stream.TakeAsync()).Resources);
    }

    [Fact]
    public async Task An_oversized_message_ends_its_own_stream_only()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        var stream = await world.DiscoverAsync();
        await stream.OpenWildcardAsync();
        var large = await world.DiscoverAsync();
        try
        {
            await large.SendAsync(new DeltaDiscoveryRequest { TypeUrl = TypeUrls.Address, ResourceNamesSubscribe = { new string('x', 5 * 1024 * 1024) } });
        }
        catch (RpcException)
        {
            // The server judges by the length prefix and answers while the rest is still being sent.
        }
        Assert.Equal(StatusCode.ResourceExhausted, (await large.EndAsync()).Code);

        world.Cluster.Put(KubernetesObjects.OfYaml(SampleMesh.Pod("late", "n2", "10.98.0.6", null)));
        Assert.Single((await stream.TakeAsync()).Resources);
    }

    [Fact]
    public async Task A_first_request_without_a_node_is_malformed()
    {
        await using var world = await ControlPlaneWorld.StartAsync();
        var stream = await world.DiscoverAsync();
        await stream.SendAsync(new DeltaDiscoveryRequest { TypeUrl = TypeUrls.Address });
        Assert.Equal(StatusCode.InvalidArgument, (await stream.EndAsync()).Code);
    }

    [Fact]
    public async Task The_plaintext_port_knows_discovery_without_identity_and_no_CA()
    {
        await using var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        await (await world.DiscoverAsync(token: null, plaintext: true)).OpenWildcardAsync();

        using var channel = world.Channel(world.Cluster.Token("istio-system", "ztunnel"), plaintext: true);
        var refusal = await Assert.ThrowsAsync<RpcException>(() => channel.UnaryAsync(MeshMethods.CreateCertificate, new IstioCertificateRequest(), cancellationToken: Patience.Token));
        Assert.Equal(StatusCode.Unimplemented, refusal.Code);
    }

    [Fact]
    [Scenario("T-39")]
    public async Task The_plaintext_port_asks_for_a_token_when_told_to_and_can_be_left_out()
    {
        await using (var strict = await ControlPlaneWorld.StartAsync(settings: ControlPlaneWorld.Settings with { AuthenticatePlaintextDiscovery = true }))
        {
            Assert.Equal(StatusCode.Unauthenticated, (await RefusalAsync(strict, token: null, plaintext: true)).Code);
            await (await strict.DiscoverAsync(strict.Cluster.Token("istio-system", "ztunnel"), plaintext: true)).OpenWildcardAsync();
        }
        await using var without = await ControlPlaneWorld.StartAsync(settings: ControlPlaneWorld.Settings with { PlaintextGrpc = null });
        Assert.Equal(0, without.Process.Listeners.PlaintextGrpcPort);
    }

    [Fact]
    public async Task Before_every_list_has_come_in_nobody_is_answered()
    {
        var listed = new TaskCompletionSource();
        await using var cluster = await FakeCluster.StartAsync();
        cluster.Put(KubernetesObjects.OfYaml(SampleMesh.Yaml));
        cluster.HoldsLists = ("pods", listed.Task);
        await using var world = await ControlPlaneWorld.StartAsync(cluster);

        var refusal = await RefusalAsync(world, cluster.Token("istio-system", "ztunnel"));
        Assert.Equal((StatusCode.Unavailable, "server is not ready to serve discovery information"), (refusal.Code, refusal.Detail));
        var (status, body) = await world.GetAsync("/ready");
        Assert.Equal(503, status);
        Assert.Contains("list of pods", body, StringComparison.Ordinal);

        listed.SetResult();
        await world.Process.Readiness.WhenReadyAsync(Patience.Token);
        Assert.Equal((200, "ready\n"), await world.GetAsync("/ready"));
        Assert.NotEmpty((await (await world.DiscoverAsync()).OpenWildcardAsync()).Resources);
    }

    [Fact]
    public async Task More_new_streams_than_allowed_are_turned_away()
    {
        await using var world = await ControlPlaneWorld.StartAsync(settings: ControlPlaneWorld.Settings with { MaxStreamsPerSecond = 0.1 });
        await (await world.DiscoverAsync()).OpenWildcardAsync();
        Assert.Equal(StatusCode.ResourceExhausted, (await RefusalAsync(world, world.Cluster.Token("istio-system", "ztunnel"))).Code);
    }

    [Fact]
    [Scenario("L4-133")]
    public async Task A_stop_ends_streams_in_the_way_after_which_clients_come_back_at_once()
    {
        var world = await ControlPlaneWorld.StartAsync(SampleMesh.Yaml);
        await using var _ = world;
        var stream = await world.DiscoverAsync();
        await stream.OpenWildcardAsync();
        var stopping = world.Process.DisposeAsync();
        var end = await stream.EndAsync();
        Assert.Equal((StatusCode.Unavailable, "transport is closing"), (end.Code, end.Detail));
        await stopping;
    }
}
