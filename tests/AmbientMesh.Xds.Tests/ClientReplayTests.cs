using AmbientMesh.Protocol.Discovery;
using Google.Protobuf;

namespace AmbientMesh.Xds.Tests;

/// <summary>Our client is fed what the recorded control plane sent; its requests must be those of the real ztunnel.</summary>
public sealed class ClientReplayTests
{
    [Fact]
    [Scenario("L4-130", "L4-132", "L4-133")]
    public void The_wildcard_session_is_answered_as_ztunnel_did()
    {
        var steps = Recording.Read("wildcard");
        var client = new ReplayedClient(steps, onDemand: false);
        foreach (var step in steps) client.Play(step);
        Assert.Equal(34, client.Compared);
    }

    [Fact]
    [Scenario("L4-136")]
    public void The_on_demand_session_is_answered_as_ztunnel_did()
    {
        var steps = Recording.Read("on-demand");
        var client = new ReplayedClient(steps, onDemand: true);
        foreach (var step in steps) client.Play(step);
        Assert.Equal(22, client.Compared);
    }

    private sealed class ReplayedClient(List<Recording.Step> steps, bool onDemand)
    {
        private readonly Dictionary<string, ClientTypeState> _types = new()
        {
            [TypeUrls.Address] = new ClientTypeState(new RefusingHandler(TypeUrls.Address, steps), onDemand),
            [TypeUrls.Authorization] = new ClientTypeState(new RefusingHandler(TypeUrls.Authorization, steps), onDemand: false),
        };
        private readonly List<DeltaDiscoveryRequest> _answers = [];

        public int Compared { get; private set; }

        public void Play(Recording.Step step)
        {
            if (step.FromServer is { } response)
            {
                _answers.Add(_types.TryGetValue(response.TypeUrl, out var type) ? type.Apply(response, out _) : ClientTypeState.Acknowledge(response));
                return;
            }
            Compare(step, Ours(step.FromClient!));
        }

        private DeltaDiscoveryRequest? Ours(DeltaDiscoveryRequest recorded)
        {
            if (recorded.Node is not null) return _types[recorded.TypeUrl].First(recorded.Node);
            if (recorded.ResponseNonce.Length > 0) return _answers.Single(answer => answer.ResponseNonce == recorded.ResponseNonce);
            return _types[recorded.TypeUrl].Demand(recorded.ResourceNamesSubscribe.Single()).Request;
        }

        private void Compare(Recording.Step step, DeltaDiscoveryRequest? ours)
        {
            if (ours is null)
            {
                // ztunnel asks again for a name it is still waiting for; ours asks once and both wait for the same answer.
                Assert.Single(step.FromClient!.ResourceNamesSubscribe);
            }
            else if (step.FromClient!.Node is null) Assert.Equal(Convert.ToHexString(step.Bytes), Convert.ToHexString(ours.ToByteArray()));
            else Assert.Equal(WithoutSatisfied(step.FromClient), ours);   // maps have no order on the wire
            Compared++;
        }

        /// <summary>An answer by alias leaves ztunnel waiting for ever; ours takes it, so it does not ask again.</summary>
        private DeltaDiscoveryRequest WithoutSatisfied(DeltaDiscoveryRequest recorded)
        {
            var wanted = recorded.Clone();
            foreach (var alias in steps.SelectMany(s => s.FromServer?.Resources.SelectMany(r => r.Aliases) ?? []))
                if (wanted.InitialResourceVersions.TryGetValue(alias, out var version) && version.Length == 0) wanted.InitialResourceVersions.Remove(alias);
            return wanted;
        }
    }

    /// <summary>Accepts everything but the resources ztunnel refused, with its words; which those are is the decoder's business, tested there.</summary>
    private sealed class RefusingHandler(string typeUrl, List<Recording.Step> steps) : IResourceHandler
    {
        private readonly string[] _texts = [.. steps.Select(s => s.FromClient?.ErrorDetail?.Message).OfType<string>()];

        public string TypeUrl => typeUrl;

        public IReadOnlyList<Rejection> Apply(IReadOnlyList<Resource> updates, IReadOnlyList<string> removals) =>
            [.. updates.SelectMany(update => _texts.SelectMany(text => text.Split("; ")).Where(entry => entry.StartsWith($"{update.Name}: ", StringComparison.Ordinal)).Take(1).Select(entry => new Rejection(update.Name, entry[(update.Name.Length + 2)..])))];
    }
}
