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

    [Theory, Scenario("L4-108")]
    [InlineData(Protocol.Security.Scope.Global, "ns", "other")]
    [InlineData(Protocol.Security.Scope.Namespace, "ns", "")]
    [InlineData(Protocol.Security.Scope.WorkloadSelector, "", "ns other")]
    [InlineData(null, "ns", "other")]   // nothing of it can be read: its namespace, and who lists it
    public void A_policy_that_never_could_be_read_denies_what_it_may_cover(Protocol.Security.Scope? scope, string denied, string allowed)
    {
        var bad = new Protocol.Security.Authorization { Name = "p", Namespace = "ns", Action = (Protocol.Security.Action)9, Scope = scope ?? default };
        var resource = scope is null ? new Resource { Name = "ns/p", Resource_ = new() { TypeUrl = TypeUrls.Authorization, Value = Google.Protobuf.ByteString.CopyFrom(0xff, 0xff) } } : Of("ns/p", bad);

        Assert.Single(new AuthorizationHandler(_store, NullLogger.Instance).Apply([resource], []));

        Assert.IsType<Model.Authorization.AuthorizationVerdict.DeniedBy>(Judge("elsewhere", "ns/p"));   // whoever lists it
        Assert.Contains("ns/p, which was received and cannot be read", Judge("elsewhere", "ns/p").ToString());
        if (scope != Protocol.Security.Scope.Global) Assert.IsType<Model.Authorization.AuthorizationVerdict.Allowed>(Judge("elsewhere", "ns/never-received"));
        foreach (var ns in denied.Split(' ', StringSplitOptions.RemoveEmptyEntries)) Assert.IsType<Model.Authorization.AuthorizationVerdict.DeniedBy>(Judge(ns));
        if (scope != Protocol.Security.Scope.Global)
            foreach (var ns in allowed.Split(' ', StringSplitOptions.RemoveEmptyEntries)) Assert.IsType<Model.Authorization.AuthorizationVerdict.Allowed>(Judge(ns));
    }

    [Fact]
    public void An_unreadable_policy_stops_denying_when_it_is_readable_or_removed_and_never_denies_as_a_dry_run_or_where_that_is_switched_off()
    {
        var good = new Protocol.Security.Authorization { Name = "p", Namespace = "ns", Action = Protocol.Security.Action.Deny, Scope = Protocol.Security.Scope.Namespace };
        var bad = good.Clone();
        bad.Action = (Protocol.Security.Action)9;
        var handler = new AuthorizationHandler(_store, NullLogger.Instance);
        handler.Apply([Of("ns/p", bad)], []);
        Assert.IsType<Model.Authorization.AuthorizationVerdict.DeniedBy>(Judge("ns"));
        handler.Apply([Of("ns/p", good)], []);
        Assert.IsType<Model.Authorization.AuthorizationVerdict.Allowed>(Judge("ns"));
        handler.Apply([Of("ns/p", bad)], []);   // the good one stays
        Assert.IsType<Model.Authorization.AuthorizationVerdict.Allowed>(Judge("ns"));
        handler.Apply([], ["ns/p"]);
        handler.Apply([Of("ns/p", bad)], []);
        handler.Apply([], ["ns/p"]);
        Assert.IsType<Model.Authorization.AuthorizationVerdict.Allowed>(Judge("ns"));
        Assert.Single(new AuthorizationHandler(_store, NullLogger.Instance, ignoresUnreadable: true).Apply([Of("ns/p", bad)], []));
        bad.DryRun = true;
        handler.Apply([Of("ns/p", bad)], []);
        Assert.IsType<Model.Authorization.AuthorizationVerdict.Allowed>(Judge("ns"));
    }

    private Model.Authorization.AuthorizationVerdict Judge(string ns, params string[] lists) => Model.Authorization.Authorizer.Decide(
        _store.Current, new Model.Workload { Uid = "u", Name = "w", Namespace = ns, Policies = [.. lists.Select(name => Model.PolicyName.TryParse(name, out var key) ? key : default)] },
        new Model.Authorization.ConnectionFacts(null, System.Net.IPAddress.Parse("10.0.0.1"), System.Net.IPEndPoint.Parse("10.0.0.2:80")));

    [Fact]
    public void A_resource_without_a_body_or_of_no_known_kind_is_refused_alone()
    {
        var rejections = new AddressHandler(_store).Apply([new Resource { Name = "x" }, Of("y", new Protocol.Wds.Address())], ["unknown"]);
        Assert.Equal(["x", "y"], rejections.Select(r => r.Name));
    }
}
