using AmbientMesh.ControlPlane.Certificates;
using AmbientMesh.Identity;

namespace AmbientMesh.ControlPlane.Tests.Certificates;

/// <summary>A self-signed root is exchanged before its life ends: by the leader, once, and without a moment in which two nodes refuse each other.</summary>
public sealed class RootRotationTests
{
    private static readonly TimeSpan HalfDay = TimeSpan.FromHours(12);

    [Fact]
    public async Task The_root_is_exchanged_once_by_the_leader_and_every_node_is_trusted_at_every_moment()
    {
        await using var world = await RotationWorld.StartAsync();
        var (first, second) = (await world.AddReplicaAsync("istiod-1"), await world.AddReplicaAsync("istiod-2"));
        var old = first.Authority.Current.Certificate;
        var nodes = new RotatingNodes(world);
        var seen = new List<string>();
        while (world.Elapsed < TimeSpan.FromDays(110))
        {
            if (world.Elapsed > TimeSpan.FromDays(82) && world.Replicas.Contains(first))
            {
                // In the middle of it the pod goes that has led, and another comes that knows the Secret alone.
                await world.RemoveAsync(first);
                await world.AddReplicaAsync("istiod-3");
            }
            await world.AdvanceAsync(world.Elapsed < TimeSpan.FromDays(78) ? 8 * HalfDay : HalfDay);
            nodes.RenewWhatIsDue();
            nodes.AssertAllTrustEachOther();
            var roots = $"{second.Authority.Current.Roots.Roots.Count} {(second.Authority.Current.Certificate.Thumbprint == old.Thumbprint ? "old" : "new")}";
            if (seen.LastOrDefault() != roots) seen.Add(roots);
        }

        Assert.Equal(["1 old", "2 old", "2 new", "1 new"], seen);
        Assert.Equal(3, world.Writes);   // announce, switch, retire: each by one replica only
        Assert.All(world.Replicas, replica => Assert.Equal(second.Authority.Current.Certificate, replica.Authority.Current.Certificate));
        Assert.Equal(second.Authority.Current.Roots.Pem, (string?)world.Api.Find("/api/v1/namespaces/default/configmaps/istio-ca-root-cert")!["data"]!["root-cert.pem"]);
        var secret = world.Secret;
        Assert.Null(secret["data"]!["next-ca-key.pem"]);
        Assert.Equal(second.Authority.Current.CertificatePem, RotationWorld.Text(secret, "ca-cert.pem"));
        Assert.Contains(world.Log.Lines, l => l.Contains($"the self-signed root {old.SerialNumber} ends") && l.Contains("both are trusted"));
        Assert.Contains(world.Log.Lines, l => l.Contains("signs from now on") && l.Contains(old.SerialNumber));
        Assert.Contains("ambientmesh_ca_trusted_roots 1", world.Exposed());
        foreach (var step in (string[])["announce", "switch", "retire"]) Assert.Contains($"ambientmesh_ca_root_rotation_steps_total{{step=\"{step}\"}} 1", world.Exposed());
        Assert.Contains($"citadel_server_root_cert_expiry_timestamp {new DateTimeOffset(second.Authority.Current.Certificate.NotAfter.ToUniversalTime()).ToUnixTimeSeconds()}", world.Exposed());
        Assert.True(second.Authority.Current.Certificate.NotAfter > old.NotAfter.AddDays(50));
        Assert.Equal(RootStep.Announce, second.Authority.NextStep(world.Rotation)!.Value.Step);
    }

    [Fact]
    public async Task A_root_that_has_ended_already_is_exchanged_at_once()
    {
        await using var world = await RotationWorld.StartAsync();
        await world.RemoveAsync(await world.AddReplicaAsync("istiod-1"));
        world.Clock.Advance(TimeSpan.FromDays(200));
        var late = await world.AddReplicaAsync("istiod-2");
        await world.UntilAsync(() => world.Writes == 3 && late.Authority.Current.Roots.Roots.Count == 1 && world.IsQuiet);
        Assert.IsType<SvidVerdict.Accepted>(world.Verify(late.Authority.Current.IssueSvid(RotationWorld.Node(1)), late.Authority.Current.Roots));
    }

