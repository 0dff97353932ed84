using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Bootstrap;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Tests.Api;

/// <summary>What controllers and kubelets rely on in the store itself.</summary>
public sealed class ClusterStoreTests
{
    private static readonly GroupResource ConfigMaps = new("", "configmaps");
    private static readonly GroupResource Pods = new("", "pods");
    private static readonly GroupResource Deployments = new("apps", "deployments");
    private readonly ClusterStore _store = new(new ResourceRegistry(), TimeProvider.System);

    private static JsonObject ConfigMap(string name, string value = "1") => new()
    {
        ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "demo", ["labels"] = new JsonObject { ["v"] = value } },
        ["data"] = new JsonObject { ["a"] = value },
    };

    private static JsonObject Pod(string name, string? node = null)
    {
        var spec = new JsonObject { ["containers"] = new JsonArray(new JsonObject { ["name"] = "c", ["image"] = "x:1" }) };
        if (node is not null) spec["nodeName"] = node;
        return new JsonObject { ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "demo" }, ["spec"] = spec };
    }

    [Fact]
    public void A_stale_update_is_refused_and_changes_nothing()
    {
        var first = _store.Create(ConfigMaps, ConfigMap("a"));
        _store.Modify(ConfigMaps, "demo", "a", o => o["data"]!["a"] = "2");
        var refused = Assert.Throws<ApiException>(() => _store.Update(ConfigMaps, first.Copy()));
        Assert.True(refused.IsConflict);
        Assert.Equal("2", _store.Get(ConfigMaps, "demo", "a").Text("data", "a"));
    }

    [Fact]
    public void A_write_that_changes_nothing_keeps_the_resource_version()
    {
        var before = _store.Create(ConfigMaps, ConfigMap("a"));
        var after = _store.Modify(ConfigMaps, "demo", "a", _ => { });
        Assert.Equal(before.ResourceVersion(), after.ResourceVersion());
    }

    [Fact]
    public void Generation_counts_changes_of_the_spec_and_not_of_labels_or_status()
    {
        var template = new JsonObject { ["metadata"] = new JsonObject { ["labels"] = new JsonObject { ["app"] = "w" } }, ["spec"] = Pod("x")["spec"]!.DeepClone() };
        _store.Create(Deployments, new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = "w", ["namespace"] = "demo" },
            ["spec"] = new JsonObject { ["selector"] = new JsonObject { ["matchLabels"] = new JsonObject { ["app"] = "w" } }, ["template"] = template },
        });
        _store.Modify(Deployments, "demo", "w", o => o.Metadata().Ensure("labels")["a"] = "b");
        _store.ModifyStatus(Deployments, "demo", "w", o => o.Ensure("status")["replicas"] = 1);
        Assert.Equal(1, _store.Get(Deployments, "demo", "w").Generation());
        _store.Modify(Deployments, "demo", "w", o => o.Ensure("spec")["replicas"] = 3);
        Assert.Equal(2, _store.Get(Deployments, "demo", "w").Generation());
    }

    [Fact]
    public void The_main_path_leaves_status_alone_and_the_status_path_all_else()
    {
        _store.Create(Pods, Pod("p"));
        _store.Modify(Pods, "demo", "p", o => o.Ensure("status")["phase"] = "Failed");
        Assert.Equal("Pending", _store.Get(Pods, "demo", "p").Text("status", "phase"));
        _store.ModifyStatus(Pods, "demo", "p", o =>
        {
            o.Ensure("status")["phase"] = "Running";
            o.Ensure("spec")["nodeName"] = "elsewhere";
        });
        var pod = _store.Get(Pods, "demo", "p");
        Assert.Equal(("Running", null), (pod.Text("status", "phase"), pod.Text("spec", "nodeName")));
    }

    [Fact]
    public void A_pod_on_a_node_goes_only_when_its_kubelet_says_so()
    {
        _store.Create(Pods, Pod("p"));
        _store.BindPod("demo", "p", "node-1");
        var marked = _store.Delete(Pods, "demo", "p");
        Assert.False(marked.IsRemoved);
        Assert.Equal(30, marked.Object.Number("metadata", "deletionGracePeriodSeconds"));
        Assert.True(_store.Delete(Pods, "demo", "p", DeleteOptions.Now).IsRemoved);
        Assert.Null(_store.TryGet(Pods, "demo", "p"));
    }

    [Fact]
    public void A_pod_without_a_node_goes_at_once()
    {
        _store.Create(Pods, Pod("p"));
        Assert.True(_store.Delete(Pods, "demo", "p").IsRemoved);
    }

    [Fact]
    public void The_last_finalizer_to_go_takes_a_deleted_object_with_it()
    {
        var held = ConfigMap("held");
        held.Metadata()["finalizers"] = new JsonArray("example.test/hold");
        _store.Create(ConfigMaps, held);
        Assert.False(_store.Delete(ConfigMaps, "demo", "held").IsRemoved);
        _store.Modify(ConfigMaps, "demo", "held", o => o.Metadata().Remove("finalizers"));
        Assert.Null(_store.TryGet(ConfigMaps, "demo", "held"));
    }

    [Fact]
    public async Task A_watch_shows_what_is_there_then_changes_and_follows_its_selection()
    {
        _store.Create(ConfigMaps, ConfigMap("a", "in"));
        using var watch = _store.Watch(ConfigMaps, new Selection("demo", LabelSelector.Parse("v=in")));
        _store.Modify(ConfigMaps, "demo", "a", o => o.Ensure("metadata", "labels")["v"] = "out");
        _store.Modify(ConfigMaps, "demo", "a", o => o.Ensure("metadata", "labels")["v"] = "in");
        _store.Delete(ConfigMaps, "demo", "a");
        var seen = new List<WatchEventType>();
        await foreach (var e in watch.ReadAllAsync(Patience.Token))
        {
            seen.Add(e.Type);
            if (seen.Count == 4) break;
        }
        Assert.Equal([WatchEventType.Added, WatchEventType.Deleted, WatchEventType.Added, WatchEventType.Deleted], seen);
    }

    [Fact]
    public async Task A_watch_from_a_list_misses_nothing_and_repeats_nothing()
    {
        _store.Create(ConfigMaps, ConfigMap("a"));
        var list = _store.List(ConfigMaps);
        _store.Create(ConfigMaps, ConfigMap("b"));
        using var watch = _store.Watch(ConfigMaps, after: list.ResourceVersion);
        _store.Create(ConfigMaps, ConfigMap("c"));
        var names = new List<string>();
        await foreach (var e in watch.ReadAllAsync(Patience.Token))
        {
            names.Add(e.Object.Name());
            if (names.Count == 2) break;
        }
        Assert.Equal(["b", "c"], names);
    }

    [Fact]
    public async Task A_watch_from_before_the_history_ends_with_410()
    {
        _store.Create(ConfigMaps, ConfigMap("a"));
        _store.Create(ConfigMaps, ConfigMap("b"));
        _store.Compact(_store.Revision);
        using var watch = _store.Watch(ConfigMaps, after: 1);
        var events = new List<WatchEvent>();
        await foreach (var e in watch.ReadAllAsync(Patience.Token)) events.Add(e);
        Assert.Equal(410, Assert.Single(events).Object.Number("code"));
    }

    [Fact]
    public void The_past_can_be_listed_until_it_is_compacted()
    {
        var created = _store.Create(ConfigMaps, ConfigMap("a"));
        _store.Modify(ConfigMaps, "demo", "a", o => o["data"]!["a"] = "2");
        var past = _store.ListAt(ConfigMaps, Selection.All, created.ResourceVersion());
        Assert.Equal("1", Assert.Single(past.Items).Text("data", "a"));
        _store.Compact(_store.Revision);
        Assert.Equal(410, Assert.Throws<ApiException>(() => _store.ListAt(ConfigMaps, Selection.All, created.ResourceVersion())).Code);
    }

    [Fact]
    public void In_a_cluster_without_ipv4_services_get_ipv6_addresses_whatever_they_prefer()
    {
        _store.Create(new GroupResource("networking.k8s.io", "servicecidrs"), new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = "kubernetes" },
            ["spec"] = new JsonObject { ["cidrs"] = new JsonArray("fd00:10:96::/112") },
        });
        foreach (var policy in (string?[])[null, "SingleStack", "PreferDualStack"])
        {
            var spec = new JsonObject { ["ports"] = new JsonArray(new JsonObject { ["port"] = 80 }) };
            if (policy is not null) spec["ipFamilyPolicy"] = policy;
            var made = _store.Create(new GroupResource("", "services"), new JsonObject { ["metadata"] = new JsonObject { ["name"] = $"s-{policy?.ToLowerInvariant()}x", ["namespace"] = "demo" }, ["spec"] = spec });
            Assert.Equal(["IPv6"], made.Texts("spec", "ipFamilies"));
            Assert.StartsWith("fd00:10:96::", Assert.Single(made.Texts("spec", "clusterIPs")), StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Services_get_addresses_of_the_families_they_ask_for_and_never_one_twice()
    {
        var services = new GroupResource("", "services");
        JsonObject Service(string name, JsonObject spec)
        {
            spec["ports"] = new JsonArray(new JsonObject { ["port"] = 80 });
            return new JsonObject { ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "demo" }, ["spec"] = spec };
        }
        var both = _store.Create(services, Service("both", new JsonObject { ["ipFamilyPolicy"] = "RequireDualStack" }));
        Assert.Collection(both.Texts("spec", "clusterIPs"), v4 => Assert.StartsWith("10.96.", v4, StringComparison.Ordinal), v6 => Assert.StartsWith("fd00:10:96::", v6, StringComparison.Ordinal));
        var headless = _store.Create(services, Service("headless", new JsonObject { ["clusterIP"] = "None" }));
        Assert.Equal(["None"], headless.Texts("spec", "clusterIPs"));
        var taken = Assert.Throws<ApiException>(() => _store.Create(services, Service("dup", new JsonObject { ["clusterIP"] = both.Text("spec", "clusterIP") })));
        Assert.Contains("provided IP is already allocated", taken.Message, StringComparison.Ordinal);
        var outside = Assert.Throws<ApiException>(() => _store.Create(services, Service("far", new JsonObject { ["clusterIP"] = "192.0.2.1" })));
        Assert.Equal(422, outside.Code);
    }

    [Fact]
    public async Task What_a_deleted_owner_owned_is_collected_or_orphaned()
    {
        await using var upkeep = new ClusterUpkeep(_store, "");
        upkeep.Start();
        foreach (var propagation in (Propagation[])[Propagation.Background, Propagation.Foreground, Propagation.Orphan])
        {
            var owner = _store.Create(ConfigMaps, ConfigMap($"owner-{propagation}".ToLowerInvariant()));
            var child = ConfigMap($"child-{propagation}".ToLowerInvariant());
            child.Metadata()["ownerReferences"] = new JsonArray(new JsonObject
            {
                ["apiVersion"] = "v1",
                ["kind"] = "ConfigMap",
                ["name"] = owner.Name(),
                ["uid"] = owner.Uid(),
                ["controller"] = true,
                ["blockOwnerDeletion"] = true,
            });
            _store.Create(ConfigMaps, child);
            using var watch = _store.Watch(ConfigMaps, new Selection("demo"), _store.Revision);
            _store.Delete(ConfigMaps, "demo", owner.Name(), new DeleteOptions { Propagation = propagation });
            var gone = new List<string>();
            await foreach (var e in watch.ReadAllAsync(Patience.Token))
            {
                if (e.Type == WatchEventType.Deleted) gone.Add(e.Object.Name());
                if (gone.Count == (propagation == Propagation.Orphan ? 1 : 2)) break;
            }
            Assert.Equal(propagation == Propagation.Foreground ? [child.Name(), owner.Name()] : propagation == Propagation.Background ? [owner.Name(), child.Name()] : (string[])[owner.Name()], gone);
            if (propagation == Propagation.Orphan) Assert.Empty(_store.Get(ConfigMaps, "demo", child.Name()).OwnerReferences());
        }
    }

    [Theory]
    [InlineData("a=b", true)]
    [InlineData("a!=b", false)]
    [InlineData("a in (b, c),!z", true)]
    [InlineData("a notin (b)", false)]
    [InlineData("n>3", true)]
    [InlineData("n<3", false)]
    [InlineData("missing!=x", true)]
    public void Label_selectors_select_as_kubernetes_does(string selector, bool selects) =>
        Assert.Equal(selects, LabelSelector.Parse(selector).Matches(new Dictionary<string, string> { ["a"] = "b", ["n"] = "5" }));

    [Theory]
    [InlineData("a===b")]
    [InlineData("a in b")]
    [InlineData("a,,b")]
    [InlineData("=b")]
    public void A_malformed_label_selector_is_a_bad_request(string selector) => Assert.Equal(400, Assert.Throws<ApiException>(() => LabelSelector.Parse(selector)).Code);
}
