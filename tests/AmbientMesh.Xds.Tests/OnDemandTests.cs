using AmbientMesh.Protocol.Discovery;

namespace AmbientMesh.Xds.Tests;

/// <summary>Subscriptions by name: what a client that turned the wildcard off is sent.</summary>
public sealed class OnDemandTests
{
    private readonly ResourceTable _address = new(TypeUrls.Address);
    private DeltaSession _session;

    public OnDemandTests() => _session = NewSession();

    [Fact]
    public void Only_the_workloads_of_the_own_node_come_unasked()
    {
        _address.Update([Loopback.Workload("local"), Loopback.Workload("far", node: "n2"), Loopback.Service("web", "10.96.0.1")]);
        Assert.Equal(["Kubernetes//Pod/default/local"], Names(Start()));
        _address.Update([Loopback.Workload("local2"), Loopback.Workload("far2", node: "n2")]);
        Assert.Equal(["Kubernetes//Pod/default/local2"], Names(Next()!));
    }

    [Fact]
    [Scenario("L4-136")]
    public void A_name_is_answered_exactly_once_by_a_resource_of_that_name_or_as_removed()
    {
        _address.Update([Loopback.Workload("far", node: "n2", ip: "10.0.2.1")]);
        Start();
        var found = Ask("/10.0.2.1");
        Assert.Equal(["/10.0.2.1"], Names(found));
        Assert.Empty(found.RemovedResources);
        var unknown = Ask("/10.9.9.9");
        Assert.Empty(unknown.Resources);
        Assert.Equal(["/10.9.9.9"], unknown.RemovedResources);
        Assert.Equal(["/10.9.9.9"], Ask("/10.9.9.9").RemovedResources);   // ztunnel asks again at each connection
        Assert.Equal(["/10.0.2.1"], Names(Ask("/10.0.2.1")));
        Assert.Equal(["Kubernetes//Pod/default/far"], Names(Ask("Kubernetes//Pod/default/far")));
    }

    [Fact]
    [Scenario("L4-137")]
    public void A_services_workloads_come_along_now_and_later()
    {
        _address.Update([Loopback.Service("web", "10.96.0.1"), Loopback.Workload("far", node: "n2", service: "default/web"), Loopback.Workload("else", node: "n2")]);
        Start();
        Assert.Equal(["/10.96.0.1", "Kubernetes//Pod/default/far"], Names(Ask("/10.96.0.1")));
        _address.Update([Loopback.Workload("far2", node: "n2", service: "default/web")]);
        Assert.Equal(["Kubernetes//Pod/default/far2"], Names(Next()!));
        _address.Update([], ["Kubernetes//Pod/default/far"]);
        Assert.Equal(["Kubernetes//Pod/default/far"], Next()!.RemovedResources);
        _address.Update([Loopback.Workload("else", node: "n2", revision: "v2")]);
        Assert.Null(Next());
    }

