using System.Net;
using AmbientMesh.Hbone.Hpack;
using AmbientMesh.Hbone.Http2;
using AmbientMesh.Model;

namespace AmbientMesh.Hbone.Tests;

public class PoolTests
{
    private static readonly SpiffeId Client = new("cluster.local", "default", "client");
    private static readonly SpiffeId Server = new("cluster.local", "default", "server");
    private static readonly HboneAuthority Authority = HboneAuthority.Of("10.0.0.2", 80);

    private readonly FakeTimeProvider _clock = new();

    /// <summary>Dials loopback tunnels to server ends that accept everything; remembers what was dialled.</summary>
    private sealed class Dialer(TimeProvider clock, HboneOptions? server = null)
    {
        public List<HbonePoolKey> Dialled { get; } = [];
        public List<HboneServerConnection> Servers { get; } = [];
        public TaskCompletionSource? Hold { get; init; }
        public Func<HboneRequest, Task>? Serve { get; init; }

        public async Task<HboneClientConnection> DialAsync(HbonePoolKey key, CancellationToken cancellationToken)
        {
            lock (Dialled) Dialled.Add(key);
            if (Hold is not null) await Hold.Task.WaitAsync(cancellationToken);
            var tunnel = await Loopback.TunnelAsync(server, server, clock);
            lock (Dialled) Servers.Add(tunnel.Server);
            _ = ServeAsync(tunnel.Server);
            return tunnel.Client;
        }

        private async Task ServeAsync(HboneServerConnection connection)
        {
            await foreach (var request in connection.RequestsAsync(CancellationToken.None))
            {
                if (Serve is not null) await Serve(request);
                else request.Accept();
            }
        }
    }

    private static HbonePoolKey Key(string source = "10.0.0.1", string destination = "10.0.0.2:15008", params SpiffeId[] expected) =>
        new(Client, expected.Length > 0 ? expected : [Server], IPEndPoint.Parse(destination), IPAddress.Parse(source));

    private static async Task<HboneStream> OpenAsync(HbonePool pool, HbonePoolKey key) =>
        Assert.IsType<ConnectOutcome.Established>(await Patience.Within(pool.ConnectAsync(key, Authority, [], Patience.Token))).Stream;

    private static async Task EndAsync(HboneStream stream) => await stream.DisposeAsync();

    [Fact]
    public async Task Connections_with_one_key_share_a_tunnel_and_nothing_else_does()
    {
        var dialer = new Dialer(_clock);
        await using var pool = new HbonePool(dialer.DialAsync, new(), _clock);
        await OpenAsync(pool, Key());
        await OpenAsync(pool, Key());
        Assert.Single(dialer.Dialled);
        await OpenAsync(pool, Key(destination: "10.0.0.3:15008"));
        await OpenAsync(pool, Key(expected: [Server, Client]));
        await OpenAsync(pool, Key(expected: [Client, Server, Client]));   // the same set in another order
        Assert.Equal(3, dialer.Dialled.Count);
    }

    [Fact]
    [Scenario("L4-013")]
    public async Task Two_pods_never_share_a_tunnel()
    {
        var dialer = new Dialer(_clock);
        await using var pool = new HbonePool(dialer.DialAsync, new(), _clock);
        await OpenAsync(pool, Key(source: "10.0.0.1"));
        await OpenAsync(pool, Key(source: "10.0.0.9"));
        Assert.Equal(2, dialer.Dialled.Count);
    }

    [Fact]
    public async Task Many_connections_at_once_dial_one_tunnel_and_wait_for_it()
    {
        var dialer = new Dialer(_clock) { Hold = new TaskCompletionSource() };
        await using var pool = new HbonePool(dialer.DialAsync, new(), _clock);
        var opening = Enumerable.Range(0, 50).Select(_ => OpenAsync(pool, Key())).ToArray();
        dialer.Hold.SetResult();
        await Patience.Within(Task.WhenAll(opening));
        Assert.Single(dialer.Dialled);
        Assert.Equal(50, dialer.Servers[0].ActiveStreams);
    }

    [Fact]
    [Scenario("L4-014")]
    public async Task More_than_a_hundred_connections_open_a_second_tunnel_and_none_is_refused()
    {
        var dialer = new Dialer(_clock);
        await using var pool = new HbonePool(dialer.DialAsync, new(), _clock);
        await Patience.Within(Task.WhenAll(Enumerable.Range(0, 110).Select(_ => OpenAsync(pool, Key()))));
        Assert.Equal([10, 100], dialer.Servers.Select(s => s.ActiveStreams).Order());
    }

