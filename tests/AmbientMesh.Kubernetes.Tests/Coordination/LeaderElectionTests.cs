using System.Threading.Channels;

namespace AmbientMesh.Kubernetes.Tests;

public sealed class LeaderElectionTests
{
    private const string Leases = "/apis/coordination.k8s.io/v1/namespaces/sys/leases";

    [Fact]
    public async Task The_first_candidate_leads_and_writes_the_lease_as_Kubernetes_does()
    {
        await using var api = await MemoryApi.StartAsync();
        await using var a = new Candidate(api, "a", new FakeTimeProvider(new DateTimeOffset(2026, 11, 21, 1, 0, 0, TimeSpan.Zero)));
        await a.Leads();
        var spec = api.Find($"{Leases}/writers")!["spec"]!;
        Assert.Equal("a", (string?)spec["holderIdentity"]);
        Assert.Equal(15, (int?)spec["leaseDurationSeconds"]);
        Assert.Equal("2026-11-21T01:00:00.000000Z", (string?)spec["renewTime"]);   // six decimals, or the API server answers 400
        Assert.Equal("2026-11-21T01:00:00.000000Z", (string?)spec["acquireTime"]);
    }

    [Fact]
    public async Task A_second_candidate_waits_while_the_leader_renews_and_takes_over_after_its_silence()
    {
        await using var api = await MemoryApi.StartAsync();
        api.Put(Leases, """{"metadata":{"name":"writers"},"spec":{"holderIdentity":"dead","leaseDurationSeconds":15,"leaseTransitions":3,"preferredHolder":"kept"}}""");
        var clock = new FakeTimeProvider();
        await using var b = new Candidate(api, "b", clock);
        for (var waited = 0; waited < 6; waited++)
        {
            await b.Waits();
            Assert.False(b.Election.IsLeader);
            clock.Advance(TimeSpan.FromSeconds(2));
        }
        await b.Waits();
        clock.Advance(TimeSpan.FromSeconds(4));
        await b.Leads();
        var spec = api.Find($"{Leases}/writers")!["spec"]!;
        Assert.Equal(("b", 4, "kept"), ((string?)spec["holderIdentity"], (int?)spec["leaseTransitions"], (string?)spec["preferredHolder"]));
    }

    [Fact]
    public async Task A_leader_that_cannot_renew_stops_before_another_may_begin()
    {
        await using var api = await MemoryApi.StartAsync();
        var clock = new FakeTimeProvider();
        await using var a = new Candidate(api, "a", clock);
        await a.Leads();
        api.Fault = _ => 503;
        var start = clock.GetUtcNow();
        while (a.Election.IsLeader)
        {
            await a.Waits();
            clock.Advance(TimeSpan.FromSeconds(2));
            if (clock.GetUtcNow() - start > TimeSpan.FromSeconds(10)) break;
        }
        await a.Stopped();
        Assert.True(clock.GetUtcNow() - start < TimeSpan.FromSeconds(15), "the lease could have been taken over meanwhile");
    }

    [Fact]
    public async Task A_leader_whose_lease_was_taken_stops_at_the_next_renewal()
    {
        await using var api = await MemoryApi.StartAsync();
        var clock = new FakeTimeProvider();
        await using var a = new Candidate(api, "a", clock);
        await a.Leads();
        await a.Waits();
        api.Put(Leases, """{"metadata":{"name":"writers"},"spec":{"holderIdentity":"thief","leaseDurationSeconds":15}}""");
        clock.Advance(TimeSpan.FromSeconds(2));
        await a.Stopped();
        Assert.Equal("thief", (string?)api.Find($"{Leases}/writers")!["spec"]!["holderIdentity"]);
    }

    [Fact]
    public async Task A_leader_that_ends_gives_the_lease_back_so_that_the_next_begins_at_once()
    {
        await using var api = await MemoryApi.StartAsync();
        await using (var a = new Candidate(api, "a", new FakeTimeProvider())) await a.Leads();
        Assert.Equal("", (string?)api.Find($"{Leases}/writers")!["spec"]!["holderIdentity"]);
        await using var b = new Candidate(api, "b", new FakeTimeProvider());
        await b.Leads();
    }

