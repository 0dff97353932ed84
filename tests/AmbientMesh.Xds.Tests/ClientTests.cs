using AmbientMesh.Protocol.Discovery;
using AmbientMesh.Rpc;

namespace AmbientMesh.Xds.Tests;

/// <summary>Decisions of the client: who it is, how it takes the end of a stream, what it asks for.</summary>
public sealed class ClientTests
{
    [Fact]
    public void The_node_is_the_recorded_one()
    {
        var recorded = Recording.Read("wildcard")[0].FromClient!.Node;
        var built = ZtunnelNode.Build("10.98.0.100", "ztunnel-abcde", "istio-system", "n1",
            [new("ISTIO_META_CLUSTER_ID", "Kubernetes"), new("ISTIO_META_ENABLE_HBONE", "true"), new("ISTIO_METAJSON_LABELS", """{"app":"ztunnel"}"""), new("PATH", "/bin")]);
        Assert.Equal(recorded, built);
    }

    [Fact]
    public void A_node_without_an_address_says_so_as_ztunnel_does() =>
        Assert.Equal("ztunnel~1.1.1.1~z.ns~ns.svc.cluster.local", ZtunnelNode.Build(null, "z", "ns", "n1", []).Id);

    [Theory]
    [InlineData("{")]
    [InlineData("")]
    [InlineData("{\"a\":1}x")]
    public void Metadata_that_is_not_json_is_named(string json) =>
        Assert.Contains("ISTIO_METAJSON_LABELS", Assert.Throws<FormatException>(() => ZtunnelNode.Build("1.2.3.4", "z", "ns", "n1", [new("ISTIO_METAJSON_LABELS", json)])).Message);

    [Fact]
    public void Json_metadata_keeps_its_shape()
    {
        var node = ZtunnelNode.Build("1.2.3.4", "z", "ns", "n1", [new("ISTIO_METAJSON_X", """{"a":[1,true,null,"s"],"b":{"c":2.5}}""")]);
        var value = node.Metadata.Fields["X"].StructValue;
        Assert.Equal(4, value.Fields["a"].ListValue.Values.Count);
        Assert.Equal(2.5, value.Fields["b"].StructValue.Fields["c"].NumberValue);
    }

    public static TheoryData<StatusCode, string, bool, ConnectionTermination> Ends => new()
    {
        { StatusCode.Unavailable, "cannot connect", true, ConnectionTermination.ConnectionError },
        { StatusCode.Unavailable, "transport is closing", false, ConnectionTermination.Reconnect },
        { StatusCode.Unavailable, "error: received prior goaway: code", false, ConnectionTermination.Reconnect },
        { StatusCode.Unavailable, "overloaded", false, ConnectionTermination.Error },
        { StatusCode.Unknown, "", false, ConnectionTermination.Reconnect },
        { StatusCode.Cancelled, "", false, ConnectionTermination.Reconnect },
        { StatusCode.DeadlineExceeded, "", false, ConnectionTermination.Reconnect },
        { StatusCode.PermissionDenied, "", false, ConnectionTermination.Error },
        { StatusCode.Unauthenticated, "", false, ConnectionTermination.Error },
        { StatusCode.ResourceExhausted, "", false, ConnectionTermination.Error },
    };

    [Theory]
    [MemberData(nameof(Ends))]
    [Scenario("L4-133")]
    public void The_end_of_a_stream_is_taken_as_the_reference_says(StatusCode code, string detail, bool connection, ConnectionTermination expected)
    {
        var reason = Reconnect.Classify(new RpcException(code, detail) { IsConnectionFailure = connection });
        Assert.Equal(expected, reason);
        Assert.Equal(expected is ConnectionTermination.Reconnect, Reconnect.StartsOver(reason));
        Assert.Equal(ConnectionTermination.Complete, Reconnect.Classify(null));
    }

