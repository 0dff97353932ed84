using System.Net;
using AmbientMesh.Model.Authorization;
using Google.Protobuf.WellKnownTypes;
using Wire = AmbientMesh.Protocol.Security;

namespace AmbientMesh.Model.Tests;

public sealed class AuthorizerTests
{
    private static readonly SpiffeId Client = new("cluster.local", "default", "client");

    private static Wire.Rule Rule(params Wire.Match[] oneClause) => new() { Clauses = { new Wire.Clause { Matches = { oneClause } } } };
    private static Wire.StringMatch Exact(string value) => new() { Exact = value };
    private static readonly Wire.StringMatch Present = new() { Presence = new Empty() };
    private static readonly Wire.Match ByClient = new() { Principals = { Exact("cluster.local/ns/default/sa/client") } };
    private static readonly Wire.Match Unauthenticated = new() { NotPrincipals = { Present } };

    private static AuthorizationVerdict Judge(MeshBuilder mesh, SpiffeId? peer = null, int port = 8080, string source = "10.0.0.1") =>
        Authorizer.Decide(mesh.Mesh, mesh.Find("server"), new ConnectionFacts(peer, IPAddress.Parse(source), IPEndPoint.Parse($"10.0.0.2:{port}")));

    private static MeshBuilder Server(params string[] policies) => new MeshBuilder().Pod("server", "10.0.0.2", with: w => w.AuthorizationPolicies.AddRange(policies));

    private static void Denied(AuthorizationVerdict verdict, string text)
    {
        Assert.IsNotType<AuthorizationVerdict.Allowed>(verdict);
        Assert.Equal(text, verdict.ToString());
    }

    [Fact]
    public void Without_policies_everyone_is_allowed() => Assert.IsType<AuthorizationVerdict.Allowed>(Judge(Server()));

    [Fact, Scenario("L4-090")]
    public void An_allow_for_another_principal_refuses() =>
        Denied(Judge(Server().Policy("p", Wire.Action.Allow, Wire.Scope.Namespace, rules: Rule(new Wire.Match { Principals = { Exact("cluster.local/ns/default/sa/other") } })), Client),
            "allow policies exist, but none allowed");

    [Fact, Scenario("L4-091")]
    public void A_deny_for_the_principal_refuses_and_is_named() =>
        Denied(Judge(Server().Policy("p", Wire.Action.Deny, Wire.Scope.Global, "istio-system", rules: Rule(ByClient)), Client), "explicitly denied by: istio-system/p");

    [Fact, Scenario("L4-092")]
    public void An_allow_for_the_client_admits_it_and_is_named() =>
        Assert.Equal(new PolicyName("default", "p"), Assert.IsType<AuthorizationVerdict.Allowed>(Judge(Server().Policy("p", Wire.Action.Allow, Wire.Scope.Namespace, rules: Rule(ByClient)), Client)).Policy);

    [Fact]
    public void A_deny_goes_before_an_allow() =>
        Denied(Judge(Server().Policy("a", Wire.Action.Allow, Wire.Scope.Namespace, rules: Rule(ByClient)).Policy("d", Wire.Action.Deny, Wire.Scope.Namespace, rules: Rule(ByClient)), Client), "explicitly denied by: default/d");

    [Fact, Scenario("L4-093")]
    public void An_allow_without_rules_refuses_everyone() => Denied(Judge(Server().Policy("p", Wire.Action.Allow, Wire.Scope.Namespace), Client), "allow policies exist, but none allowed");

    [Fact]
    public void A_deny_without_rules_refuses_nobody() => Assert.IsType<AuthorizationVerdict.Allowed>(Judge(Server().Policy("p", Wire.Action.Deny, Wire.Scope.Namespace), Client));