    [Fact]
    [Scenario("L4-014")]
    public async Task A_peer_that_allows_five_streams_gets_more_tunnels_instead_of_stalling_them()
    {
        var dialer = new Dialer(_clock, new HboneOptions { MaxConcurrentStreams = 5 });
        await using var pool = new HbonePool(dialer.DialAsync, new(), _clock);
        await Patience.Within(Task.WhenAll(Enumerable.Range(0, 12).Select(_ => OpenAsync(pool, Key()))));
        Assert.Equal([2, 5, 5], dialer.Servers.Select(s => s.ActiveStreams).Order());
    }

    [Fact]
    [Scenario("T-07")]
    public async Task A_peer_that_allows_no_streams_is_reported_and_not_dialled_forever()
    {
        var dialer = new Dialer(_clock, new HboneOptions { MaxConcurrentStreams = 0 });
        await using var pool = new HbonePool(dialer.DialAsync, new(), _clock);
        var outcome = await Patience.Within(pool.ConnectAsync(Key(), Authority, [], Patience.Token));
        Assert.IsType<ConnectOutcome.NotProcessed>(outcome);
        Assert.InRange(dialer.Dialled.Count, 1, 4);
    }

    [Fact]
    [Scenario("L4-015")]
    public async Task An_unused_tunnel_is_closed_after_five_minutes_and_a_used_one_is_not()
    {
        var options = new HboneOptions { PingInterval = TimeSpan.FromHours(1) };
        var dialer = new Dialer(_clock, options);
        await using var pool = new HbonePool(dialer.DialAsync, new(), _clock);
        var used = await OpenAsync(pool, Key());
        await EndAsync(await OpenAsync(pool, Key(source: "10.0.0.9")));
        var ended = Task.WhenAny(dialer.Servers.Select(s => s.Completion));
        _clock.Advance(TimeSpan.FromMinutes(5) - TimeSpan.FromSeconds(1));
        Assert.Equal(2, pool.Count);
        _clock.Advance(TimeSpan.FromSeconds(1));
        await Patience.Within(ended);
        Assert.Equal(1, pool.Count);
        await used.WriteAsync(new byte[1], Patience.Token);
    }

    /// <summary>Headers that are looked at when the tunnel is chosen and its stream is not yet opened.</summary>
    private sealed class BeforeOpening(Action act) : IReadOnlyList<HeaderField>
    {
        public int Count => 0;
        public HeaderField this[int index] => throw new ArgumentOutOfRangeException(nameof(index));
        System.Collections.IEnumerator System.Collections.IEnumerable.GetEnumerator() => GetEnumerator();

        public IEnumerator<HeaderField> GetEnumerator()
        {
            act();
            return Enumerable.Empty<HeaderField>().GetEnumerator();
        }
    }

    [Fact]
    public async Task A_tunnel_whose_limits_change_while_it_is_chosen_is_still_released_when_it_falls_idle()
    {
        var options = new HboneOptions { PingInterval = TimeSpan.FromHours(1) };   // so that the tunnels' own timers are due much later
        var release = new HbonePoolOptions().UnusedRelease;
        HboneClientConnection? tunnel = null;
        var dialer = new Dialer(_clock, options);
        await using var pool = new HbonePool(async (key, cancellationToken) => tunnel = await dialer.DialAsync(key, cancellationToken), new(), _clock);
        await EndAsync(await OpenAsync(pool, Key()));
        var outcome = await Patience.Within(pool.ConnectAsync(Key(), Authority, new BeforeOpening(() => tunnel!.Changed!(tunnel)), Patience.Token));
        var stream = Assert.IsType<ConnectOutcome.Established>(outcome).Stream;
        _clock.Advance(release);   // the stream outlives what was armed a moment before it
        Assert.Equal(1, pool.Count);
        await EndAsync(stream);
        await _clock.TimersAsync(due => due.Contains(release), Patience.Token);
        _clock.Advance(release);
        Assert.Equal(0, pool.Count);
        await Patience.Within(dialer.Servers[0].Completion);
    }

    [Fact]
    public async Task A_tunnel_whose_peer_says_goaway_finishes_its_streams_and_gets_no_new_ones()
    {
        var dialer = new Dialer(_clock);
        await using var pool = new HbonePool(dialer.DialAsync, new(), _clock);
        var before = await OpenAsync(pool, Key());
        dialer.Servers[0].BeginDrain();
        while (dialer.Dialled.Count < 2) await EndAsync(await OpenAsync(pool, Key()));   // GOAWAY is on its way
        await before.WriteAsync(new byte[10], Patience.Token);
        Assert.False(dialer.Servers[0].IsClosing);
        await EndAsync(before);
        await Patience.Within(dialer.Servers[0].Completion);
    }

