using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Identity;
using AmbientMesh.Model;
using AmbientMesh.Ztunnel.Certificates;
using AmbientMesh.Ztunnel.Configuration;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.Ztunnel.Tests;

public sealed class SvidStoreTests : IAsyncDisposable
{
    private readonly FakeTimeProvider _clock = new();
    private readonly CertificateAuthority _ca;
    private readonly SvidStore _store;
    private readonly Lock _gate = new();
    private readonly List<SpiffeId> _asked = [];
    private readonly SemaphoreSlim _answered = new(0);
    private TaskCompletionSource _mayAnswer = new();
    private bool _refuses;

    public SvidStoreTests()
    {
        _ca = CertificateAuthority.CreateSelfSigned("cluster.local", _clock);
        _mayAnswer.SetResult();
        _store = new SvidStore(FetchAsync, _clock, NullLogger.Instance, new Random(1));
    }

    private static SpiffeId Id(string name) => new("cluster.local", "default", name);

    private async Task<Svid> FetchAsync(SpiffeId id, CancellationToken cancellationToken)
    {
        Task mayAnswer;
        lock (_gate)
        {
            _asked.Add(id);
            mayAnswer = _mayAnswer.Task;   // of the moment in which it is counted
        }
        try
        {
            await mayAnswer.WaitAsync(cancellationToken);
            return _refuses ? throw new SvidUnavailableException("refused") : _ca.IssueSvid(id, TimeSpan.FromHours(24));
        }
        finally
        {
            _answered.Release();
        }
    }

    private int Asked { get { lock (_gate) return _asked.Count; } }

    private async Task AnsweredAsync(int count)
    {
        for (var i = 0; i < count; i++) await _answered.WaitAsync(Patience.Token);
    }

    private Task AlarmSetAsync() => _clock.TimersArmedAsync(1, Patience.Token);

    public async ValueTask DisposeAsync()
    {
        await _store.DisposeAsync();
        _answered.Dispose();
    }

    [Fact, Scenario("L4-145")]
    public async Task A_thousand_askers_are_one_request()
    {
        _mayAnswer = new();
        var asking = Enumerable.Range(0, 1000).Select(_ => _store.GetAsync(Id("a"), Patience.Token).AsTask()).ToArray();
        _mayAnswer.SetResult();
        var all = await Patience.Within(Task.WhenAll(asking));
        Assert.All(all, credentials => Assert.Same(all[0], credentials));
        Assert.Equal(1, Asked);
    }

    [Fact]
    public async Task A_certificate_is_renewed_at_half_its_lifetime()
    {
        var first = await _store.GetAsync(Id("a"), Patience.Token);
        await AnsweredAsync(1);
        await AlarmSetAsync();
        _clock.Advance(TimeSpan.FromHours(11));
        Assert.Equal(1, Asked);
        _clock.Advance(TimeSpan.FromHours(1));
        await AnsweredAsync(1);
        await AlarmSetAsync();
        Assert.NotSame(first, await _store.GetAsync(Id("a"), Patience.Token));
        Assert.Equal(2, Asked);
    }

    [Fact]
    public async Task When_the_roots_change_every_certificate_is_renewed_within_seconds_and_serves_until_then()
    {
        var first = await _store.GetAsync(Id("a"), Patience.Token);
        await _store.GetAsync(Id("b"), Patience.Token);
        await AnsweredAsync(2);
        await AlarmSetAsync();
        _store.RenewAll();
        Assert.Same(first, await _store.GetAsync(Id("a"), Patience.Token));
        await AlarmSetAsync();
        _clock.Advance(SvidSchedule.RenewalSpread);
        await AnsweredAsync(2);
        await Patience.Until(async () => await _store.GetAsync(Id("a"), Patience.Token) != first);   // the answer is given before it is kept
        Assert.Equal(4, Asked);
    }

    [Fact]
    public async Task A_change_of_roots_puts_off_nothing_that_is_waited_for_or_due_sooner()
    {
        _mayAnswer = new();
        for (var i = 0; i < 8; i++) _store.Warm(Id($"w{i}"));
        await Patience.Until(() => Asked >= 8);
        var waiting = _store.GetAsync(Id("urgent"), Patience.Token).AsTask();   // all places are taken: it is next
        _store.RenewAll();
        _mayAnswer.SetResult();
        Assert.NotNull(await Patience.Within(waiting));
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(1)]
    public async Task A_clock_an_hour_off_is_told_once_measured_and_over_when_it_is_right(int hours)
    {
        var away = new FakeTimeProvider(_clock.GetUtcNow() + TimeSpan.FromHours(hours));
        var ca = CertificateAuthority.CreateSelfSigned("cluster.local", away);
        var log = new SkewLog();
        await using var store = new SvidStore((id, _) => Task.FromResult(ca.IssueSvid(id, TimeSpan.FromHours(24))), _clock, log);
        await store.GetAsync(Id("a"), Patience.Token);
        await store.GetAsync(Id("b"), Patience.Token);
        Assert.Equal(hours, store.ClockSkew.TotalHours, 2);
        Assert.Single(log.Errors);
        Assert.Contains("NTP", log.Errors[0]);
        away.Advance(TimeSpan.FromHours(1));
        if (hours < 0) await store.GetAsync(Id("c"), Patience.Token);
        else
        {
            _clock.Advance(TimeSpan.FromHours(2));
            await store.GetAsync(Id("c"), Patience.Token);
        }
        Assert.Equal(0, store.ClockSkew.TotalHours, 2);
        Assert.Single(log.Errors);
    }

