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
    private static readonly TimeSpan s_leasePeriod = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_networkPeriod = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan s_volumePeriod = TimeSpan.FromSeconds(30);
    private static readonly WriteOptions s_writes = WriteOptions.By("kubelet");
    private readonly KubeletContext _context;
    private readonly ConcurrentDictionary<string, PodWorker> _workers = new();
    private readonly Action<string> _report;

    /// <param name="report">Gets a line for each thing that went wrong and is not an object's fault.</param>
    public Kubelet(NodeHost node, Cgroups cgroups, ImageStore images, ClusterStore store, TokenSource tokens, Action<string> report)
    {
        string[] addresses = [LabAddresses.Node(node.Number).ToString(), LabAddresses.NodeV6(node.Number).ToString()];
        _context = new KubeletContext(node, cgroups, images, store, new EventRecorder(store, "kubelet", node.Name), tokens, store.Clock, addresses);
        _report = report;
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

    private void Sync(string uid, JsonObject pod)
    {
        if (_workers.TryGetValue(uid, out var known))
        {
            known.Update(pod);
            return;
        }
        var worker = new PodWorker(_context, pod);
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
        _workers.TryRemove(uid, out _);
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
        foreach (var worker in _workers.Values) worker.RefreshVolumes();
    }

    private async Task HeartbeatAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            WriteNodeStatus(await _context.Cni.ProblemAsync(cancellationToken));
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
