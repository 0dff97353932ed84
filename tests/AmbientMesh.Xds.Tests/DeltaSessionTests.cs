using AmbientMesh.Protocol.Discovery;
using AmbientMesh.Protocol.Rpc;
using AmbientMesh.Rpc;

namespace AmbientMesh.Xds.Tests;

/// <summary>The server's protocol state, without a network.</summary>
public sealed class DeltaSessionTests
{
    private readonly ResourceTable _authorization = new(TypeUrls.Authorization);
    private readonly ResourceTable _address = new(TypeUrls.Address);
    private readonly DeltaSession _session;

    public DeltaSessionTests() => _session = NewSession();

    [Fact]
    public void A_first_request_is_answered_even_with_nothing()
    {
        _session.Receive(First(TypeUrls.Address));
        var answer = Assert.Single(_session.Due());
        Assert.Equal((TypeUrls.Address, 0, 0), (answer.TypeUrl, answer.Resources.Count, answer.RemovedResources.Count));
        Assert.NotEmpty(answer.Nonce);
        Assert.Empty(_session.Due());
    }

    [Fact]
    public void Nothing_is_sent_before_it_is_asked_for()
    {
        _address.Update([Loopback.Workload("a")]);
        _session.Receive(First(TypeUrls.Authorization));
        Assert.Equal(TypeUrls.Authorization, Assert.Single(_session.Due()).TypeUrl);
    }

    [Fact]
    public void Changes_wait_for_the_acknowledgement_and_then_come_as_one()
    {
        var first = Sync();
        _address.Update([Loopback.Workload("a")]);
        _address.Update([Loopback.Workload("b")]);
        var second = Assert.Single(_session.Due());
        _address.Update([Loopback.Workload("b", revision: "v2")]);
        _address.Update([Loopback.Workload("c")]);
        _address.Update([], ["Kubernetes//Pod/default/c"]);   // came and went meanwhile
        _address.Update([], ["Kubernetes//Pod/default/a"]);
        Assert.Empty(_session.Due());
        Assert.IsType<RequestOutcome.Stale>(Ack(first));
        Assert.Empty(_session.Due());
        Assert.IsType<RequestOutcome.Acknowledged>(Ack(second));
        var third = Assert.Single(_session.Due());
        Assert.Equal(["Kubernetes//Pod/default/b"], third.Resources.Select(r => r.Name));
        Assert.Equal(["Kubernetes//Pod/default/a"], third.RemovedResources);
    }

    [Fact]
    public void A_change_that_is_undone_before_it_is_sent_is_not_sent()
    {
        _address.Update([Loopback.Workload("a")]);
        var first = Sync();
        _address.Update([Loopback.Workload("b")]);
        var push = Assert.Single(_session.Due());
        _address.Update([Loopback.Workload("a", revision: "v2")]);
        _address.Update([Loopback.Workload("a")]);
        Ack(push);
        Assert.Empty(_session.Due());
        Assert.NotEqual(first.Nonce, push.Nonce);
    }

    [Theory]
    [InlineData("")]
    [InlineData("no-such-nonce")]
    public void A_foreign_nonce_acknowledges_nothing(string nonce)
    {
        _session.Receive(First(TypeUrls.Address));
        _session.Due();
        _address.Update([Loopback.Workload("a")]);
        _session.Receive(new DeltaDiscoveryRequest { TypeUrl = TypeUrls.Address, ResponseNonce = nonce });
        Assert.Empty(_session.Due());
    }

    [Fact]
    public void A_rejection_names_its_resources_and_is_forgotten_with_the_next_good_version()
    {
        _address.Update([Loopback.Workload("a"), Loopback.Workload("b"), Loopback.Workload("c")]);
        _session.Receive(First(TypeUrls.Address));
        var push = Assert.Single(_session.Due());
        var outcome = Assert.IsType<RequestOutcome.Rejected>(Nack(push, "Kubernetes//Pod/default/a: one; two: x; Kubernetes//Pod/default/c: three"));
        Assert.Equal([("Kubernetes//Pod/default/a", "one; two: x"), ("Kubernetes//Pod/default/c", "three")], outcome.Rejections.Select(r => (r.Name, r.Reason)));
        Assert.Equal(2, Status().Rejections.Count);
        Assert.Empty(_session.Due());   // the same again would be refused again
        _address.Update([Loopback.Workload("a", revision: "v2")], ["Kubernetes//Pod/default/c"]);
        Ack(Assert.Single(_session.Due()));
        Assert.Empty(Status().Rejections);
        Assert.True(Status().IsSynced);
    }