    [Fact, Scenario("L4-094")]
    public void An_empty_match_never_holds_but_an_empty_clause_and_an_empty_rule_do()
    {
        Assert.IsType<AuthorizationVerdict.Allowed>(Judge(Server().Policy("p", Wire.Action.Deny, Wire.Scope.Namespace, rules: Rule(new Wire.Match()))));
        Denied(Judge(Server().Policy("p", Wire.Action.Deny, Wire.Scope.Namespace, rules: Rule())), "explicitly denied by: default/p");
        Denied(Judge(Server().Policy("p", Wire.Action.Deny, Wire.Scope.Namespace, rules: new Wire.Rule())), "explicitly denied by: default/p");
    }

    [Fact, Scenario("L4-095")]
    public void A_plaintext_client_has_no_principal_but_an_address()
    {
        Denied(Judge(Server().Policy("p", Wire.Action.Allow, Wire.Scope.Namespace, rules: Rule(new Wire.Match { Principals = { Present } }))), "allow policies exist, but none allowed");
        var bySource = new Wire.Match { SourceIps = { new Wire.Address { Address_ = MeshBuilder.Bytes("10.0.0.0"), Length = 24 } } };
        Assert.IsType<AuthorizationVerdict.Allowed>(Judge(Server().Policy("p", Wire.Action.Allow, Wire.Scope.Namespace, rules: Rule(bySource))));
        Denied(Judge(Server().Policy("p", Wire.Action.Allow, Wire.Scope.Namespace, rules: Rule(bySource)), source: "10.0.1.1"), "allow policies exist, but none allowed");
    }

    [Fact, Scenario("L4-096")]
    public void A_plaintext_client_is_hit_by_negative_matches()
    {
        Denied(Judge(Server().Policy("p", Wire.Action.Deny, Wire.Scope.Namespace, rules: Rule(Unauthenticated))), "explicitly denied by: default/p");
        Denied(Judge(Server().Policy("p", Wire.Action.Deny, Wire.Scope.Namespace, rules: Rule(new Wire.Match { NotNamespaces = { Exact("default") } }))), "explicitly denied by: default/p");
        Denied(Judge(Server().Policy("p", Wire.Action.Deny, Wire.Scope.Namespace, rules: Rule(new Wire.Match { NotServiceAccounts = { new Wire.ServiceAccountMatch { Namespace = "default", ServiceAccount = "client" } } }))), "explicitly denied by: default/p");
        Assert.IsType<AuthorizationVerdict.Allowed>(Judge(Server().Policy("p", Wire.Action.Deny, Wire.Scope.Namespace, rules: Rule(Unauthenticated)), Client));
    }

    [Fact, Scenario("L4-097")]
    public void Ports_compare_with_the_real_destination()
    {
        var mesh = Server().Policy("p", Wire.Action.Deny, Wire.Scope.Namespace, rules: Rule(new Wire.Match { DestinationPorts = { 8080 } }));
        Denied(Judge(mesh, Client, 8080), "explicitly denied by: default/p");
        Assert.IsType<AuthorizationVerdict.Allowed>(Judge(mesh, Client, 9090));
    }

    [Fact, Scenario("L4-098")]
    public void Static_strict_refuses_plaintext_where_it_is_listed_and_nowhere_else()
    {
        var mesh = Server("istio-system/istio_converted_static_strict").Policy("istio_converted_static_strict", Wire.Action.Deny, Wire.Scope.WorkloadSelector, "istio-system", rules: Rule(Unauthenticated));
        Denied(Judge(mesh), "explicitly denied by: istio-system/istio_converted_static_strict");
        Assert.IsType<AuthorizationVerdict.Allowed>(Judge(mesh, Client));
        Assert.IsType<AuthorizationVerdict.Allowed>(Judge(Server().Policy("istio_converted_static_strict", Wire.Action.Deny, Wire.Scope.WorkloadSelector, "istio-system", rules: Rule(Unauthenticated))));
    }