    [Fact]
    public async Task Certificates_that_come_past_half_of_their_life_are_asked_for_ever_more_seldom()
    {
        var past = new FakeTimeProvider(_clock.GetUtcNow() - TimeSpan.FromHours(13));
        var ca = CertificateAuthority.CreateSelfSigned("cluster.local", past);
        var asked = new SemaphoreSlim(0);
        var count = 0;
        await using var store = new SvidStore((id, _) =>
        {
            Interlocked.Increment(ref count);
            asked.Release();
            return Task.FromResult(ca.IssueSvid(id, TimeSpan.FromHours(24)));
        }, _clock, NullLogger.Instance);
        Assert.NotNull(await store.GetAsync(Id("a"), Patience.Token));
        await asked.WaitAsync(Patience.Token);
        foreach (var wait in (double[])[1, 2, 4, 8])
        {
            await AlarmSetAsync();
            var before = Volatile.Read(ref count);
            _clock.Advance(TimeSpan.FromSeconds(wait * 0.9));
            Assert.Equal(before, Volatile.Read(ref count));
            _clock.Advance(TimeSpan.FromSeconds(wait * 0.2));
            await asked.WaitAsync(Patience.Token);
        }
    }

    private sealed class SkewLog : Microsoft.Extensions.Logging.ILogger
    {
        public List<string> Errors { get; } = [];
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;
        public bool IsEnabled(Microsoft.Extensions.Logging.LogLevel logLevel) => true;

        public void Log<TState>(Microsoft.Extensions.Logging.LogLevel logLevel, Microsoft.Extensions.Logging.EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (logLevel == Microsoft.Extensions.Logging.LogLevel.Error) Errors.Add(formatter(state, exception));
        }
    }

    [Fact, Scenario("L4-143")]
    public async Task A_refusal_is_told_at_once_and_other_identities_are_served()
    {
        _refuses = true;
        Assert.Equal("refused", (await Assert.ThrowsAsync<SvidUnavailableException>(() => _store.GetAsync(Id("a"), Patience.Token).AsTask())).Message);
        _mayAnswer = new();   // nothing is waited for any more: the next answer never comes
        await Assert.ThrowsAsync<SvidUnavailableException>(() => _store.GetAsync(Id("a"), Patience.Token).AsTask());
        _refuses = false;
        _mayAnswer.SetResult();
        Assert.NotNull(await _store.GetAsync(Id("b"), Patience.Token));
        Assert.Equal(("Unavailable", "Available"), (_store.States[0].Current is null ? "Unavailable" : "", _store.States[1].Current is null ? "" : "Available"));
    }

    [Fact, Scenario("L4-143")]
    public async Task After_a_refusal_it_is_tried_again_and_then_served()
    {
        _refuses = true;
        await Assert.ThrowsAsync<SvidUnavailableException>(() => _store.GetAsync(Id("a"), Patience.Token).AsTask());
        await AnsweredAsync(1);
        _refuses = false;
        await AlarmSetAsync();
        _clock.Advance(TimeSpan.FromMilliseconds(700));
        Assert.Equal(1, Asked);
        _clock.Advance(TimeSpan.FromMilliseconds(600));
        await AnsweredAsync(1);
        await AlarmSetAsync();
        Assert.NotNull(await _store.GetAsync(Id("a"), Patience.Token));
    }

    [Fact, Scenario("L4-144")]
    public async Task While_the_ca_is_away_the_old_certificate_serves_until_it_expires_and_not_longer()
    {
        var first = await _store.GetAsync(Id("a"), Patience.Token);
        await AnsweredAsync(1);
        _refuses = true;
        await AlarmSetAsync();
        _clock.Advance(TimeSpan.FromHours(12));
        await AnsweredAsync(1);
        Assert.Same(first, await _store.GetAsync(Id("a"), Patience.Token));
        for (var i = 0; i < 3; i++)
        {
            await AlarmSetAsync();
            _clock.Advance(TimeSpan.FromSeconds(1));
        }
        _clock.Advance(TimeSpan.FromHours(13));
        await Assert.ThrowsAsync<SvidUnavailableException>(() => _store.GetAsync(Id("a"), Patience.Token).AsTask());
        Assert.Null(Assert.Single(_store.States).Current);
    }

