using System.Net;
using System.Net.Sockets;
using AmbientMesh.Protocol.Core;
using AmbientMesh.Protocol.Discovery;
using AmbientMesh.Rpc;

namespace AmbientMesh.Xds.Tests;

/// <summary>The real client against the real server over real sockets.</summary>
public sealed class LoopbackTests
{
    [Fact]
    [Scenario("L4-130")]
    public async Task An_empty_world_syncs_both_types()
    {
        await using var server = await Loopback.StartAsync();
        await using var client = new RunningClient(server);
        await Patience.Within(client.Discovery.AllSynced);
        Assert.Empty(client.Address.Names);
    }

    [Fact]
    public async Task Changes_arrive_alone_and_an_unchanged_world_sends_nothing()
    {
        await using var server = await Loopback.StartAsync();
        server.Address.Update([Loopback.Workload("a"), Loopback.Workload("b")]);
        await using var client = new RunningClient(server);
        await client.Address.UntilAsync(h => h.Names.Length == 2);
        Assert.False(server.Address.Update([Loopback.Workload("a")]));   // the same again
        Assert.True(server.Address.Update([Loopback.Workload("b", revision: "v2"), Loopback.Workload("c")], ["Kubernetes//Pod/default/a"]));
        await client.Address.UntilAsync(h => h.Names.Length == 2 && h.Names.Contains("Kubernetes//Pod/default/c"));
        Assert.Equal(["Kubernetes//Pod/default/b", "Kubernetes//Pod/default/c", "-Kubernetes//Pod/default/a"], client.Address.Received[2..].OrderBy(n => n[0] == '-').ThenBy(n => n));
    }

    [Fact]
    [Scenario("L4-132")]
    public async Task A_bad_resource_is_named_and_the_good_one_beside_it_applied()
    {
        var rejected = new TaskCompletionSource<ResourceRejection>();
        await using var server = await Loopback.StartAsync(observer: new Rejections(rejected));
        server.Address.Update([Loopback.Workload("bad"), Loopback.Workload("good")]);
        await using var client = new RunningClient(server, refuse: r => r.Name.EndsWith("bad", StringComparison.Ordinal) ? "failed to parse address, had 3 bytes" : null);
        var rejection = await Patience.Within(rejected.Task);
        Assert.Equal(new ResourceRejection(TypeUrls.Address, "Kubernetes//Pod/default/bad", "failed to parse address, had 3 bytes"), rejection);
        Assert.Equal(["Kubernetes//Pod/default/good"], client.Address.Names);
        var status = Assert.Single(server.Server.Clients);
        Assert.Equal(rejection, Assert.Single(status.Types.Single(t => t.TypeUrl == TypeUrls.Address).Rejections));
        server.Address.Update([Loopback.Workload("bad", revision: "v2")]);   // the next version is pushed all the same
        await client.Address.UntilAsync(h => h.Received.Length == 3);
    }

    [Fact]
    [Scenario("L4-133", "L4-134", "L4-135")]
    public async Task After_a_lost_server_only_differences_and_removals_come()
    {
        ResourceTable authorization = new(TypeUrls.Authorization), address = new(TypeUrls.Address);
        var server = await Loopback.StartAsync(authorization: authorization, address: address);
        address.Update([Loopback.Workload("same"), Loopback.Workload("changes"), Loopback.Workload("goes")]);
        authorization.Update([Loopback.Policy("kept"), Loopback.Policy("dropped")]);
        await using var client = new RunningClient(server);
        await client.Address.UntilAsync(h => h.Names.Length == 3);
        await client.Authorization.UntilAsync(h => h.Names.Length == 2);
        client.GoesTo(null);
        await server.DisposeAsync();
        Assert.Equal(3, client.Address.Names.Length);   // kept while disconnected

        address.Update([Loopback.Workload("changes", revision: "v2"), Loopback.Workload("new")], ["Kubernetes//Pod/default/goes"]);
        authorization.Update([], ["default/dropped"]);
        await using var again = await Loopback.StartAsync(authorization: authorization, address: address);
        client.GoesTo(again);
        await client.Address.UntilAsync(h => h.Names.Contains("Kubernetes//Pod/default/new"));
        await client.Authorization.UntilAsync(h => h.Names.Length == 1);
        Assert.Equal(["-Kubernetes//Pod/default/goes", "Kubernetes//Pod/default/changes", "Kubernetes//Pod/default/new"], client.Address.Received[3..].Order(StringComparer.Ordinal));
        Assert.Equal(["-default/dropped", "default/kept"], client.Authorization.Received[2..].Order(StringComparer.Ordinal));
    }

