using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Translation;
using FsCheck;
using FsCheck.Fluent;

namespace AmbientMesh.ControlPlane.Tests.Policy;

/// <summary>However policies are composed, a port that is STRICT takes no plaintext and DENY is never undone.</summary>
public class StrictnessTests
{
    private const string Root = "istio-system";

    /// <summary>A PeerAuthentication at some level; the level and the age decide whether it counts.</summary>
    private sealed record Peer(string Namespace, string? App, int Age, string Mode, IReadOnlyList<(int Port, string Mode)> Ports)
    {
        public JsonObject ToJson(int number) => new()
        {
            ["kind"] = "PeerAuthentication",
            ["metadata"] = new JsonObject { ["namespace"] = Namespace, ["name"] = $"p{number}", ["creationTimestamp"] = $"2026-01-01T00:{Age:00}:{number:00}Z" },
            ["spec"] = new JsonObject
            {
                ["selector"] = App is null ? null : new JsonObject { ["matchLabels"] = new JsonObject { ["app"] = App } },
                ["mtls"] = new JsonObject { ["mode"] = Mode },
                ["portLevelMtls"] = new JsonObject(Ports.DistinctBy(p => p.Port).Select(p => KeyValuePair.Create($"{p.Port}", (JsonNode?)new JsonObject { ["mode"] = p.Mode }))),
            },
        };
    }

    private sealed record Grant(string Namespace, string? App, bool Denies, int? Port)
    {
        public JsonObject ToJson(int number) => new()
        {
            ["kind"] = "AuthorizationPolicy",
            ["metadata"] = new JsonObject { ["namespace"] = Namespace, ["name"] = $"a{number}" },
            ["spec"] = new JsonObject
            {
                ["selector"] = App is null ? null : new JsonObject { ["matchLabels"] = new JsonObject { ["app"] = App } },
                ["action"] = Denies ? "DENY" : "ALLOW",
                ["rules"] = new JsonArray(Port is null ? new JsonObject() : new JsonObject { ["to"] = new JsonArray(new JsonObject { ["operation"] = new JsonObject { ["ports"] = new JsonArray($"{Port}") } }) }),
            },
        };
    }

    private static readonly string[] Namespaces = [Root, "one", "two"];
    private static readonly int[] Ports = [80, 443, 9090];
    private static readonly Gen<string> Mode = Gen.Elements("UNSET", "DISABLE", "PERMISSIVE", "STRICT");
    private static readonly Gen<string?> App = Gen.Elements<string?>(null, "a", "b");

    private static readonly Gen<Peer> Peers =
        from ns in Gen.Elements(Namespaces)
        from app in App
        from age in Gen.Choose(0, 9)
        from mode in Mode
        from ports in Gen.Zip(Gen.Elements(Ports), Mode).ListOf()
        select new Peer(ns, app, age, mode, app is null ? [] : [.. ports.Take(3)]);

    private static readonly Gen<Grant> Grants =
        from ns in Gen.Elements(Namespaces)
        from app in App
        from denies in Gen.Elements(true, false)
        from port in Gen.Elements<int?>(null, 80, 443)
        select new Grant(ns, app, denies, port);

    private static PolicyWorld WorldOf(IList<Peer> peers, IList<Grant> grants, MeshScope? scope = null)
    {
        var world = new PolicyWorld(scope).With(Namespaces.SelectMany((ns, n) => new[] { "a", "b" }.Select((app, a) => new JsonObject
        {
            ["kind"] = "Pod",
            ["metadata"] = new JsonObject { ["namespace"] = ns, ["name"] = app, ["labels"] = new JsonObject { ["app"] = app } },
            ["status"] = new JsonObject { ["phase"] = "Running", ["podIP"] = $"10.244.{n}.{a + 1}" },
        })));
        foreach (var policy in peers.Select((p, i) => p.ToJson(i)).Concat(grants.Select((g, i) => g.ToJson(i)))) world.With(policy);
        return world;
    }

    /// <summary>The mode in force, straight from the definition: port, workload, namespace, mesh.</summary>
    private static string EffectiveMode(IList<Peer> peers, string ns, string app, int port)
    {
        Peer? Oldest(Func<Peer, bool> on) => peers.Select((p, i) => (p, i)).Where(x => on(x.p)).OrderBy(x => (x.p.Age, x.i)).Select(x => x.p).FirstOrDefault();
        var own = Oldest(p => p.Namespace == ns && p.App == app);
        var levels = new[]
        {
            own?.Ports.DistinctBy(p => p.Port).Where(p => p.Port == port).Select(p => p.Mode).FirstOrDefault(),
            own?.Mode,
            Oldest(p => p.Namespace == ns && p.App is null)?.Mode,
            Oldest(p => p.Namespace == Root && p.App is null)?.Mode,
        };
        return levels.FirstOrDefault(mode => mode is not (null or "UNSET")) ?? "PERMISSIVE";
    }