    [Fact, Scenario("L4-099")]
    public void A_port_exception_opens_only_its_ports()
    {
        var rule = new Wire.Rule { Clauses = { new Wire.Clause { Matches = { Unauthenticated } } } };
        foreach (uint port in (uint[])[18080, 19090]) rule.Clauses.Add(new Wire.Clause { Matches = { new Wire.Match { NotDestinationPorts = { port } } } });
        var mesh = Server("default/converted_peer_authentication_x").Policy("converted_peer_authentication_x", Wire.Action.Deny, Wire.Scope.WorkloadSelector, rules: rule);
        Assert.IsType<AuthorizationVerdict.Allowed>(Judge(mesh, port: 18080));
        Assert.IsType<AuthorizationVerdict.Allowed>(Judge(mesh, port: 19090));
        Denied(Judge(mesh, port: 8080), "explicitly denied by: default/converted_peer_authentication_x");
    }

    [Fact, Scenario("L4-107")]
    public void A_dry_run_policy_is_found_and_not_enforced()
    {
        var mesh = Server().Policy("p", Wire.Action.Deny, Wire.Scope.Namespace, dryRun: true, rules: Rule(ByClient));
        Assert.IsType<AuthorizationVerdict.Allowed>(Judge(mesh, Client));
        Assert.Equal("p", Assert.Single(Authorizer.PoliciesOf(mesh.Mesh, mesh.Find("server")).DryRun).Key.Name);
    }

    [Fact, Scenario("L4-108")]
    public void A_listed_policy_that_is_missing_is_reported_and_the_others_apply()
    {
        var mesh = Server("default/gone", "default/p").Policy("p", Wire.Action.Deny, Wire.Scope.WorkloadSelector, rules: Rule(ByClient));
        Denied(Judge(mesh, Client), "explicitly denied by: default/p");
        Assert.Equal(["default/gone"], Authorizer.PoliciesOf(mesh.Mesh, mesh.Find("server")).Missing.Select(p => p.ToString()));
    }

    [Fact]
    public void Policies_of_other_namespaces_do_not_reach_the_workload() =>
        Assert.IsType<AuthorizationVerdict.Allowed>(Judge(Server().Policy("p", Wire.Action.Deny, Wire.Scope.Namespace, "other", rules: Rule(ByClient)), Client));

    [Fact]
    public void Within_a_match_every_field_must_hold_and_within_a_rule_every_clause()
    {
        var both = new Wire.Match { Principals = { Exact("cluster.local/ns/default/sa/client") }, DestinationPorts = { 9090 } };
        Assert.IsType<AuthorizationVerdict.Allowed>(Judge(Server().Policy("p", Wire.Action.Deny, Wire.Scope.Namespace, rules: Rule(both)), Client));
        var clauses = new Wire.Rule { Clauses = { new Wire.Clause { Matches = { ByClient } }, new Wire.Clause { Matches = { new Wire.Match { DestinationPorts = { 9090 } } } } } };
        Assert.IsType<AuthorizationVerdict.Allowed>(Judge(Server().Policy("p", Wire.Action.Deny, Wire.Scope.Namespace, rules: clauses), Client));
        Denied(Judge(Server().Policy("p", Wire.Action.Deny, Wire.Scope.Namespace, rules: clauses), Client, 9090), "explicitly denied by: default/p");
    }

    [Theory]
    [InlineData("prefix", "cluster.local/ns/default/", true)]
    [InlineData("prefix", "cluster.local/ns/def/", false)]
    [InlineData("suffix", "/sa/client", true)]
    [InlineData("suffix", "/sa/CLIENT", false)]
    [InlineData("exact", "spiffe://cluster.local/ns/default/sa/client", false)]
    public void Principals_compare_without_their_scheme_and_by_case(string kind, string value, bool matches)
    {
        var match = kind switch { "prefix" => new Wire.StringMatch { Prefix = value }, "suffix" => new Wire.StringMatch { Suffix = value }, _ => Exact(value) };
        var verdict = Judge(Server().Policy("p", Wire.Action.Deny, Wire.Scope.Namespace, rules: Rule(new Wire.Match { Principals = { match } })), Client);
        Assert.Equal(matches, verdict is AuthorizationVerdict.DeniedBy);
    }
}
