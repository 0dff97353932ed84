using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;
using AmbientMesh.Lab.Controllers;
using AmbientMesh.Lab.Network;

namespace AmbientMesh.Lab.Nodes;

/// <summary>The kubelet of one node: registers it, keeps its conditions and lease, and runs the pods bound to it.</summary>
internal sealed class Kubelet
{
    /// <summary>On a Node: another value cuts its power and starts it again.</summary>
    public const string RebootAnnotation = "lab.ambientmesh.io/reboot";

    /// <summary>On a Node: the value of <see cref="RebootAnnotation"/> that was done last.</summary>
    public const string RebootedAnnotation = "lab.ambientmesh.io/rebooted";

    private static readonly TimeSpan s_abandon = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan s_leasePeriod = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_networkPeriod = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan s_volumePeriod = TimeSpan.FromSeconds(30);
    private static readonly WriteOptions s_writes = WriteOptions.By("kubelet");
    private readonly KubeletContext _context;
    private readonly ConcurrentDictionary<string, PodWorker> _workers = new();
    private readonly Action<string> _report;
    private readonly Func<CancellationToken, Task> _startNode;
    private volatile bool _isDown;

    /// <param name="startNode">Starts and connects the node whose power was cut.</param>
    /// <param name="report">Gets a line for each thing that went wrong and is not an object's fault.</param>
    public Kubelet(NodeHost node, Cgroups cgroups, ImageStore images, ClusterStore store, TokenSource tokens, Func<CancellationToken, Task> startNode, Action<string> report)
    {
        string[] addresses = [.. LabAddresses.NodeAddresses(node.Number, node.Families).Select(address => address.ToString())];
        _context = new KubeletContext(node, cgroups, images, store, new EventRecorder(store, "kubelet", node.Name), tokens, store.Clock, addresses);
        (_report, _startNode) = (report, startNode);
    }

    public string NodeName => _context.Node.Name;
    private ClusterStore Store => _context.Store;

    /// <summary>The worker of a pod; null when this node does not run it.</summary>
    public PodWorker? Find(string podUid) => _workers.GetValueOrDefault(podUid);

    /// <summary>Makes the Node object; ready at once when the CNI is.</summary>
    public async Task RegisterAsync(CancellationToken cancellationToken)
    {
        var node = NodeObject.New(_context.Node, _context.NodeAddresses);
        var problem = await _context.Cni.ProblemAsync(cancellationToken);
        if (Store.TryGet(Resources.Nodes, "", NodeName) is null) Store.Create(Resources.Nodes, node, s_writes);
        WriteNodeStatus(problem);
        RenewLease();
    }

    /// <summary>Runs until cancelled; the pods' processes are left to the node's end.</summary>
    public Task RunAsync(CancellationToken cancellationToken) => Task.WhenAll(
        WatchPodsAsync(cancellationToken),
        WatchNodeAsync(cancellationToken),
        WatchSourcesAsync(Resources.ConfigMaps, cancellationToken),
        WatchSourcesAsync(Resources.Secrets, cancellationToken),
        EveryAsync(s_leasePeriod, RenewLease, cancellationToken),
        EveryAsync(s_volumePeriod, RefreshVolumes, cancellationToken),
        HeartbeatAsync(cancellationToken));

    private async Task WatchPodsAsync(CancellationToken cancellationToken)
    {
        using var watch = Store.Watch(Resources.Pods, new Selection(Fields: FieldSelector.Of("spec.nodeName", NodeName)));
        await foreach (var change in watch.ReadAllAsync(cancellationToken))
        {
            var uid = change.Object.Uid();
            switch (change.Type)
            {
                case WatchEventType.Added or WatchEventType.Modified:
                    Sync(uid, change.Object);
                    break;
                case WatchEventType.Deleted when _workers.TryGetValue(uid, out var gone):
                    gone.Kill();
                    break;
            }
        }
    }

    /// <summary>Cuts the node's power and starts it again whenever the annotation on its Node gets another value; tells by a second annotation when it is up.</summary>
    private async Task WatchNodeAsync(CancellationToken cancellationToken)
    {
        using var watch = Store.Watch(Resources.Nodes, new Selection(Fields: FieldSelector.Of("metadata.name", NodeName)));
        await foreach (var change in watch.ReadAllAsync(cancellationToken))
        {
            var (asked, done) = (change.Object.Annotations().GetValueOrDefault(RebootAnnotation), change.Object.Annotations().GetValueOrDefault(RebootedAnnotation));
            if (change.Type == WatchEventType.Deleted || asked is null || asked == done) continue;
            await RebootAsync(cancellationToken);
            Store.Modify(Resources.Nodes, "", NodeName, node => node.Ensure("metadata", "annotations")[RebootedAnnotation] = asked, s_writes);
        }
    }