    [Fact]
    public async Task A_root_that_an_operator_added_stays_trusted_and_does_not_hold_up_the_exchange()
    {
        await using var world = await RotationWorld.StartAsync();
        await world.RemoveAsync(await world.AddReplicaAsync("istiod-1"));
        var added = CertificateAuthority.CreateSelfSigned("added.example", world.Clock);
        world.Edit(secret => secret["data"]!["root-cert.pem"] = RotationWorld.Base64(RotationWorld.Text(secret, "ca-cert.pem") + added.CertificatePem));
        var replica = await world.AddReplicaAsync("istiod-2");
        var old = replica.Authority.Current.Certificate;
        while (world.Elapsed < TimeSpan.FromDays(100)) await world.AdvanceAsync(TimeSpan.FromDays(world.Elapsed < TimeSpan.FromDays(75) ? 25 : 2));
        Assert.NotEqual(old, replica.Authority.Current.Certificate);
        Assert.Equal([replica.Authority.Current.Certificate.Thumbprint, added.Certificate.Thumbprint], replica.Authority.Current.Roots.Roots.Select(root => root.Thumbprint));
    }

    [Fact]
    public async Task A_secret_that_is_no_step_or_no_CA_changes_nothing_and_is_told()
    {
        await using var world = await RotationWorld.StartAsync();
        var replica = await world.AddReplicaAsync("istiod-1");
        var inForce = replica.Authority.Current;
        var good = world.Secret;
        var foreign = CertificateAuthority.CreateSelfSigned("cluster.local", world.Clock);
        world.Edit(secret =>
        {
            foreach (var key in (string[])["ca-cert.pem", "root-cert.pem"]) secret["data"]![key] = RotationWorld.Base64(foreign.CertificatePem);
        });
        await world.UntilAsync(() => world.Log.Lines.Any(l => l.Contains("cannot be used") && l.Contains("does not belong")));
        world.Edit(secret => secret["data"]!["ca-key.pem"] = RotationWorld.Base64(foreign.ExportPrivateKeyPem()));
        await world.UntilAsync(() => world.Log.Lines.Any(l => l.Contains("has other roots")));
        Assert.Same(inForce, replica.Authority.Current);

        // Half of a root that is to come is none: the leader says so and leaves everything as it is.
        world.Edit(secret =>
        {
            secret["data"] = good["data"]!.DeepClone();
            secret["data"]!["next-ca-cert.pem"] = RotationWorld.Base64(foreign.CertificatePem);
        });
        await world.UntilAsync(() => world.Log.Lines.Any(l => l.Contains("could not be looked after")));
        Assert.Contains("ambientmesh_ca_root_rotation_failures_total 1", world.Exposed());
        Assert.Equal(0, world.Writes);
        Assert.Same(inForce, replica.Authority.Current);
    }

    [Fact]
    public async Task A_write_that_another_came_before_is_not_done_over_it()
    {
        await using var world = await RotationWorld.StartAsync();
        var replica = await world.AddReplicaAsync("istiod-1");
        world.Api.Fault = r => r is { Method: "PUT" } && r.Path == RotationWorld.SecretPath ? 409 : 0;
        while (world.Elapsed < TimeSpan.FromDays(80)) world.Clock.Advance(HalfDay);
        await world.UntilAsync(() => world.Log.Lines.Any(l => l.Contains("could not be looked after")));
        Assert.Single(replica.Authority.Current.Roots.Roots);
        world.Api.Fault = _ => 0;
        world.Clock.Advance(world.Rotation.CheckInterval);
        await world.UntilAsync(() => replica.Authority.Current.Roots.Roots.Count == 2);
    }