    [Fact]
    public async Task A_candidate_that_ends_while_it_takes_the_lease_gives_it_back()
    {
        await using var api = await MemoryApi.StartAsync();
        var (asked, gone) = (new TaskCompletionSource(), new TaskCompletionSource());
        api.Hold = async request =>
        {
            if (request.Method == "POST")
            {
                asked.TrySetResult();
                await gone.Task;   // it is written for a candidate that no longer waits for it
            }
            else if (gone.Task.IsCompleted) await api.Written.Reader.WaitToReadAsync(Patience.Token);
        };
        await using var a = new Candidate(api, "a", new FakeTimeProvider());
        await Patience.Within(asked.Task);
        await a.CancelAsync();
        gone.SetResult();
        await a.EndedAsync();
        Assert.Equal("", (string?)api.Find($"{Leases}/writers")!["spec"]!["holderIdentity"]);
    }

    [Fact]
    public async Task Work_that_fails_gives_the_lease_back_and_is_begun_again()
    {
        await using var api = await MemoryApi.StartAsync();
        var clock = new FakeTimeProvider();
        await using var a = new Candidate(api, "a", clock, failFirst: true);
        await a.Leads();
        var again = a.Leads();
        while (!again.IsCompleted)   // the timer seen first may still be the failed term's own
        {
            await a.Waits();
            clock.Advance(TimeSpan.FromSeconds(2));
            await Task.Yield();
        }
        await again;
    }

    [Fact]
    public void Options_that_do_not_fit_together_are_named()
    {
        var options = new LeaderElectionOptions { Namespace = "n", LeaseName = "l", Identity = "", RenewDeadline = TimeSpan.FromSeconds(20), RetryPeriod = TimeSpan.FromSeconds(30) };
        Assert.Equal(3, options.Problems().Count());
    }

    /// <summary>One candidate on its own clock; its work begins and ends as events.</summary>
    private sealed class Candidate : IAsyncDisposable
    {
        private readonly Channel<bool> _terms = Channel.CreateUnbounded<bool>();
        private readonly CancellationTokenSource _stop = new();
        private readonly KubernetesClient _client;
        private readonly FakeTimeProvider _clock;
        private readonly Task _running;
        private bool _fails;

        public Candidate(MemoryApi api, string name, FakeTimeProvider clock, bool failFirst = false)
        {
            _fails = failFirst;
            _client = api.Client(clock);
            _clock = clock;
            Election = new LeaderElection(_client, new LeaderElectionOptions { Namespace = "sys", LeaseName = "writers", Identity = name, Random = () => 0 });
            _running = Task.Run(() => Election.RunAsync(WorkAsync, _stop.Token), CancellationToken.None);
        }

        public LeaderElection Election { get; }

        public async Task Leads() => Assert.True(await _terms.Reader.ReadAsync(Patience.Token));
        public async Task Stopped() => Assert.False(await _terms.Reader.ReadAsync(Patience.Token));

        public Task CancelAsync() => _stop.CancelAsync();

        public Task EndedAsync() => Patience.Within(_running.ContinueWith(_ => { }, TaskScheduler.Default));

        /// <summary>Nothing is under way but the wait until the next attempt.</summary>
        public Task Waits() => _clock.TimersAsync(due => due is [var wait] && wait <= TimeSpan.FromSeconds(2), Patience.Token);

        private async Task WorkAsync(CancellationToken cancellationToken)
        {
            _terms.Writer.TryWrite(true);
            if (_fails)
            {
                _fails = false;
                throw new InvalidOperationException("made to fail");
            }
            try
            {
                await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, cancellationToken);
            }
            finally
            {
                _terms.Writer.TryWrite(false);
            }
        }

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            await EndedAsync();
            _client.Dispose();
            _stop.Dispose();
        }
    }
}
