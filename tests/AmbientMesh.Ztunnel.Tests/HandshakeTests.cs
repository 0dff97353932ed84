using AmbientMesh.Identity;
using AmbientMesh.Model;
using AmbientMesh.Telemetry;

namespace AmbientMesh.Ztunnel.Tests;

/// <summary>How handshakes at port 15008 end that do not end well.</summary>
public sealed class HandshakeTests
{
    [Fact, Scenario("T-09")]
    public async Task A_client_that_connects_and_says_nothing_is_let_go_after_ten_seconds()
    {
        await using var bench = new InboundBench();
        await bench.Svids.GetAsync(InboundBench.Id("server"), Patience.Token);
        var (_, serving) = await bench.DialAsync();
        bench.Clock.Advance(TimeSpan.FromSeconds(10) - TimeSpan.FromMilliseconds(1));
        Assert.False(serving.IsCompleted);
        bench.Clock.Advance(TimeSpan.FromMilliseconds(1));
        await Patience.Within(serving);
        Assert.Equal([Reason.TlsHandshake], bench.Refusals);
    }

    [Fact]
    public async Task When_our_own_certificate_does_not_come_in_time_the_reason_is_ours()
    {
        var never = new TaskCompletionSource<Svid>();
        await using var bench = new InboundBench((_, _) => never.Task);
        var (_, serving) = await bench.DialAsync();
        bench.Clock.Advance(TimeSpan.FromSeconds(10));
        await Patience.Within(serving);
        Assert.Equal([Reason.IdentityUnavailable], bench.Refusals);
    }

    [Fact]
    public async Task A_time_limit_that_fires_as_its_handshake_ends_harms_nobody()
    {
        var clock = new LateClock();
        await using var bench = new InboundBench(clock: clock);
        var (client, serving) = await bench.DialAsync();
        client.Dispose();
        await Patience.Within(serving);
        clock.FireAll();   // on a thread of the pool an exception here would end the process
        Assert.Equal([Reason.TlsHandshake], bench.Refusals);
    }

    [Fact, Scenario("T-21")]
    public async Task A_certificate_that_is_revoked_during_its_handshake_gets_no_tunnel()
    {
        await using var bench = new InboundBench();
        await bench.Svids.GetAsync(InboundBench.Id("server"), Patience.Token);
        var bad = bench.Authority.IssueSvid(InboundBench.Id("client"), TimeSpan.FromHours(1));
        var (client, serving) = await bench.DialAsync();   // the list of this moment is the one TLS will judge by
        bench.Svids.Revoke(bench.Revoking(bad));
        await using var tunnel = await bench.TunnelAsync(client, bad);
        await Patience.Within(serving);
        await Patience.Within(tunnel.Completion);
        Assert.Equal([Reason.CertificateRevoked], bench.Refusals);
        Assert.Contains("istio_crl_policy_rejections_total{", MetricExposition.Write(bench.Registry));

        var (next, _) = await bench.DialAsync();
        await using var good = await bench.TunnelAsync(next, bench.Authority.IssueSvid(InboundBench.Id("client"), TimeSpan.FromHours(1)));
        Assert.IsType<Hbone.ConnectOutcome.Established>(await good.ConnectAsync(Hbone.HboneAuthority.Of(bench.Echo()), [], Patience.Token));
    }

    /// <summary>A clock whose timers may have begun to fire when they are disposed, as real ones do.</summary>
    private sealed class LateClock : TimeProvider
    {
        private readonly Lock _gate = new();
        private readonly List<(TimerCallback Callback, object? State)> _timers = [];

        public void FireAll()
        {
            (TimerCallback Callback, object? State)[] timers;
            lock (_gate) timers = [.. _timers];
            foreach (var (callback, state) in timers) callback(state);
        }

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            lock (_gate) _timers.Add((callback, state));
            return System.CreateTimer(static _ => { }, null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        }
    }
}