    [Fact]
    public void A_rejection_that_names_nothing_known_is_kept_whole()
    {
        _address.Update([Loopback.Workload("a")]);
        _session.Receive(First(TypeUrls.Address));
        var outcome = Assert.IsType<RequestOutcome.Rejected>(Nack(Assert.Single(_session.Due()), "out of memory"));
        Assert.Equal([("", "out of memory")], outcome.Rejections.Select(r => (r.Name, r.Reason)));
    }

    [Fact]
    public void Policies_go_out_before_the_workloads_that_name_them()
    {
        Sync(TypeUrls.Address);
        var policies = Sync(TypeUrls.Authorization);
        _address.Update([Loopback.Workload("a")]);
        _authorization.Update([Loopback.Policy("p")]);
        Assert.Equal([TypeUrls.Authorization, TypeUrls.Address], _session.Due().Select(r => r.TypeUrl));

        // A policy that has to wait keeps the workloads waiting too.
        _authorization.Update([Loopback.Policy("q")]);
        _address.Update([Loopback.Workload("b")]);
        Assert.Empty(_session.Due());
        Assert.NotNull(policies);
    }

    [Fact]
    [Scenario("L4-134", "L4-135")]
    public void A_returning_client_gets_the_differences_and_what_is_gone()
    {
        var same = Loopback.Workload("same");
        _address.Update([same, Loopback.Workload("other", revision: "v2"), Loopback.Workload("new")]);
        var first = First(TypeUrls.Address);
        first.InitialResourceVersions.Add("Kubernetes//Pod/default/same", same.Version);
        first.InitialResourceVersions.Add("Kubernetes//Pod/default/other", "old");
        first.InitialResourceVersions.Add("Kubernetes//Pod/default/gone", "x");
        _session.Receive(first);
        var answer = Assert.Single(_session.Due());
        Assert.Equal(["Kubernetes//Pod/default/new", "Kubernetes//Pod/default/other"], answer.Resources.Select(r => r.Name).Order());
        Assert.Equal(["Kubernetes//Pod/default/gone"], answer.RemovedResources);
    }

    [Fact]
    public void A_type_without_versions_is_always_sent_anew()
    {
        _authorization.Update([Loopback.Policy("p")]);
        var first = First(TypeUrls.Authorization);
        first.InitialResourceVersions.Add("default/p", "");
        first.InitialResourceVersions.Add("default/gone", "");
        _session.Receive(first);
        var answer = Assert.Single(_session.Due());
        Assert.Equal(("default/p", ""), (answer.Resources.Single().Name, answer.Resources.Single().Version));
        Assert.Equal(["default/gone"], answer.RemovedResources);
    }

    [Fact]
    public void A_large_world_is_split_and_removals_come_last()
    {
        var session = NewSession(new DeltaRequestLimits { MaxResponseBytes = 300 });
        _address.Update(Enumerable.Range(0, 10).Select(i => Loopback.Workload($"w{i}")));
        var first = First(TypeUrls.Address);
        first.InitialResourceVersions.Add("gone", "1");
        session.Receive(first);
        var parts = session.Due();
        Assert.InRange(parts.Count, 3, 10);
        Assert.Equal(10, parts.SelectMany(p => p.Resources).Select(r => r.Name).Distinct().Count());
        Assert.All(parts, part => Assert.NotEmpty(part.Resources));
        Assert.Equal(["gone"], parts[^1].RemovedResources);
        Assert.All(parts[..^1], part => Assert.Empty(part.RemovedResources));
        // The next push waits until every part is acknowledged, in whatever order.
        _address.Update([Loopback.Workload("late")]);
        foreach (var part in parts.AsEnumerable().Reverse().Skip(1)) Ack(part, session);
        Assert.Empty(session.Due());
        Ack(parts[^1], session);
        Assert.Single(session.Due());
    }

