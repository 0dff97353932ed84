using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Http;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;
using AmbientMesh.Lab.Controllers;

namespace AmbientMesh.Lab.Tests.Controllers;

/// <summary>A cluster's store with its controllers stepped by hand: everything is worked on until nothing changes any more. Pods become ready when told.</summary>
internal sealed class ClusterWorld : IAsyncDisposable
{
    private readonly ApiServer _api;
    private readonly DeploymentController _deployments;
    private readonly ReplicaSetController _sets;
    private readonly DaemonSetController _daemons;
    private readonly Scheduler _scheduler;
    private readonly EndpointSliceController _slices;

    public ClusterWorld(params string[] nodes)
    {
        _api = new ApiServer(new ApiServerOptions(), Clock);
        void Report(string line) => Reports.Add(line);
        (_deployments, _sets, _daemons) = (new DeploymentController(Store, Report), new ReplicaSetController(Store, Report), new DaemonSetController(Store, Report));
        (_scheduler, _slices) = (new Scheduler(Store, Report), new EndpointSliceController(Store, Report));
        Store.Create(Resources.Namespaces, Object("""{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"demo"}}"""));
        if (Store.TryGet(new GroupResource("", "serviceaccounts"), "demo", "default") is null)
            Store.Create(new GroupResource("", "serviceaccounts"), Object("""{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default","namespace":"demo"}}"""));
        foreach (var node in nodes)
            Store.Create(Resources.Nodes, Object($$$$$$"""{"apiVersion":"v1","kind":"Node","metadata":{"name":"{{{{{{node}}}}}}","labels":{"kubernetes.io/hostname":"{{{{{{node}}}}}}"}}}"""));
    }

    public FakeTimeProvider Clock { get; } = new();
    public ClusterStore Store => _api.Store;
    public List<string> Reports { get; } = [];

    public static JsonObject Object(string json) => JsonNode.Parse(json)!.AsObject();

    public IReadOnlyList<JsonObject> Pods => Store.List(Resources.Pods, new Selection("demo")).Items;

    /// <summary>Lets every controller work until the store stands still.</summary>
    public void Settle()
    {
        for (long before = -1; before != Newest();)
        {
            before = Newest();
            foreach (var o in All(Resources.Deployments)) _deployments.Reconcile("demo", o.Name());
            foreach (var o in All(Resources.ReplicaSets)) _sets.Reconcile("demo", o.Name());
            foreach (var o in All(Resources.DaemonSets)) _daemons.Reconcile("demo", o.Name());
            foreach (var o in All(Resources.Pods)) _scheduler.Reconcile("demo", o.Name());
            foreach (var o in All(Resources.Services)) _slices.Reconcile("demo", o.Name());
        }
    }

    // Events are no work: a pod nobody can take is complained about each time.
    private long Newest() => ((GroupResource[])[Resources.Deployments, Resources.ReplicaSets, Resources.DaemonSets, Resources.Pods, Resources.EndpointSlices, Resources.Endpoints, Resources.Nodes])
        .SelectMany(r => Store.List(r).Items).Select(o => o.ResourceVersion()).DefaultIfEmpty(0).Max();

    /// <summary>What a kubelet would say of every bound pod: running and ready.</summary>
    public void MakeReady(Func<JsonObject, bool>? which = null)
    {
        foreach (var pod in Pods.Where(p => (which?.Invoke(p) ?? true) && p.Text("spec", "nodeName") is not null))
        {
            Store.ModifyStatus(Resources.Pods, "demo", pod.Name(), p =>
            {
                p.Ensure("status")["phase"] = "Running";
                p.Ensure("status")["podIP"] ??= $"10.244.1.{p.ResourceVersion() % 250 + 1}";
                p.Ensure("status")["podIPs"] ??= new JsonArray(new JsonObject { ["ip"] = p.Text("status", "podIP") });
                PodTemplates.SetCondition(p, "Ready", true, "", "", Clock.GetUtcNow());
            });
        }
    }

    /// <summary>What a kubelet does once a terminating pod's processes are gone.</summary>
    public void FinishTerminating()
    {
        foreach (var pod in Pods.Where(p => p.IsTerminating())) Store.Delete(Resources.Pods, "demo", pod.Name(), DeleteOptions.Now);
    }

    public IEnumerable<string> Events(string kind) => Store.List(new GroupResource("", "events"), new Selection("demo")).Items
        .Where(e => e.Text("involvedObject", "kind") == kind).OrderBy(e => e.ResourceVersion()).Select(e => e.Text("message")!);

    private IReadOnlyList<JsonObject> All(GroupResource resource) => Store.List(resource, new Selection("demo")).Items;

    public ValueTask DisposeAsync() => _api.DisposeAsync();
}