    [Theory]
    [InlineData(100, 90, 20, 80)]     // announced with a fifth of its life left
    [InlineData(100, 90, 50, 50)]
    public void A_root_is_announced_by_the_share_of_its_life(int life, int longest, int percent, int expectedDay)
    {
        var root = RotationWorld.Root(0, life);
        Assert.Equal((RootStep.Announce, RotationWorld.Day(expectedDay)), Next(new RootState(root, null, [root], null, null), longest, percent));
    }

    [Theory]
    [InlineData(3650, 2920, 90, 3010)]   // the longest life of a certificate
    [InlineData(100, 70, 90, 80)]        // or a third of what is left
    [InlineData(100, 100, 90, 100)]
    [InlineData(100, 130, 90, 130)]      // nothing is left: at once
    public void The_next_root_signs_when_everybody_knows_it(int life, int announced, int longest, int expectedDay)
    {
        var (root, next) = (RotationWorld.Root(0, life), RotationWorld.Root(announced, announced + life));
        Assert.Equal((RootStep.Switch, RotationWorld.Day(expectedDay)), Next(new RootState(root, next, [root, next], null, null), longest));
    }

    [Theory]
    [InlineData(100, 85, 10, 95)]
    [InlineData(100, 95, 10, 100)]      // its own end
    [InlineData(100, null, 10, 100)]    // nobody knows since when
    public void The_old_root_goes_when_nothing_rests_on_it(int end, int? since, int longest, int expectedDay)
    {
        var (old, root) = (RotationWorld.Root(0, end), RotationWorld.Root(80, 380));
        DateTimeOffset? signsSince = since is { } day ? RotationWorld.Day(day) : null;
        var state = new RootState(root, null, [root, old], old.Thumbprint, signsSince);
        Assert.Equal((RootStep.Retire, RotationWorld.Day(expectedDay)), Next(state, longest));
        Assert.Equal([old], new RootSchedule(TimeSpan.FromDays(longest), 20).Useless(state, RotationWorld.Day(expectedDay)));
        Assert.Empty(new RootSchedule(TimeSpan.FromDays(longest), 20).Useless(state, RotationWorld.Day(expectedDay).AddSeconds(-1)));
    }

    [Fact]
    public void An_intermediate_is_never_exchanged_here()
    {
        var (root, intermediate) = (RotationWorld.Root(0, 100), RotationWorld.Root(0, 10));
        Assert.Equal(RootStep.None, Next(new RootState(intermediate, null, [root], null, null), 90).Step);
    }

    private static (RootStep Step, DateTimeOffset At) Next(RootState state, int longest, int percent = 20) => new RootSchedule(TimeSpan.FromDays(longest), percent).Next(state);

    /// <summary>Nodes that know of a root only by their certificates, which live as long as the CA allows and are renewed at half of it, by any replica.</summary>
    private sealed class RotatingNodes
    {
        private readonly RotationWorld _world;
        private readonly Svid[] _held;

        public RotatingNodes(RotationWorld world)
        {
            _world = world;
            _held = [.. Enumerable.Range(0, 4).Select(Fetch)];
        }

        public void RenewWhatIsDue()
        {
            for (var i = 0; i < _held.Length; i++)
                if (_world.Clock.GetUtcNow() >= _held[i].RenewAt) _held[i] = Fetch(i);
        }

        public void AssertAllTrustEachOther()
        {
            foreach (var (one, other) in _held.SelectMany(one => _held.Select(other => (one, other))))
                Assert.True(_world.Verify(one, other.Roots) is SvidVerdict.Accepted, $"{one.Id} is refused by {other.Id} after {_world.Elapsed}: {_world.Verify(one, other.Roots)}");
        }

        // Lives differ, so that renewals do not fall on one day; half of each is longer than what the clock is moved on by.
        private Svid Fetch(int i) => _world.Replicas[i % _world.Replicas.Count].Authority.Current.IssueSvid(RotationWorld.Node(i), TimeSpan.FromDays(10 - (i / 3.0)));
    }
}