    [Fact]
    [Scenario("L4-136", "L4-137")]
    public async Task On_demand_lookups_are_answered_by_the_name_that_was_asked()
    {
        await using var server = await Loopback.StartAsync();
        server.Address.Update([Loopback.Workload("local", node: "n1", ip: "10.0.1.1"), Loopback.Workload("far", node: "n2", ip: "10.0.2.1", service: "default/web"), Loopback.Workload("other", node: "n2", ip: "10.0.2.2"), Loopback.Service("web", "10.96.0.1")]);
        await using var client = new RunningClient(server, onDemand: true);
        await client.Address.UntilAsync(h => h.Names.Length == 1);
        Assert.Equal(["Kubernetes//Pod/default/local"], client.Address.Names);   // its node's, unasked

        Assert.False(await client.DemandAsync("/10.9.9.9"));
        Assert.True(await client.DemandAsync("/10.96.0.1"));
        Assert.Equal(["/10.96.0.1", "Kubernetes//Pod/default/far", "Kubernetes//Pod/default/local"], client.Address.Names);

        server.Address.Update([Loopback.Workload("far", node: "n2", ip: "10.0.2.1", service: "default/web", revision: "v2"), Loopback.Workload("far2", node: "n2", service: "default/web")]);
        await client.Address.UntilAsync(h => h.Names.Contains("Kubernetes//Pod/default/far2"));
        server.Address.Update([Loopback.Workload("late", node: "n2", ip: "10.9.9.9")]);   // was asked for before it existed
        await client.Address.UntilAsync(h => h.Names.Contains("/10.9.9.9"));
        server.Address.Update([], ["default/web"]);
        await client.Address.UntilAsync(h => !h.Names.Contains("/10.96.0.1"));
        Assert.Contains("-default/web", client.Address.Received);   // the name ztunnel knows it by
        Assert.DoesNotContain("Kubernetes//Pod/default/other", client.Address.Received);
    }

    [Fact]
    public async Task A_refused_client_gets_the_status_and_comes_again_later()
    {
        var terminated = new TaskCompletionSource<(ConnectionTermination Reason, RpcException? Failure)>();
        await using var server = await Loopback.StartAsync(new DeltaDiscoveryOptions { Authorize = (_, node) => throw new RpcException(StatusCode.PermissionDenied, $"authorization failed: {node.Id}") });
        await using var client = new RunningClient(server, observer: new Terminations(terminated));
        var (reason, failure) = await Patience.Within(terminated.Task);
        Assert.Equal(ConnectionTermination.Error, reason);
        Assert.Equal(StatusCode.PermissionDenied, failure!.Code);
        Assert.StartsWith("authorization failed: ztunnel~10.0.0.1~", failure.Detail);
    }

    [Fact]
    [Scenario("L4-133")]
    public async Task A_closing_server_ends_streams_so_that_clients_come_back_at_once()
    {
        var terminated = new TaskCompletionSource<(ConnectionTermination Reason, RpcException? Failure)>();
        await using var server = await Loopback.StartAsync();
        await using var client = new RunningClient(server, observer: new Terminations(terminated));
        await Patience.Within(client.Discovery.AllSynced);
        server.Server.Close();
        var (reason, failure) = await Patience.Within(terminated.Task);
        Assert.Equal((ConnectionTermination.Reconnect, "transport is closing"), (reason, failure!.Detail));
    }

    [Fact]
    public async Task A_stream_is_ended_when_it_is_too_old()
    {
        var clock = new FakeTimeProvider();
        var terminated = new TaskCompletionSource<(ConnectionTermination Reason, RpcException? Failure)>();
        await using var server = await Loopback.StartAsync(new DeltaDiscoveryOptions { MaxStreamAge = TimeSpan.FromMinutes(30), Clock = clock });
        await using var client = new RunningClient(server, observer: new Terminations(terminated));
        await Patience.Within(client.Discovery.AllSynced);
        clock.Advance(TimeSpan.FromMinutes(30));
        Assert.Equal(ConnectionTermination.Reconnect, (await Patience.Within(terminated.Task)).Reason);
    }