    [Fact]
    [Scenario("L4-098", "L4-099", "L4-100", "L4-101", "L4-102")]
    public void A_port_that_is_strict_never_takes_plaintext_and_a_permissive_one_does()
    {
        var cases = Gen.Zip(Peers.ListOf(), Grants.ListOf()).ToArbitrary();
        Prop.ForAll(cases, input =>
        {
            var (peers, grants) = (input.Item1.ToList(), input.Item2.ToList());
            var (all, peersOnly) = (WorldOf(peers, grants), WorldOf(peers, []));
            foreach (var ns in Namespaces)
                foreach (var app in new[] { "a", "b" })
                    foreach (var port in Ports)
                    {
                        var mode = EffectiveMode(peers, ns, app, port);
                        if (mode == "STRICT") Assert.False(all.Allows(ns, app, null, port), $"{ns}/{app}:{port} is STRICT and takes plaintext");
                        // The root namespace and inherited DISABLE ports are stricter than written (reference 5.5).
                        if (mode == "PERMISSIVE" && ns != Root) Assert.True(peersOnly.Allows(ns, app, null, port), $"{ns}/{app}:{port} is PERMISSIVE and refuses plaintext");
                        Assert.True(peersOnly.Allows(ns, app, "spiffe://cluster.local/ns/one/sa/x", port));
                        if (grants.Any(g => g.Denies && (g.Namespace == ns || g.Namespace == Root) && (g.App is null || g.App == app) && (g.Port is null || g.Port == port)))
                            Assert.False(all.Allows(ns, app, "spiffe://cluster.local/ns/one/sa/x", port));
                    }
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(150).WithEndSize(8));
    }

    private const string Peer1 = "spiffe://cluster.local/ns/one/sa/x";

    private static readonly Gen<JsonObject> Rules =
        from principal in Gen.Elements<string?>(null, "*", "cluster.local/ns/one/sa/x", "cluster.local/ns/two/*", "*/sa/y")
        from port in Gen.Elements<int?>(null, 80, 443)
        from method in Gen.Elements<string?>(null, null, "GET")
        select Rule(principal, port, method);

    private static JsonObject Rule(string? principal, int? port, string? method)
    {
        var rule = new JsonObject();
        if (principal is not null) rule["from"] = new JsonArray(new JsonObject { ["source"] = new JsonObject { ["principals"] = new JsonArray(principal) } });
        var operation = new JsonObject();
        if (port is not null) operation["ports"] = new JsonArray($"{port}");
        if (method is not null) operation["methods"] = new JsonArray(method);
        if (operation.Count > 0) rule["to"] = new JsonArray(new JsonObject { ["operation"] = operation });
        return rule;
    }

    private static readonly Gen<JsonObject> Policies =
        from ns in Gen.Elements(Namespaces)
        from app in App
        from action in Gen.Elements("ALLOW", "DENY")
        from rules in Rules.ListOf()
        select new JsonObject
        {
            ["kind"] = "AuthorizationPolicy",
            ["metadata"] = new JsonObject { ["namespace"] = ns },
            ["spec"] = new JsonObject
            {
                ["selector"] = app is null ? null : new JsonObject { ["matchLabels"] = new JsonObject { ["app"] = app } },
                ["action"] = action,
                ["rules"] = new JsonArray([.. rules.Take(3).Select(r => r.DeepClone())]),
            },
        };

    private static PolicyWorld WorldOf(IEnumerable<JsonObject> policies, MeshScope? scope = null)
    {
        var world = WorldOf([], [], scope);
        foreach (var policy in policies) world.With(policy.DeepClone().AsObject());
        return world;
    }

    [Fact]
    [Scenario("T-32")]
    public void Policies_together_admit_nothing_that_each_on_its_own_denies_and_no_denial_is_undone()
    {
        Prop.ForAll(Gen.Zip(Policies.ListOf(), Peers.ListOf()).ToArbitrary(), input =>
        {
            var authorizations = input.Item1.Select((p, i) => { p["metadata"]!["name"] = $"a{i}"; return p; }).ToList();
            var peers = input.Item2.Select((p, i) => p.ToJson(i)).ToList();
            var each = authorizations.Concat(peers).Select(policy => (Policy: policy, World: WorldOf([policy]))).ToList();
            var together = WorldOf(authorizations.Concat(peers));
            foreach (var ns in Namespaces)
                foreach (var (app, port) in new[] { ("a", 80), ("a", 9090), ("b", 443) })
                    foreach (var peer in new[] { null, Peer1, "spiffe://cluster.local/ns/two/sa/y" })
                    {
                        var denying = each.Where(e => !e.World.Allows(ns, app, peer, port)).ToList();
                        if (each.Count > 0 && denying.Count == each.Count) Assert.False(together.Allows(ns, app, peer, port), $"each denies {peer} to {ns}/{app}:{port}, together they do not");
                        if (denying.Exists(e => (string?)e.Policy["spec"]!["action"] == "DENY")) Assert.False(together.Allows(ns, app, peer, port), $"a DENY for {peer} to {ns}/{app}:{port} was undone");
                        // Who allows has to say so: with an ALLOW policy about the workload, somebody's has to allow the connection.
                        var allowing = authorizations.Where(p => (string?)p["spec"]!["action"] == "ALLOW").ToList();
                        if (allowing.Count > 0 && !WorldOf(allowing).Allows(ns, app, peer, port)) Assert.False(together.Allows(ns, app, peer, port));
                    }
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(60).WithEndSize(6));
    }

    private static readonly JsonObject OfRequests = new()
    {
        ["kind"] = "AuthorizationPolicy",
        ["metadata"] = new JsonObject { ["namespace"] = "one", ["name"] = "http" },
        ["spec"] = new JsonObject
        {
            ["selector"] = new JsonObject { ["matchLabels"] = new JsonObject { ["app"] = "a" } },
            ["action"] = "DENY",
            ["rules"] = new JsonArray(Rule(null, null, "GET"), Rule("*/sa/y", null, "GET")),
        },
    };

    [Fact]
    [Scenario("T-32")]
    public void A_denial_of_requests_alone_denies_every_connection_and_says_so()
    {
        var world = WorldOf([OfRequests]);
        Assert.False(world.Allows("one", "a", Peer1));
        Assert.False(world.Allows("one", "a", "spiffe://cluster.local/ns/two/sa/y"));
        Assert.True(world.Allows("one", "b", Peer1));   // whom it is not about
        var verdict = world.VerdictOn("one", "http");
        Assert.Equal((true, "UnsupportedValue"), (verdict.IsAccepted, verdict.Reason));
        Assert.Contains("rules[0]: ztunnel cannot judge methods; a waypoint is needed for that. A DENY rule that spares nobody for certain without them denies every connection", verdict.Message, StringComparison.Ordinal);
        Assert.Contains("rules[1]: ztunnel cannot judge methods", verdict.Message, StringComparison.Ordinal);
    }

    [Fact]
    [Scenario("T-32")]
    public void As_in_Istio_it_never_fires_where_that_is_asked_for_and_says_so()
    {
        var world = WorldOf([OfRequests], new MeshScope { IgnoresUnjudgedDenials = true });
        Assert.True(world.Allows("one", "a", Peer1));
        Assert.False(world.Allows("one", "a", "spiffe://cluster.local/ns/two/sa/y"));
        Assert.Contains("A DENY rule with nothing else in it never fires.", world.VerdictOn("one", "http").Message, StringComparison.Ordinal);
    }

    /// <summary>One alternative of <c>from</c> or <c>to</c>: what ztunnel can judge of it, and whether it has something that ztunnel cannot.</summary>
    private sealed record Part(bool IsSource, string? Principal, int? Port, bool OfRequests)
    {
        public JsonObject ToJson()
        {
            var fields = new JsonObject();
            if (Principal is not null) fields["principals"] = new JsonArray(Principal);
            if (Port is not null) fields["ports"] = new JsonArray($"{Port}");
            if (OfRequests) fields[IsSource ? "requestPrincipals" : "paths"] = new JsonArray("/x");
            return new JsonObject { [IsSource ? "source" : "operation"] = fields };
        }

        /// <summary>Whether some request on the connection can match it.</summary>
        public bool CanMatch(string peer, int port) => (Principal is null || $"spiffe://{Principal}" == peer) && (Port is null || Port == port);
    }

    private static readonly Gen<Part> Sources =
        from principal in Gen.Elements<string?>(null, "cluster.local/ns/one/sa/x", "cluster.local/ns/two/sa/y")
        from ofRequests in Gen.Elements(true, false)
        select new Part(true, principal, null, ofRequests || principal is null);

    private static readonly Gen<Part> Operations =
        from port in Gen.Elements<int?>(null, 80, 443)
        from ofRequests in Gen.Elements(true, false)
        select new Part(false, null, port, ofRequests || port is null);

    [Fact]
    [Scenario("T-32", "L4-105")]
    public void Whatever_request_a_DENY_rule_is_about_its_connection_is_denied()
    {
        Prop.ForAll(Gen.Zip(Sources.ListOf(), Operations.ListOf()).ToArbitrary(), input =>
        {
            var (from, to) = (input.Item1.Take(3).ToList(), input.Item2.Take(3).ToList());
            var rule = new JsonObject();
            if (from.Count > 0) rule["from"] = new JsonArray([.. from.Select(part => part.ToJson())]);
            if (to.Count > 0) rule["to"] = new JsonArray([.. to.Select(part => part.ToJson())]);
            var policy = OfRequests.DeepClone().AsObject();
            policy["spec"]!["rules"] = new JsonArray(rule);
            var world = WorldOf([policy]);
            foreach (var peer in new[] { Peer1, "spiffe://cluster.local/ns/two/sa/y" })
                foreach (var port in new[] { 80, 443 })
                    if ((from.Count == 0 || from.Exists(part => part.CanMatch(peer, port))) && (to.Count == 0 || to.Exists(part => part.CanMatch(peer, port))))
                        Assert.False(world.Allows("one", "a", peer, port), $"{rule.ToJsonString()} lets {peer} in at {port}");
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(200).WithEndSize(3));
    }
}