    [Fact]
    public void A_removed_resource_is_withdrawn_under_the_asked_and_its_own_name()
    {
        _address.Update([Loopback.Workload("far", node: "n2", ip: "10.0.2.1")]);
        Start();
        Ask("/10.0.2.1");
        _address.Update([], ["Kubernetes//Pod/default/far"]);
        Assert.Equal(["/10.0.2.1", "Kubernetes//Pod/default/far"], Next()!.RemovedResources.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Several_resources_of_one_address_all_come_one_of_them_under_the_asked_name()
    {
        _address.Update([Loopback.Workload("far", node: "n2", ip: "10.0.2.1"), Loopback.Service("web", "10.0.2.1")]);
        Start();
        var answer = Ask("/10.0.2.1");
        Assert.Equal(2, answer.Resources.Count);
        Assert.Single(answer.Resources, r => r.Name == "/10.0.2.1");
        Assert.Equal(2, answer.Resources.Select(r => r.Resource_).Distinct().Count());
    }

    [Fact]
    public void What_is_unsubscribed_is_sent_no_more()
    {
        _address.Update([Loopback.Workload("far", node: "n2", ip: "10.0.2.1")]);
        Start();
        Ask("/10.0.2.1");
        _session.Receive(new DeltaDiscoveryRequest { TypeUrl = TypeUrls.Address, ResourceNamesUnsubscribe = { "/10.0.2.1" } });
        _address.Update([Loopback.Workload("far", node: "n2", ip: "10.0.2.1", revision: "v2")]);
        Assert.Null(Next());
    }

    [Fact]
    [Scenario("L4-133")]
    public void A_returning_client_is_answered_for_what_it_waits_and_sent_what_changed()
    {
        _address.Update([Loopback.Workload("local"), Loopback.Workload("far", node: "n2", ip: "10.0.2.1"), Loopback.Workload("late", node: "n2", ip: "10.0.2.2")]);
        Start();
        var held = Ask("/10.0.2.1").Resources.Single();
        _session = NewSession();
        _address.Update([Loopback.Workload("local", revision: "v2")]);
        var first = First();
        first.InitialResourceVersions.Add("/10.0.2.1", held.Version);
        first.InitialResourceVersions.Add("Kubernetes//Pod/default/local", "old");
        first.InitialResourceVersions.Add("/10.0.2.2", "");
        first.InitialResourceVersions.Add("/10.9.9.9", "");
        _session.Receive(first);
        var answer = Next()!;
        Assert.Equal(["/10.0.2.2", "Kubernetes//Pod/default/local"], Names(answer));
        Assert.Equal(["/10.9.9.9"], answer.RemovedResources);
        _address.Update([Loopback.Workload("far", node: "n2", ip: "10.0.2.1", revision: "v2")]);
        Assert.Equal(["/10.0.2.1"], Names(Next()!));
    }

    [Fact]
    public void A_client_may_turn_the_wildcard_on_later()
    {
        _address.Update([Loopback.Workload("far", node: "n2")]);
        Assert.Empty(Start().Resources);
        Assert.Equal(["Kubernetes//Pod/default/far"], Names(Ask(TypeUrls.WildcardName)));
    }

    [Fact]
    public void Names_nobody_knows_are_forgotten_when_they_are_too_many()
    {
        _session = NewSession(new DeltaRequestLimits { MaxNames = 3 });
        _address.Update([Loopback.Workload("far", node: "n2", ip: "10.0.2.1")]);
        Start();
        Ask("/10.0.2.1");
        for (var i = 0; i < 10; i++) Assert.Single(Ask($"/10.9.9.{i}").RemovedResources);
        Assert.InRange(_session.Status.Single().Names, 1, 4);
        _address.Update([Loopback.Workload("far", node: "n2", ip: "10.0.2.1", revision: "v2")]);
        Assert.Equal(["/10.0.2.1"], Names(Next()!));   // the known one is still served
    }

    private DeltaSession NewSession(DeltaRequestLimits? limits = null) => new([_address], Loopback.Node(), limits ?? new DeltaRequestLimits());

    private static DeltaDiscoveryRequest First() => new() { Node = Loopback.Node(), TypeUrl = TypeUrls.Address, ResourceNamesSubscribe = { TypeUrls.WildcardName }, ResourceNamesUnsubscribe = { TypeUrls.WildcardName } };

    private DeltaDiscoveryResponse Start()
    {
        _session.Receive(First());
        return Next()!;
    }

    private DeltaDiscoveryResponse Ask(string name)
    {
        _session.Receive(new DeltaDiscoveryRequest { TypeUrl = TypeUrls.Address, ResourceNamesSubscribe = { name } });
        return Next()!;
    }

    /// <summary>The one response that is due, acknowledged; null when none is.</summary>
    private DeltaDiscoveryResponse? Next()
    {
        var due = _session.Due().SingleOrDefault();
        if (due is not null) _session.Receive(new DeltaDiscoveryRequest { TypeUrl = due.TypeUrl, ResponseNonce = due.Nonce });
        return due;
    }

    private static string[] Names(DeltaDiscoveryResponse response) => [.. response.Resources.Select(r => r.Name).Order(StringComparer.Ordinal)];
}
