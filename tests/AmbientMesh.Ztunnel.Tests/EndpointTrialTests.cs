using System.Net;
using System.Net.Sockets;
using AmbientMesh.Hbone;
using AmbientMesh.Model;
using AmbientMesh.Model.Tests;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.Explain;
using AmbientMesh.Ztunnel.Outbound;

namespace AmbientMesh.Ztunnel.Tests;

/// <summary>Endpoints that answer, refuse or stay silent, and a connection that wants one.</summary>
public sealed class EndpointTrialTests
{
    private static readonly CloseReason s_dead = CloseReason.HboneTimeout;

    private readonly FakeTimeProvider _clock = new();
    private readonly MeshBuilder _mesh = new MeshBuilder().Pod("client", "10.0.0.1").Service("s", "10.1.0.1");
    private readonly Dictionary<string, Func<CancellationToken, Task<DialResult>>> _peers = [];
    private readonly List<string> _dialled = [];
    private readonly List<string> _moves = [];
    private readonly UnansweredEndpoints _unanswered;

    public EndpointTrialTests() => _unanswered = new UnansweredEndpoints(_clock);

    [Fact]
    public async Task Whoever_cannot_be_reached_is_passed_over_until_one_is()
    {
        Endpoint("a", _ => Task.FromResult(DialResult.Unanswered(s_dead)));
        Endpoint("b", _ => Task.FromResult(DialResult.Unanswered(s_dead)));
        Endpoint("c", Answers);
        var result = await Patience.Within(RunAsync("a", Patience.Token));
        Assert.NotNull(result.Upstream);
        Assert.Equal("c", _dialled[^1]);
        Assert.Equal(_dialled[1..], _moves);
    }

    [Fact]
    public async Task A_refusal_is_an_answer()
    {
        Endpoint("a", _ => Task.FromResult(DialResult.Refused(CloseReason.HttpStatus(401))));
        Endpoint("b", Answers);
        var result = await Patience.Within(RunAsync("a", Patience.Token));
        Assert.Equal((null, Reason.DeniedByPeer), (result.Upstream, result.Reason!.Reason));
        Assert.Equal(["a"], _dialled);
    }

    [Fact]
    public async Task Silence_moves_on_when_its_time_is_over_and_what_comes_too_late_is_given_up()
    {
        Endpoint("a", Silent);
        Endpoint("b", Answers);
        var running = RunAsync("a", Patience.Token);
        await _clock.TimersArmedAsync(1, Patience.Token);
        _clock.Advance(TimeSpan.FromSeconds(1.9));
        Assert.Equal(["a"], _dialled);
        _clock.Advance(TimeSpan.FromSeconds(0.2));
        Assert.NotNull((await Patience.Within(running)).Upstream);
        Assert.Equal(["a", "b"], _dialled);
    }

    [Fact]
    public async Task What_answers_while_it_is_given_up_is_taken()
    {
        Endpoint("a", async cancelled =>
        {
            await Task.Delay(Timeout.InfiniteTimeSpan, _clock, cancelled).ContinueWith(_ => { }, TaskScheduler.Default);
            return await Answers(cancelled);
        });
        Endpoint("b", Answers);
        var running = RunAsync("a", Patience.Token);
        await _clock.TimersArmedAsync(1, Patience.Token);
        _clock.Advance(TimeSpan.FromSeconds(3));
        Assert.NotNull((await Patience.Within(running)).Upstream);
        Assert.Equal(["a"], _dialled);
        Assert.Empty(_moves);
    }

    [Fact]
    public async Task The_only_endpoint_gets_all_the_time_it_takes()
    {
        var answer = new TaskCompletionSource<DialResult>(TaskCreationOptions.RunContinuationsAsynchronously);
        Endpoint("a", cancelled => answer.Task.WaitAsync(cancelled));
        var running = RunAsync("a", Patience.Token);
        await _clock.TimersArmedAsync(1, Patience.Token);
        _clock.Advance(TimeSpan.FromMinutes(1));
        Assert.False(running.IsCompleted);
        answer.SetResult(DialResult.Opened(new OpenedTransport()));
        Assert.NotNull((await Patience.Within(running)).Upstream);
    }

    [Fact]
    public async Task A_tunnel_is_never_given_up_for_plaintext()
    {
        Endpoint("a", _ => Task.FromResult(DialResult.Unanswered(s_dead)));
        Endpoint("plain", Answers, Protocol.Wds.TunnelProtocol.None);
        for (var i = 0; i < 50; i++) Assert.Equal(s_dead, (await Patience.Within(RunAsync("a", Patience.Token))).Reason);
        Assert.DoesNotContain("plain", _dialled);
        Endpoint("c", Answers);
        for (var i = 0; i < 50; i++) Assert.NotNull((await Patience.Within(RunAsync("a", Patience.Token))).Upstream);
        Assert.DoesNotContain("plain", _dialled);
    }

