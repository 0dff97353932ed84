using System.Collections.Concurrent;
using AmbientMesh.Hbone;
using AmbientMesh.Identity;
using AmbientMesh.Model;
using AmbientMesh.Ztunnel.Certificates;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Tests;

/// <summary>The certificate store at its limit: what is in use stays, what finds no room is told why, and gets its certificate when there is room.</summary>
public sealed class FullSvidStoreTests
{
    private readonly FakeTimeProvider _clock = new();
    private readonly CertificateAuthority _ca;
    private readonly LevelLog _log = new();
    private readonly ConcurrentQueue<SpiffeId> _asked = [];
    private int _underWay;
    private int _most;

    public FullSvidStoreTests() => _ca = CertificateAuthority.CreateSelfSigned("cluster.local", _clock);

    [Fact]
    [Scenario("T-40")]
    public async Task A_store_full_of_identities_that_are_all_asked_for_at_once_serves_them_all_and_refuses_the_next_with_a_reason()
    {
        const int Capacity = 300;
        await using var store = Store(Capacity);
        var ids = Enumerable.Range(0, Capacity).Select(i => Id($"pod-{i}")).ToList();
        foreach (var id in ids) store.Warm(id);
        var held = await Patience.Within(Task.WhenAll(ids.Select(id => store.GetAsync(id, Patience.Token).AsTask())));
        Assert.Equal(ids, held.Select(credentials => credentials.Identity));
        Assert.Equal(Capacity, _asked.Count);
        Assert.InRange(_most, 1, 8);

        _clock.Advance(TimeSpan.FromHours(1));   // nobody asked for any of them lately; the pods are there all the same
        var (asked, warmed) = (Id("one-too-many"), Id("pod-too-many"));
        var refusal = await Assert.ThrowsAsync<SvidUnavailableException>(() => store.GetAsync(asked, Patience.Token).AsTask());
        Assert.Equal($"the certificate store is full: {Capacity} identities are in use on this node, and there is no room for {asked}", refusal.Message);
        store.Warm(warmed);
        Assert.Equal((Capacity, 2L), (store.Count, store.Refused));
        Assert.Single(_log.Of(LogLevel.Error));   // told once, not per connection
        for (var i = 0; i < Capacity; i++) Assert.Same(held[i], await store.GetAsync(ids[i], Patience.Token));

        // A pod goes: the one that waits for room is fetched unasked, and there is none for the other still.
        store.Forget(ids[0]);
        Assert.Equal(warmed, (await store.GetAsync(warmed, Patience.Token)).Identity);
        await Assert.ThrowsAsync<SvidUnavailableException>(() => store.GetAsync(asked, Patience.Token).AsTask());
        store.Forget(ids[1]);
        Assert.Equal(asked, (await store.GetAsync(asked, Patience.Token)).Identity);
        Assert.NotEmpty(_log.Of(LogLevel.Information));
        Assert.Equal(Capacity, store.Count);
    }

    [Fact]
    public async Task The_longest_unused_makes_room_and_what_was_asked_for_lately_does_not()
    {
        await using var store = Store(3);
        var a = await AskAsync(store, "a");
        _clock.Advance(TimeSpan.FromSeconds(1));
        await AskAsync(store, "b");
        _clock.Advance(TimeSpan.FromSeconds(1));
        store.Warm(Id("c"));
        await AskAsync(store, "c");
        _clock.Advance(SvidStore.InUse - TimeSpan.FromSeconds(2));
        await AskAsync(store, "a");
        await Assert.ThrowsAsync<SvidUnavailableException>(() => AskAsync(store, "d"));   // b is in use for another second
        _clock.Advance(TimeSpan.FromSeconds(1));
        await AskAsync(store, "d");
        Assert.Equal(["a", "c", "d"], store.States.Select(s => s.Identity.ServiceAccount));
        Assert.Same(a, await AskAsync(store, "a"));
        _clock.Advance(TimeSpan.FromHours(1));
        await AskAsync(store, "e");
        await AskAsync(store, "f");
        Assert.Equal(["c", "e", "f"], store.States.Select(s => s.Identity.ServiceAccount));   // c is a pod's
    }

    [Fact]
    public async Task Who_waits_for_a_certificate_is_not_given_up()
    {
        var answer = new TaskCompletionSource();
        await using var store = new SvidStore(async (id, token) =>
        {
            await answer.Task.WaitAsync(token);
            return _ca.IssueSvid(id, TimeSpan.FromHours(24));
        }, _clock, _log, capacity: 1);
        var waiting = AskAsync(store, "slow");
        _clock.Advance(TimeSpan.FromHours(1));
        await Assert.ThrowsAsync<SvidUnavailableException>(() => AskAsync(store, "other"));
        answer.SetResult();
        Assert.Equal(Id("slow"), (await Patience.Within(waiting)).Identity);
        _clock.Advance(TimeSpan.FromHours(1));
        Assert.Equal(Id("other"), (await AskAsync(store, "other")).Identity);
    }

    [Fact]
    public async Task What_no_pod_has_and_nobody_asks_for_is_not_renewed_for_ever()
    {
        await using var store = Store(10);
        await AskAsync(store, "gone");
        store.Warm(Id("here"));
        await AskAsync(store, "here");
        while (store.Count > 1)
        {
            await _clock.TimersArmedAsync(1, Patience.Token);
            _clock.Advance(TimeSpan.FromHours(1));
        }
        Assert.Equal(Id("here"), Assert.Single(store.States).Identity);
        Assert.InRange(_asked.Count(id => id == Id("gone")), 2, 10);   // the clock may run on while a request is under way
        Assert.True(_clock.GetUtcNow() - new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero) >= SvidStore.ForgetAfter);
    }

    private static SpiffeId Id(string name) => new("cluster.local", "default", name);

    private static Task<TlsCredentials> AskAsync(SvidStore store, string name) => store.GetAsync(Id(name), Patience.Token).AsTask();

    private SvidStore Store(int capacity) => new((id, _) =>
    {
        _asked.Enqueue(id);
        var now = Interlocked.Increment(ref _underWay);
        for (var most = Volatile.Read(ref _most); now > most; most = Volatile.Read(ref _most)) Interlocked.CompareExchange(ref _most, now, most);
        var svid = _ca.IssueSvid(id, TimeSpan.FromHours(24));
        Interlocked.Decrement(ref _underWay);
        return Task.FromResult(svid);
    }, _clock, _log, new Random(1), capacity: capacity);

    private sealed class LevelLog : ILogger
    {
        private readonly ConcurrentQueue<(LogLevel Level, string Text)> _lines = [];

        public IReadOnlyList<string> Of(LogLevel level) => [.. _lines.Where(l => l.Level == level).Select(l => l.Text)];
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;
        public bool IsEnabled(LogLevel logLevel) => true;
        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => _lines.Enqueue((logLevel, formatter(state, exception)));
    }
}
