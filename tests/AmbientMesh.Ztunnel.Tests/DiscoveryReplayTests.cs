using AmbientMesh.Model;
using AmbientMesh.Protocol.Discovery;
using AmbientMesh.Xds;
using AmbientMesh.Ztunnel.State;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.Ztunnel.Tests;

/// <summary>The recorded discovery session, applied message by message.</summary>
public sealed class DiscoveryReplayTests
{
    private readonly MeshStore _store = new("n1");

    private IReadOnlyList<Rejection> Apply(DeltaDiscoveryResponse response)
    {
        IResourceHandler? handler = response.TypeUrl switch
        {
            TypeUrls.Address => new AddressHandler(_store),
            TypeUrls.Authorization => new AuthorizationHandler(_store, NullLogger.Instance),
            _ => null,
        };
        return handler?.Apply(response.Resources, response.RemovedResources) ?? [];
    }

    private static Resource Of(string name, IMessage body) => new() { Name = name, Resource_ = Any.Pack(body) };

    [Fact, Scenario("L4-132", "L4-134")]
    public void Every_response_is_taken_or_refused_as_recorded()
    {
        var folder = Samples.Path("samples/ztunnel/xds/wildcard");
        var applied = 0;
        var refused = 0;
        var pending = new Dictionary<string, IReadOnlyList<Rejection>>();
        foreach (var file in Directory.EnumerateFiles(folder, "*.hex").Order())
        {
            var bytes = Convert.FromHexString(File.ReadAllText(file).Trim());
            if (file.Contains("-s2c-"))
            {
                var response = DeltaDiscoveryResponse.Parser.ParseFrom(bytes);
                pending[response.Nonce] = Apply(response);
                applied++;
                continue;
            }
            var answer = DeltaDiscoveryRequest.Parser.ParseFrom(bytes);
            if (answer.ResponseNonce.Length == 0 || !pending.Remove(answer.ResponseNonce, out var rejections)) continue;
            var text = string.Join("; ", rejections.Select(r => $"{r.Name}: {r.Reason}"));
            if (answer.ErrorDetail is not { } error) Assert.Equal("", text);
            else if (error.Message.Contains("Protobuf message")) Assert.Equal(["a: decode: failed to decode Protobuf message", "b: decode: failed to decode Protobuf message"], text.Split("; ").Select(t => string.Join(':', t.Split(':').Take(3))));
            else Assert.Equal(error.Message, text);
            refused += answer.ErrorDetail is null ? 0 : 1;
        }
        Assert.True(applied > 20 && refused == 5, $"{applied} applied, {refused} refused");
    }

    [Fact, Scenario("L4-132")]
    public void A_good_resource_beside_a_bad_one_is_in_force()
    {
        Apply(DeltaDiscoveryResponse.Parser.ParseFrom(Samples.Hex("samples/ztunnel/xds/wildcard/27-s2c-address-push-bad-address-3-bytes-plus-good.hex")));
        Assert.NotNull(_store.Current.FindWorkload("Kubernetes//Pod/default/late-good"));
        Assert.Null(_store.Current.FindWorkload("Kubernetes//Pod/default/bad3"));
    }

    [Fact]
    public void A_refused_update_leaves_the_version_before_it_in_force()
    {
        var good = new Protocol.Security.Authorization { Name = "p", Namespace = "ns", Action = Protocol.Security.Action.Deny, Scope = Protocol.Security.Scope.Global };
        var bad = good.Clone();
        bad.Action = (Protocol.Security.Action)9;
        var handler = new AuthorizationHandler(_store, NullLogger.Instance);
        Assert.Empty(handler.Apply([Of("ns/p", good)], []));
        Assert.Single(handler.Apply([Of("ns/p", bad)], []));
        Assert.Equal(Model.Authorization.PolicyAction.Deny, Assert.Single(_store.Current.GlobalPolicies).Action);
    }

    [Fact]
    public void A_resource_without_a_body_or_of_no_known_kind_is_refused_alone()
    {
        var rejections = new AddressHandler(_store).Apply([new Resource { Name = "x" }, Of("y", new Protocol.Wds.Address())], ["unknown"]);
        Assert.Equal(["x", "y"], rejections.Select(r => r.Name));
    }
}