    [Fact]
    public async Task Also_not_when_it_was_tried_in_place_of_plaintext()
    {
        Endpoint("p1", _ => Task.FromResult(DialResult.Unanswered(s_dead)), Protocol.Wds.TunnelProtocol.None);
        Endpoint("tunnel", _ => Task.FromResult(DialResult.Unanswered(s_dead)));
        var moved = await Patience.Within(RunAsync("p1", Patience.Token));
        Assert.Equal(["p1", "tunnel"], _dialled);
        Assert.Equal(s_dead, moved.Reason);
        Endpoint("p2", Answers, Protocol.Wds.TunnelProtocol.None);
        for (var i = 0; i < 50; i++)
        {
            _dialled.Clear();
            var result = await Patience.Within(RunAsync("p1", Patience.Token));
            if (_dialled.Contains("tunnel")) Assert.Null(result.Upstream);
        }
    }

    [Fact]
    public async Task Who_was_silent_for_another_connection_is_tried_when_nobody_else_is_left()
    {
        Endpoint("a", _ => Task.FromResult(DialResult.Unanswered(s_dead)));
        Endpoint("b", Answers);
        for (var i = 0; i < 50; i++)
        {
            _unanswered.Add(Client, _mesh.Find("b"));
            Assert.NotNull((await Patience.Within(RunAsync("a", Patience.Token))).Upstream);
        }
    }

    [Fact]
    public async Task A_dial_that_is_refused_at_once_is_not_remembered()
    {
        Endpoint("a", _ => Task.FromResult(DialResult.Unanswered(CloseReason.PeerUnreachable(new SocketException((int)SocketError.ConnectionRefused)))));
        Endpoint("b", Answers);
        Assert.NotNull((await Patience.Within(RunAsync("a", Patience.Token))).Upstream);
        Assert.Null(_unanswered.For(Client));
    }