    [Fact]
    [Scenario("T-09")]
    public async Task A_stream_on_which_nothing_is_asked_is_given_up()
    {
        var clock = new FakeTimeProvider();
        await using var server = await Loopback.StartAsync(new DeltaDiscoveryOptions { Clock = clock });
        using var channel = server.Channel();
        await using var call = await channel.DuplexAsync(MeshMethods.DeltaAggregatedResources, cancellationToken: Patience.Token);
        await clock.TimersArmedAsync(1, Patience.Token);
        clock.Advance(TimeSpan.FromSeconds(10));
        var failure = await Assert.ThrowsAsync<RpcException>(async () => await call.ReadAsync(Patience.Token));
        Assert.Equal((StatusCode.DeadlineExceeded, "no request came within 10 s"), (failure.Code, failure.Detail));
    }

    [Fact]
    public async Task A_first_request_without_a_node_is_refused()
    {
        await using var server = await Loopback.StartAsync();
        using var channel = server.Channel();
        await using var call = await channel.DuplexAsync(MeshMethods.DeltaAggregatedResources, cancellationToken: Patience.Token);
        await call.WriteAsync(new DeltaDiscoveryRequest { TypeUrl = TypeUrls.Address }, Patience.Token);
        var failure = await Assert.ThrowsAsync<RpcException>(async () => await call.ReadAsync(Patience.Token));
        Assert.Equal((StatusCode.InvalidArgument, "the first request names no node"), (failure.Code, failure.Detail));
    }

    [Fact]
    [Scenario("L4-131")]
    public async Task One_type_left_unanswered_keeps_the_client_unsynced()
    {
        await using var server = await Loopback.StartSilentAsync(TypeUrls.Authorization);
        await using var client = new RunningClient(server);
        await Patience.Within(client.Discovery.Synced(TypeUrls.Address));
        await client.Address.UntilAsync(h => h.Names.Length == 1);
        Assert.False(client.Discovery.AllSynced.IsCompleted);
        Assert.False(client.Discovery.Synced(TypeUrls.Authorization).IsCompleted);
    }

    private sealed class Rejections(TaskCompletionSource<ResourceRejection> first) : DiscoveryObserver
    {
        public override void Rejected(Node node, ResourceRejection rejection) => first.TrySetResult(rejection);
    }

    private sealed class Terminations(TaskCompletionSource<(ConnectionTermination, RpcException?)> first) : DiscoveryClientObserver
    {
        public override void Terminated(ConnectionTermination reason, RpcException? failure, TimeSpan retryIn) => first.TrySetResult((reason, failure));
    }

    private sealed class RunningClient : IAsyncDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly RpcChannel _channel;
        private readonly Task _running;
        private volatile Loopback? _server;

        public RunningClient(Loopback server, bool onDemand = false, Func<Resource, string?>? refuse = null, DiscoveryClientObserver? observer = null)
        {
            Address = new Holding(TypeUrls.Address, refuse);
            _server = server;
            _channel = new RpcChannel(new RpcChannelOptions { Address = server.Uri, Dial = async (_, cancellationToken) => await DialAsync(cancellationToken) });
            Discovery = new DeltaDiscoveryClient(_channel, Loopback.Node(), [new(Address, onDemand), new(Authorization)], TimeProvider.System, observer);
            _running = Discovery.RunAsync(_stop.Token);
        }

        public Holding Address { get; }
        public Holding Authorization { get; } = new(TypeUrls.Authorization);
        public DeltaDiscoveryClient Discovery { get; }

        /// <summary>Where connections go from now on; nowhere for null. A server that comes again need not get the port of the one before.</summary>
        public void GoesTo(Loopback? server) => _server = server;

        public Task<bool> DemandAsync(string name) => Discovery.DemandAsync(TypeUrls.Address, name, Patience.Token);

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Patience.Within(_running));
            _channel.Dispose();
            _stop.Dispose();
        }

        private async Task<Stream> DialAsync(CancellationToken cancellationToken)
        {
            if (_server is not { } server) throw new SocketException((int)SocketError.ConnectionRefused);
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            await socket.ConnectAsync(IPAddress.Loopback, server.Uri.Port, cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
    }
}
