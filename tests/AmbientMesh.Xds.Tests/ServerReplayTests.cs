using AmbientMesh.Protocol.Discovery;

namespace AmbientMesh.Xds.Tests;

/// <summary>Our server is fed what the real ztunnel sent, its tables holding what the recorded control plane served at that moment.</summary>
public sealed class ServerReplayTests
{
    /// <summary>The recorded stand-in sent these to see what happens; no server of ours ever would.</summary>
    private static readonly string[] NeverSent = ["other-push-unknown-type-url", "push-removal-unknown-name"];

    [Fact]
    [Scenario("L4-130", "L4-133", "L4-135")]
    public void The_recorded_wildcard_session_is_satisfied()
    {
        var world = new ReplayedServer();
        var steps = Recording.Read("wildcard").Where(step => !NeverSent.Any(step.File.Contains)).ToList();
        for (var i = 0; i < steps.Count; i++)
        {
            // What answers a first request was in the world before it came.
            if (steps[i].FromClient is { Node: not null } first) world.Apply(steps.Skip(i).First(s => s.FromServer?.TypeUrl == first.TypeUrl).FromServer!);
            world.Play(steps[i]);
        }
        Assert.Equal(steps.Count(s => s.FromServer is not null), world.Answers);
        Assert.Equal(["Kubernetes//Pod/default/bad3", "Kubernetes//Pod/default/badenum", "a", "b", "c", "default/badact"], world.Rejected.Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("on-demand")]
    [InlineData("on-demand-reply-styles")]
    [Scenario("L4-136")]
    public void The_recorded_on_demand_sessions_are_satisfied(string folder)
    {
        var world = new ReplayedServer();
        var steps = Recording.Read(folder);
        // The lookups come to a world that is already there.
        foreach (var recorded in steps.SelectMany(s => s.FromServer?.Resources.ToArray() ?? [])) world.Put(recorded);
        foreach (var step in steps) world.Play(step);
        Assert.Equal(steps.Count(s => s.FromServer is not null), world.Answers);
    }

    private sealed class ReplayedServer
    {
        private readonly ResourceTable _authorization = new(TypeUrls.Authorization);
        private readonly ResourceTable _address = new(TypeUrls.Address);
        private readonly Dictionary<string, string> _nonces = [];
        private readonly Dictionary<string, List<DeltaDiscoveryResponse>> _waiting = [];
        private DeltaSession? _session;
        private bool _isOnDemand;
        private string[] _heldByClient = [];
        private string? _lastAsked;

        public int Answers { get; private set; }
        public List<string> Rejected { get; } = [];

        /// <summary>Under its own name, also when it was recorded under the one it was asked by.</summary>
        public void Put(Resource recorded)
        {
            if (Protocol.Wds.Address.Parser.ParseFrom(recorded.Resource_.Value).Service is { } service) recorded = new Resource { Name = $"{service.Namespace}/{service.Hostname}", Resource_ = recorded.Resource_, Aliases = { service.Addresses.Select(a => $"{a.Network}/{new System.Net.IPAddress(a.Address.Span)}") } };
            _address.Update([Recording.Resource(recorded, TypeUrls.Address)]);
        }

        public void Apply(DeltaDiscoveryResponse recorded) => Table(recorded.TypeUrl)?.Update(recorded.Resources.Select(r => Recording.Resource(r, recorded.TypeUrl)), recorded.RemovedResources);

        public void Play(Recording.Step step)
        {
            if (step.FromServer is { } response) Expect(step.File, response);
            else Receive(step.File, step.FromClient!);
        }

        private void Receive(string file, DeltaDiscoveryRequest recorded)
        {
            if (recorded.Node is not null && recorded.TypeUrl == TypeUrls.Address) Begin(recorded);
            var request = recorded.Clone();
            foreach (var name in request.InitialResourceVersions.Keys.ToArray())
                if (Table(request.TypeUrl)!.Current.Resources.TryGetValue(name, out var known) && request.InitialResourceVersions[name].Length > 0) request.InitialResourceVersions[name] = known.Version;
            if (request.ResponseNonce.Length > 0)
            {
                if (!_nonces.Remove(request.ResponseNonce, out var ours)) return;   // of a push that only the stand-in made
                request.ResponseNonce = ours;
            }
            _lastAsked = request.ResourceNamesSubscribe.SingleOrDefault(name => name != TypeUrls.WildcardName) ?? _lastAsked;
            switch (_session!.Receive(request))
            {
                case RequestOutcome.Rejected rejected: Rejected.AddRange(rejected.Rejections.Select(r => r.Name)); break;
                case RequestOutcome.Stale: Assert.Fail($"{file}: taken as stale"); break;
            }
            Collect();
        }

        private void Begin(DeltaDiscoveryRequest first)
        {
            _isOnDemand = first.ResourceNamesUnsubscribe.Count > 0;
            // The bad resources were withdrawn before ztunnel came back.
            foreach (var table in new[] { _authorization, _address }) table.Update([], Rejected);
            _session = new DeltaSession([_authorization, _address], first.Node, new DeltaRequestLimits());
            _heldByClient = [.. first.InitialResourceVersions.Keys];
            _nonces.Clear();
            _waiting.Clear();
        }

        private void Expect(string file, DeltaDiscoveryResponse recorded)
        {
            if (!_isOnDemand) Apply(recorded);
            Collect();
            if (_isOnDemand) ExpectAnswer(file, recorded);
            else ExpectSame(file, recorded);
        }

        private void ExpectSame(string file, DeltaDiscoveryResponse recorded)
        {
            var ours = Next(file, recorded);
            Assert.Equal((file, Names(recorded)), (file, Names(ours)));
            Assert.Equal(recorded.RemovedResources.Order(StringComparer.Ordinal), ours.RemovedResources.Order(StringComparer.Ordinal));
            Assert.Equal(recorded.Resources.OrderBy(r => r.Name, StringComparer.Ordinal).Select(r => r.Resource_), ours.Resources.OrderBy(r => r.Name, StringComparer.Ordinal).Select(r => r.Resource_));
        }

        /// <summary>A name that was asked for comes back exactly, as a resource or as removed; nothing else satisfies ztunnel.</summary>
        private void ExpectAnswer(string file, DeltaDiscoveryResponse recorded)
        {
            var ours = Next(file, recorded);
            foreach (var name in recorded.RemovedResources.Where(name => !recorded.Resources.Any(r => r.Aliases.Contains(name)))) Assert.Contains(name, ours.RemovedResources);
            foreach (var resource in recorded.Resources.Where(r => !_heldByClient.Contains(r.Name)))   // the stand-in sent again what ztunnel had
                Assert.Contains(ours.Resources, r => r.Resource_.Equals(resource.Resource_) && (r.Name == resource.Name || resource.Aliases.Contains(r.Name) || r.Aliases.Contains(resource.Name)));
            if (_lastAsked is not null) Assert.True(ours.Resources.Any(r => r.Name == _lastAsked) ^ ours.RemovedResources.Contains(_lastAsked), $"{file}: {_lastAsked} is answered once");
            _lastAsked = null;
        }

        private DeltaDiscoveryResponse Next(string file, DeltaDiscoveryResponse recorded)
        {
            Assert.True(_waiting.TryGetValue(recorded.TypeUrl, out var waiting) && waiting.Count > 0, $"{file}: our server sends nothing");
            var ours = waiting![0];
            waiting.RemoveAt(0);
            _nonces[recorded.Nonce] = ours.Nonce;
            Answers++;
            return ours;
        }

        private void Collect()
        {
            foreach (var response in _session!.Due())
            {
                if (!_waiting.TryGetValue(response.TypeUrl, out var waiting)) _waiting[response.TypeUrl] = waiting = [];
                waiting.Add(response);
            }
        }

        private static string Names(DeltaDiscoveryResponse response) => string.Join(" ", response.Resources.Select(r => r.Name).Order(StringComparer.Ordinal));

        private ResourceTable? Table(string url) => url == TypeUrls.Address ? _address : url == TypeUrls.Authorization ? _authorization : null;
    }
}