    [Fact]
    public async Task At_most_eight_are_asked_for_at_once_and_the_urgent_go_first()
    {
        _mayAnswer = new();
        for (var i = 0; i < 20; i++) _store.Warm(Id($"w{i:00}"));
        var urgent = _store.GetAsync(Id("urgent"), Patience.Token).AsTask();
        var promoted = _store.GetAsync(Id("w19"), Patience.Token).AsTask();
        await Patience.Until(() => Asked >= 8);
        Assert.Equal(8, Asked);
        var first = _mayAnswer;
        lock (_gate) _mayAnswer = new();   // the next eight wait, so that they are all seen
        first.SetResult();
        await Patience.Until(() => Asked >= 16);
        lock (_gate) Assert.Subset(new HashSet<SpiffeId>(_asked.Skip(8)), new HashSet<SpiffeId> { Id("urgent"), Id("w19") });
        _mayAnswer.SetResult();
        await Patience.Within(Task.WhenAll(urgent, promoted));
        await AnsweredAsync(21);
    }

    [Fact, Scenario("L4-146")]
    public async Task Pods_of_the_node_are_fetched_ahead_and_forgotten_with_the_last()
    {
        var mesh = new AmbientMesh.Model.Tests.MeshBuilder("n1");
        using var stop = new CancellationTokenSource();
        var following = SvidPrefetch.RunAsync(mesh.Store, _store, stop.Token);
        mesh.Pod("a", "10.0.0.1", with: w => w.ServiceAccount = "x").Pod("b", "10.0.0.2", with: w => w.ServiceAccount = "x").Pod("far", "10.0.0.3", with: w => w.Node = "n2");
        await AnsweredAsync(1);
        Assert.Equal([Id("x")], _store.States.Select(s => s.Identity));
        mesh.Store.Edit(edit => edit.RemoveAddress("Kubernetes//Pod/default/a"));
        mesh.Store.Edit(edit => edit.RemoveAddress("Kubernetes//Pod/default/b"));
        await Patience.Until(() => _store.States.Count == 0);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => following);
    }

    [Fact, Scenario("L4-148")]
    public async Task Peers_of_either_root_of_the_bundle_are_accepted()
    {
        var other = CertificateAuthority.CreateSelfSigned("cluster.local", _clock);
        using var key = CsrBuilder.NewKey();
        var issued = Assert.IsType<IssuanceOutcome.Issued>(_ca.Issue(CsrBuilder.Build(Id("a"), key), Id("a"), TimeSpan.FromHours(1)));
        var svid = Svid.FromCertificateChain([issued.CertificateChain[0], _ca.Roots.Pem + other.Roots.Pem], key, Id("a"));
        await using var store = new SvidStore((_, _) => Task.FromResult(svid), _clock, NullLogger.Instance);
        var verifier = (await store.GetAsync(Id("a"), Patience.Token)).Verifier;
        foreach (var ca in (CertificateAuthority[])[_ca, other])
            Assert.IsType<SvidVerdict.Accepted>(verifier.Verify(ca.IssueSvid(Id("peer")).Leaf, [], new PeerExpectation.OneOf([Id("peer")])));
    }

    [Fact, Scenario("L4-149")]
    public async Task A_revoked_peer_is_refused_by_the_credentials_given_out_after_the_list_came()
    {
        var peer = _ca.IssueSvid(Id("peer"));
        var before = await _store.GetAsync(Id("a"), Patience.Token);
        Assert.IsType<SvidVerdict.Accepted>(before.Verifier.Verify(peer.Leaf, [.. peer.Intermediates], new PeerExpectation.OneOf([Id("peer")])));
        _store.Revoke(RevocationList.Parse(System.Text.Encoding.ASCII.GetBytes(Crl(peer))));
        var after = await _store.GetAsync(Id("a"), Patience.Token);
        Assert.True(Assert.IsType<SvidVerdict.Rejected>(after.Verifier.Verify(peer.Leaf, [.. peer.Intermediates], new PeerExpectation.OneOf([Id("peer")]))).IsRevoked);
        Assert.IsType<SvidVerdict.Accepted>(after.Verifier.Verify(_ca.IssueSvid(Id("peer")).Leaf, [], new PeerExpectation.OneOf([Id("peer")])));
    }

    [Fact, Scenario("L4-149")]
    public async Task A_certificate_of_our_own_that_is_revoked_is_replaced_at_once_and_again_while_the_ca_gives_revoked_ones()
    {
        var revoked = _ca.IssueSvid(Id("a"));
        var other = _ca.IssueSvid(Id("b"));
        var (given, asked) = (revoked, new List<string>());
        await using var store = new SvidStore((id, _) =>
        {
            lock (asked) asked.Add(id.ServiceAccount);
            return Task.FromResult(id == Id("a") ? given : other);
        }, _clock, NullLogger.Instance);
        int AskedForA() { lock (asked) return asked.Count(a => a == "a"); }
        await store.GetAsync(Id("a"), Patience.Token);
        await store.GetAsync(Id("b"), Patience.Token);

        store.Revoke(RevocationList.Parse(System.Text.Encoding.ASCII.GetBytes(Crl(revoked))));
        await UntilAsync(() => AskedForA() == 2);
        given = _ca.IssueSvid(Id("a"));
        await UntilAsync(() =>
        {
            _clock.Advance(TimeSpan.FromMilliseconds(100));
            return AskedForA() >= 3;
        });
        await UntilAsync(() => store.States.Single(s => s.Identity == Id("a")).Current == given);
        _clock.Advance(TimeSpan.FromHours(1));
        Assert.Same(await store.GetAsync(Id("b"), Patience.Token), await store.GetAsync(Id("b"), Patience.Token));
        Assert.Equal(3, AskedForA());   // good again: nothing is due before half of its life
        Assert.Equal(["b"], asked.Where(a => a != "a"));   // and the other was never touched
    }

    private static async Task UntilAsync(Func<bool> holds)
    {
        var patience = Patience.Token;
        using var between = new PeriodicTimer(TimeSpan.FromMilliseconds(10));
        while (!holds()) await between.WaitForNextTickAsync(patience);
    }

    [Theory, Scenario("T-17")]
    [InlineData("false", false)]
    [InlineData("true", true)]
    public async Task A_peer_with_two_uri_names_is_let_in_only_where_that_is_asked_for(string setting, bool isLetIn)
    {
        var settings = SettingsReader.Read(new Dictionary<string, string> { ["NODE_NAME"] = "n1", ["ALLOW_SEVERAL_URI_SANS"] = setting }, _ => true, out var problems);
        Assert.Empty(problems);
        using var ca = RSA.Create();
        ca.ImportFromPem(_ca.ExportPrivateKeyPem());
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var names = new SubjectAlternativeNameBuilder();
        foreach (var name in (Uri[])[new("spiffe://cluster.local/ns/default/sa/peer"), new("https://example.com")]) names.AddUri(name);
        var request = new CertificateRequest("", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(names.Build(critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, critical: true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new("1.3.6.1.5.5.7.3.1"), new("1.3.6.1.5.5.7.3.2")], critical: false));
        using var leaf = request.Create(_ca.Certificate.SubjectName, X509SignatureGenerator.CreateForRSA(ca, RSASignaturePadding.Pkcs1), _clock.GetUtcNow(), _clock.GetUtcNow().AddHours(1), [1, 2, 3]);
        await using var store = new SvidStore((id, _) => Task.FromResult(_ca.IssueSvid(id, TimeSpan.FromHours(24))), _clock, NullLogger.Instance, rules: settings.SvidRules);

        var verdict = (await store.GetAsync(Id("a"), Patience.Token)).Verifier.Verify(leaf, [], new PeerExpectation.OneOf([Id("peer")]));
        Assert.Equal(isLetIn, verdict is SvidVerdict.Accepted);
    }

    private string Crl(Svid revoked)
    {
        using var key = RSA.Create();
        key.ImportFromPem(_ca.ExportPrivateKeyPem());
        var list = new CertificateRevocationListBuilder();
        list.AddEntry(revoked.Leaf, _clock.GetUtcNow());
        return PemEncoding.WriteString("X509 CRL", list.Build(_ca.Certificate.CopyWithPrivateKey(key), 1, _clock.GetUtcNow().AddDays(1),
            HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1, _clock.GetUtcNow().AddMinutes(-1)));
    }

    [Theory]
    [InlineData(1, 0.8, 1.2)]
    [InlineData(2, 1.6, 2.4)]
    [InlineData(5, 12.8, 19.2)]
    [InlineData(30, 120, 150)]
    public void The_wait_doubles_with_a_fifth_of_jitter_up_to_150_seconds(int failures, double least, double most)
    {
        Assert.Equal(least, SvidSchedule.RetryAfter(failures, 0).TotalSeconds, 3);
        Assert.Equal(most, SvidSchedule.RetryAfter(failures, 1).TotalSeconds, 3);
    }
}