    [Fact]
    public async Task Nothing_is_left_open_when_looking_for_another_fails()
    {
        var opened = new OpenedTransport();
        Endpoint("a", async cancelled =>
        {
            await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, cancelled).ContinueWith(_ => { }, TaskScheduler.Default);
            return DialResult.Opened(opened);
        });
        Endpoint("b", Answers);
        var trial = new EndpointTrial(_unanswered, new ZtunnelSettings(), _clock, Client, (route, given) => _peers["a"](given), _ => throw new InvalidOperationException("broken"));
        var running = trial.RunAsync(RouteTo("a"), (_, _) => { }, Patience.Token);
        await _clock.TimersArmedAsync(1, Patience.Token);
        _clock.Advance(TimeSpan.FromSeconds(3));
        await Assert.ThrowsAsync<InvalidOperationException>(() => Patience.Within(running));
        Assert.True(opened.IsDisposed);
    }

    [Fact]
    public async Task Plaintext_moves_to_plaintext_and_to_a_tunnel()
    {
        Endpoint("a", _ => Task.FromResult(DialResult.Unanswered(s_dead)), Protocol.Wds.TunnelProtocol.None);
        Endpoint("b", _ => Task.FromResult(DialResult.Unanswered(s_dead)), Protocol.Wds.TunnelProtocol.None);
        Endpoint("c", Answers);
        Assert.NotNull((await Patience.Within(RunAsync("a", Patience.Token))).Upstream);
        Assert.Equal("c", _dialled[^1]);
    }

    [Fact]
    public async Task It_ends_with_the_last_reason_after_as_many_endpoints_as_are_allowed()
    {
        foreach (var name in (string[])["a", "b", "c", "d", "e"]) Endpoint(name, _ => Task.FromResult(DialResult.Unanswered(s_dead)));
        var result = await Patience.Within(RunAsync("a", Patience.Token));
        Assert.Equal((null, s_dead), (result.Upstream, result.Reason));
        Assert.Equal(3, _dialled.Distinct().Count());
        Assert.Equal(3, _dialled.Count);
    }

    [Fact]
    public async Task A_connection_that_must_end_does_not_look_further()
    {
        Endpoint("a", Silent);
        Endpoint("b", Answers);
        using var closing = new CancellationTokenSource();
        var running = RunAsync("a", closing.Token);
        await closing.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Patience.Within(running));
        Assert.Equal(["a"], _dialled);
    }

    [Fact]
    public async Task Who_stayed_silent_is_left_for_others_by_that_client_for_a_while()
    {
        Endpoint("a", _ => Task.FromResult(DialResult.Unanswered(s_dead)));
        Endpoint("b", Answers);
        _mesh.Pod("other", "10.0.0.9");
        Assert.Null(_unanswered.For(Client));
        await Patience.Within(RunAsync("a", Patience.Token));
        Assert.True(_unanswered.For(Client)!(_mesh.Find("a")));
        Assert.False(_unanswered.For(Client)!(_mesh.Find("b")));
        Assert.False(_unanswered.For(_mesh.Find("other"))!(_mesh.Find("a")));
        for (var i = 0; i < 20; i++) Assert.Equal("10.0.0.12", (await DecideAsync(_unanswered.For(Client)) as OutboundRoute.Hbone)!.NextHop.Address.ToString());

        var explained = OutboundExplainer.Captured(_mesh.Mesh, Client, HboneAuthority.Of(IPEndPoint.Parse("10.1.0.1:80")), ExplainSettings.Of(new ZtunnelSettings()), _unanswered.For(Client));
        Assert.Equal("did not answer lately", Assert.Single(explained.Searches).Endpoints.Single(e => e.Workload.Name == "a").Why);
        Assert.Equal("b", Assert.Single(explained.Routes).Peer!.Name);

        _clock.Advance(UnansweredEndpoints.Memory);
        Assert.Null(_unanswered.For(Client));
    }

    [Fact]
    public async Task Who_answers_again_is_as_good_as_the_others()
    {
        var isDead = true;
        Endpoint("a", cancelled => isDead ? Task.FromResult(DialResult.Unanswered(s_dead)) : Answers(cancelled));
        await Patience.Within(RunAsync("a", Patience.Token));
        Assert.NotNull(_unanswered.For(Client));
        Assert.True(_unanswered.For(Client)!(_mesh.Find("a")));
        isDead = false;
        await Patience.Within(RunAsync("a", Patience.Token));
        Assert.False(_unanswered.For(Client)!(_mesh.Find("a")));
    }

    [Fact]
    public void It_is_worth_it_only_with_more_than_one_endpoint_and_attempt()
    {
        Endpoint("a", Answers);
        Assert.False(EndpointTrial.IsWorthwhile(_mesh.Mesh, RouteTo("a"), 3));
        Endpoint("b", Answers);
        Assert.True(EndpointTrial.IsWorthwhile(_mesh.Mesh, RouteTo("a"), 3));
        Assert.False(EndpointTrial.IsWorthwhile(_mesh.Mesh, RouteTo("a"), 1));
        Assert.False(EndpointTrial.IsWorthwhile(_mesh.Mesh, new OutboundRoute.Plaintext(IPEndPoint.Parse("192.0.2.1:80"), null, null), 3));
    }

    private Workload Client => _mesh.Find("client");

    private static Task<DialResult> Answers(CancellationToken cancellationToken) => Task.FromResult(DialResult.Opened(new OpenedTransport()));

    private static async Task<DialResult> Silent(CancellationToken cancellationToken)
    {
        await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, cancellationToken);
        throw new InvalidOperationException("never");
    }

    private void Endpoint(string name, Func<CancellationToken, Task<DialResult>> dial, Protocol.Wds.TunnelProtocol protocol = Protocol.Wds.TunnelProtocol.Hbone)
    {
        _peers[name] = dial;
        _mesh.Pod(name, $"10.0.0.{10 + _peers.Count}", with: w => { w.Backs("s"); w.TunnelProtocol = protocol; });
    }

    private OutboundRoute RouteTo(string name)
    {
        while (true)
        {
            var drawn = OutboundRouter.Decide(_mesh.Mesh, Client, IPEndPoint.Parse("10.1.0.1:80"), new OutboundSettings("", Random.Shared));
            if (NameOf(drawn) == name) return drawn;
        }
    }

    private ValueTask<OutboundRoute> DecideAsync(Predicate<Workload>? avoid) =>
        ValueTask.FromResult(OutboundRouter.Decide(_mesh.Mesh, Client, IPEndPoint.Parse("10.1.0.1:80"), new OutboundSettings("", Random.Shared, Avoid: avoid)));

    private Task<DialResult> RunAsync(string first, CancellationToken cancellationToken)
    {
        var trial = new EndpointTrial(_unanswered, new ZtunnelSettings(), _clock, Client, DialAsync, avoid => DecideAsync(avoid));
        return trial.RunAsync(RouteTo(first), (route, _) => _moves.Add(NameOf(route)), cancellationToken);

        Task<DialResult> DialAsync(OutboundRoute route, CancellationToken given)
        {
            _dialled.Add(NameOf(route));
            return _peers[NameOf(route)](given);
        }
    }

    private static string NameOf(OutboundRoute route) => route is OutboundRoute.Plaintext plain ? plain.Peer!.Name : ((OutboundRoute.Hbone)route).Peer.Name;

    // Stands for what was opened; nobody carries bytes here.
    private sealed class OpenedTransport : ITransport
    {
        public ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => throw new NotSupportedException();
        public ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => throw new NotSupportedException();
        public ValueTask ShutdownWriteAsync(CancellationToken cancellationToken = default) => throw new NotSupportedException();
        public void Abort(AbortReason reason = AbortReason.Cancelled) => throw new NotSupportedException();
        public bool IsDisposed { get; private set; }

        public ValueTask DisposeAsync()
        {
            IsDisposed = true;
            return ValueTask.CompletedTask;
        }
    }
}