    [Fact]
    public void What_others_refer_to_comes_first_also_when_it_is_asked_for_last()
    {
        _authorization.Update([Loopback.Policy("deny")]);
        _address.Update([Loopback.Workload("a")]);
        _session.Receive(First(TypeUrls.Address));
        Assert.Empty(_session.Due(waitsForFirst: true));
        _session.Receive(First(TypeUrls.Authorization));
        Assert.Equal([TypeUrls.Authorization, TypeUrls.Address], _session.Due(waitsForFirst: true).Select(r => r.TypeUrl));
    }

    [Fact]
    public void A_client_that_comes_back_is_told_of_policies_that_are_gone_after_the_workloads_that_named_them()
    {
        var policies = First(TypeUrls.Authorization);
        policies.InitialResourceVersions["default/gone"] = "";
        policies.InitialResourceVersions["default/back"] = "";
        _session.Receive(policies);
        var first = Assert.Single(_session.Due(waitsForFirst: true));
        Assert.Empty(first.RemovedResources);
        Ack(first);
        Assert.Empty(_session.Due(waitsForFirst: true));
        _authorization.Update([Loopback.Policy("back")]);
        _session.Receive(First(TypeUrls.Address));
        var both = _session.Due();
        Assert.Equal([TypeUrls.Authorization, TypeUrls.Address], both.Select(r => r.TypeUrl));
        Ack(both[0]);
        Ack(both[1]);
        var last = Assert.Single(_session.Due());
        Assert.Equal((TypeUrls.Authorization, "default/gone"), (last.TypeUrl, Assert.Single(last.RemovedResources)));
    }

    [Fact]
    public void A_client_of_policies_alone_is_told_what_is_gone_when_it_has_had_time_to_ask_for_more()
    {
        var policies = First(TypeUrls.Authorization);
        policies.InitialResourceVersions["default/gone"] = "";
        _session.Receive(policies);
        Ack(Assert.Single(_session.Due(waitsForFirst: true)));
        Assert.Equal(["default/gone"], Assert.Single(_session.Due()).RemovedResources);
    }

    [Fact]
    public void An_unknown_type_is_answered_once_and_empty()
    {
        _session.Receive(First("type.googleapis.com/unknown.Type"));
        var answer = Assert.Single(_session.Due());
        Assert.Equal(("type.googleapis.com/unknown.Type", 0), (answer.TypeUrl, answer.Resources.Count));
        Ack(answer);
        Assert.Empty(_session.Due());
    }

    [Fact]
    public void Endless_types_end_the_stream()
    {
        var failure = Assert.Throws<RpcException>(() =>
        {
            for (var i = 0; i < 1000; i++) _session.Receive(First($"type.googleapis.com/x{i}"));
        });
        Assert.Equal(StatusCode.InvalidArgument, failure.Code);
    }

    private DeltaSession NewSession(DeltaRequestLimits? limits = null) => new([_authorization, _address], Loopback.Node(), limits ?? new DeltaRequestLimits());

    private DeltaDiscoveryResponse Sync(string typeUrl = TypeUrls.Address)
    {
        _session.Receive(First(typeUrl));
        var answer = Assert.Single(_session.Due());
        Ack(answer);
        return answer;
    }

    private static DeltaDiscoveryRequest First(string typeUrl) => new() { Node = Loopback.Node(), TypeUrl = typeUrl };

    private RequestOutcome Ack(DeltaDiscoveryResponse response, DeltaSession? session = null) => (session ?? _session).Receive(new DeltaDiscoveryRequest { TypeUrl = response.TypeUrl, ResponseNonce = response.Nonce });

    private RequestOutcome Nack(DeltaDiscoveryResponse response, string message) =>
        _session.Receive(new DeltaDiscoveryRequest { TypeUrl = response.TypeUrl, ResponseNonce = response.Nonce, ErrorDetail = new Status { Message = message } });

    private ClientTypeStatus Status() => _session.Status.Single(s => s.TypeUrl == TypeUrls.Address);
}