    [Fact]
    public async Task Waits_grow_while_there_is_no_server()
    {
        var clock = new FakeTimeProvider();
        List<TimeSpan> waits = [];
        using var channel = new RpcChannel(new RpcChannelOptions { Address = new Uri("http://127.0.0.1:9"), Dial = (_, _) => throw new IOException("no route") });
        var client = new DeltaDiscoveryClient(channel, Loopback.Node(), [new(new Holding(TypeUrls.Address))], clock, new Waits(waits));
        using var stop = new CancellationTokenSource();
        var running = client.RunAsync(stop.Token);
        for (var i = 0; i < 14; i++)
        {
            await clock.TimersArmedAsync(1, Patience.Token);
            clock.Advance(TimeSpan.FromSeconds(20));
        }
        await clock.TimersArmedAsync(1, Patience.Token);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Patience.Within(running));
        Assert.InRange(waits[0].TotalMilliseconds, 8, 12);
        Assert.InRange(waits[5].TotalMilliseconds, 256, 384);
        Assert.InRange(waits[13].TotalSeconds, 12, 18);
        Assert.False(client.AllSynced.IsCompleted);
    }

    [Fact]
    public void A_refused_update_leaves_the_earlier_version_listed()
    {
        var refuse = false;
        var state = new ClientTypeState(new Holding(TypeUrls.Address, _ => refuse ? "bad" : null), onDemand: false);
        state.Apply(Response("1", "v1"), out _);
        refuse = true;
        var nack = state.Apply(Response("2", "v2"), out var rejections);
        Assert.Equal("a: bad", nack.ErrorDetail.Message);
        Assert.Single(rejections);
        Assert.Equal("v1", state.First(Loopback.Node()).InitialResourceVersions["a"]);   // still in force, so its removal must be told
    }

    [Fact]
    public async Task Pending_demands_are_asked_once_and_named_again_on_reconnect()
    {
        var state = new ClientTypeState(new Holding(TypeUrls.Address), onDemand: true);
        var (first, request) = state.Demand("/10.0.0.1");
        Assert.Equal(["/10.0.0.1"], request!.ResourceNamesSubscribe);
        var (second, again) = state.Demand("/10.0.0.1");
        Assert.Null(again);
        Assert.Same(first, second);
        Assert.Equal("", state.First(Loopback.Node()).InitialResourceVersions["/10.0.0.1"]);
        state.Apply(new DeltaDiscoveryResponse { TypeUrl = TypeUrls.Address, Nonce = "1", RemovedResources = { "/10.0.0.1" } }, out _);
        Assert.False(await Patience.Within(first));
        Assert.Empty(state.First(Loopback.Node()).InitialResourceVersions);
    }

    [Fact]
    public async Task Demands_are_satisfied_by_an_alias_too()
    {
        var state = new ClientTypeState(new Holding(TypeUrls.Address), onDemand: true);
        var (found, _) = state.Demand("/10.0.0.1");
        state.Apply(new DeltaDiscoveryResponse { TypeUrl = TypeUrls.Address, Nonce = "1", Resources = { new Resource { Name = "uid", Version = "1", Aliases = { "/10.0.0.1" } } } }, out _);
        Assert.True(await Patience.Within(found));
    }

    [Fact]
    public async Task A_demand_for_a_type_that_is_not_on_demand_is_a_mistake()
    {
        using var channel = new RpcChannel(new RpcChannelOptions { Address = new Uri("http://127.0.0.1:9") });
        var client = new DeltaDiscoveryClient(channel, Loopback.Node(), [new(new Holding(TypeUrls.Address))], TimeProvider.System);
        await Assert.ThrowsAsync<ArgumentException>(() => client.DemandAsync(TypeUrls.Address, "x", Patience.Token));
    }

    private static DeltaDiscoveryResponse Response(string nonce, string version) => new() { TypeUrl = TypeUrls.Address, Nonce = nonce, Resources = { new Resource { Name = "a", Version = version } } };

    private sealed class Waits(List<TimeSpan> waits) : DiscoveryClientObserver
    {
        public override void Terminated(ConnectionTermination reason, RpcException? failure, TimeSpan retryIn)
        {
            Assert.Equal(ConnectionTermination.ConnectionError, reason);
            waits.Add(retryIn);
        }
    }
}