    private async Task RebootAsync(CancellationToken cancellationToken)
    {
        _isDown = true;
        var workers = _workers.Values.ToArray();
        foreach (var worker in workers) worker.Abandon();
        await _context.Node.CutPowerAsync();
        // What a worker still waits for may never come; abandoned, it does nothing more with the node.
        await Task.WhenAny(Task.WhenAll(workers.Select(w => w.Ended)), Task.Delay(s_abandon, Store.Clock, cancellationToken));
        _workers.Clear();
        _report($"kubelet {NodeName}: the node's power was cut");
        await _startNode(cancellationToken);
        _isDown = false;
        // In any order: nobody promises one after a power cut.
        var pods = Store.List(Resources.Pods, new Selection(Fields: FieldSelector.Of("spec.nodeName", NodeName))).Items.Where(p => !p.IsFinished()).ToArray();
        Random.Shared.Shuffle(pods);
        foreach (var pod in pods) Begin(pod.Uid(), pod, isRestarted: true);
        _report($"kubelet {NodeName}: the node is up again with {pods.Length} pods");
    }

    private void Sync(string uid, JsonObject pod)
    {
        if (_isDown) return;   // what happens meanwhile is found when it is up
        if (_workers.TryGetValue(uid, out var known))
        {
            known.Update(pod);
            return;
        }
        Begin(uid, pod, isRestarted: false);
    }

    private void Begin(string uid, JsonObject pod, bool isRestarted)
    {
        var worker = new PodWorker(_context, pod, isRestarted);
        _workers[uid] = worker;
        worker.Start();
        worker.Update(pod);
        _ = ForgetWhenEndedAsync(uid, worker);
    }

    private async Task ForgetWhenEndedAsync(string uid, PodWorker worker)
    {
        try
        {
            await worker.Ended;
        }
        catch (Exception failed) when (failed is IOException or InvalidOperationException or ApiException or UnauthorizedAccessException)
        {
            _report($"kubelet {NodeName}: pod {uid} could not be run: {failed.Message}");
            _context.Events.Warning(worker.Pod, "FailedSync", failed.Message);
        }
        _workers.TryRemove(KeyValuePair.Create(uid, worker));
    }

    private async Task WatchSourcesAsync(GroupResource resource, CancellationToken cancellationToken)
    {
        using var watch = Store.Watch(resource, after: Store.Revision);
        await foreach (var change in watch.ReadAllAsync(cancellationToken))
        {
            var source = $"{resource.Resource}/{change.Object.Name()}";
            foreach (var worker in _workers.Values.Where(w => w.Pod.Namespace() == change.Object.Namespace() && w.DependsOn(source))) worker.RefreshVolumes();
        }
    }

    private void RefreshVolumes()
    {
        if (_isDown) return;
        foreach (var worker in _workers.Values) worker.RefreshVolumes();
    }

    private async Task HeartbeatAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            if (!_isDown) WriteNodeStatus(await _context.Cni.ProblemAsync(cancellationToken));
            await Task.Delay(s_networkPeriod, Store.Clock, cancellationToken);
        }
    }

    private void WriteNodeStatus(string? problem)
    {
        try
        {
            Store.ModifyStatus(Resources.Nodes, "", NodeName, node => NodeObject.WriteStatus(node, _context.NodeAddresses, problem, Store.Clock.GetUtcNow()), s_writes);
        }
        catch (ApiException)
        {
            // The Node object was deleted by hand; a restart of the lab brings it back.
        }
    }

    private void RenewLease()
    {
        var now = KubernetesTime.Micro(Store.Clock.GetUtcNow());
        try
        {
            if (Store.TryGet(Resources.Leases, "kube-node-lease", NodeName) is not null)
                Store.Modify(Resources.Leases, "kube-node-lease", NodeName, lease => lease.Ensure("spec")["renewTime"] = now, s_writes);
            else
                Store.Create(Resources.Leases, NodeObject.Lease(NodeName, Store.TryGet(Resources.Nodes, "", NodeName), now), s_writes);
        }
        catch (ApiException refused)
        {
            _report($"kubelet {NodeName}: its lease could not be renewed: {refused.Message}");
        }
    }

    private async Task EveryAsync(TimeSpan period, Action work, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(period, Store.Clock);
        while (await timer.WaitForNextTickAsync(cancellationToken)) work();
    }
}