    [Fact]
    public async Task A_refused_stream_is_tried_on_another_tunnel_and_a_rejected_one_is_not()
    {
        var refusals = 0;
        var dialer = new Dialer(_clock)
        {
            Serve = request =>
            {
                if (Interlocked.Increment(ref refusals) == 1) request.Connection.ResetLocally(request.Stream, ErrorCode.RefusedStream);
                else request.Reject(401);
                return Task.CompletedTask;
            },
        };
        await using var pool = new HbonePool(dialer.DialAsync, new(), _clock);
        Assert.Equal(401, Assert.IsType<ConnectOutcome.Rejected>(await Patience.Within(pool.ConnectAsync(Key(), Authority, [], Patience.Token))).Status);
        Assert.Equal(2, refusals);
    }

    [Fact]
    public async Task A_dial_that_fails_fails_everyone_who_waited_and_the_next_one_tries_anew()
    {
        var attempts = 0;
        var good = new Dialer(_clock);
        await using var pool = new HbonePool(
            (key, ct) => Interlocked.Increment(ref attempts) == 1 ? throw new IOException("no route") : good.DialAsync(key, ct), new(), _clock);
        var failures = await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => Record.ExceptionAsync(() => OpenAsync(pool, Key())).AsTask()));
        Assert.Contains(failures, f => f is IOException { Message: "no route" });
        await OpenAsync(pool, Key());
    }

    [Fact]
    [Scenario("T-21")]
    public async Task A_tunnel_whose_peer_was_revoked_while_it_was_dialled_is_not_used()
    {
        var mesh = new Mesh();
        var revoked = false;
        var dialled = new List<HboneClientConnection>();
        await using var pool = new HbonePool(async (_, _) =>
        {
            var tunnel = await mesh.TunnelAsync();
            dialled.Add(tunnel.Client);
            _ = AcceptAllAsync(tunnel.Server);
            if (dialled.Count == 1) revoked = true;   // the list comes now, and finds no tunnel to drop
            return tunnel.Client;
        }, new(), _clock, peer => peer.Identity == mesh.Id("server") && revoked);
        var refusal = await Assert.ThrowsAsync<TlsHandshakeException>(() => Patience.Within(pool.ConnectAsync(Key(), Authority, [], Patience.Token)));
        Assert.True(refusal.IsRevoked);
        await Patience.Within(dialled[0].Completion);
        Assert.Equal(0, pool.Count);
        revoked = false;
        await OpenAsync(pool, Key());
        Assert.Equal(2, dialled.Count);

        static async Task AcceptAllAsync(HboneServerConnection server)
        {
            await foreach (var request in server.RequestsAsync(CancellationToken.None)) request.Accept();
        }
    }

    [Fact]
    public async Task Disposing_the_pool_of_a_pod_resets_its_streams_and_closes_its_tunnels()
    {
        var dialer = new Dialer(_clock);
        var pool = new HbonePool(dialer.DialAsync, new(), _clock);
        var stream = await OpenAsync(pool, Key());
        await Patience.Within(pool.DisposeAsync().AsTask());
        await Patience.Within(dialer.Servers[0].Completion);
        await Assert.ThrowsAnyAsync<IOException>(async () => await stream.WriteAsync(new byte[1], Patience.Token));
        Assert.IsType<ConnectOutcome.NotProcessed>(await pool.ConnectAsync(Key(), Authority, [], Patience.Token));
    }

    [Fact]
    public async Task A_draining_pool_serves_what_was_accepted_and_closes_tunnels_as_they_fall_idle()
    {
        var dialer = new Dialer(_clock);
        await using var pool = new HbonePool(dialer.DialAsync, new(), _clock);
        var stream = await OpenAsync(pool, Key());
        pool.BeginDrain();
        var late = await OpenAsync(pool, Key());   // accepted a moment before the drain
        await stream.WriteAsync(new byte[1000], Patience.Token);
        await EndAsync(late);
        Assert.False(dialer.Servers[0].IsClosing);
        await EndAsync(stream);
        var released = new HbonePoolOptions().DrainRelease;
        await Patience.Until(() => dialer.Servers[0].Completion.IsCompleted, () => _clock.Advance(released));   // armed when the stream's end has come through
    }
}
