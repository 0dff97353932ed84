using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;
using AmbientMesh.Lab.Controllers;
using AmbientMesh.Lab.Network;

namespace AmbientMesh.Lab.Nodes;

/// <summary>Lives one pod's life on its node: volumes, sandbox, network, init containers, containers, end.</summary>
#pragma warning disable CA1001 // its two cancellation sources are still asked after the worker has ended; they hold nothing once fired
internal sealed class PodWorker : IPodContext
#pragma warning restore CA1001
{
    private static readonly TimeSpan s_sandboxRetry = TimeSpan.FromSeconds(11);
    private static readonly TimeSpan s_mountRetry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_networkRetry = TimeSpan.FromSeconds(2);
    private static readonly WriteOptions s_writes = WriteOptions.By("kubelet");

    private readonly CancellationTokenSource _stop = new();
    private readonly CancellationTokenSource _kill = new();
    private readonly DateTimeOffset _startTime;
    private readonly PodVolumes _volumes;
    private readonly IReadOnlyList<ContainerRunner> _containers;
    private readonly List<Task> _running = [];
    private volatile JsonObject _pod;
    private PodSandbox? _sandbox;
    private CniSandbox? _cni;
    private CniResult? _network;
    private bool _addressesShown;
    private volatile bool _isAbandoned;

    /// <param name="isRestarted">The node was started again: the pod ran on it before.</param>
    public PodWorker(KubeletContext kubelet, JsonObject pod, bool isRestarted = false)
    {
        (Kubelet, _pod, _startTime) = (kubelet, pod, kubelet.Clock.GetUtcNow());
        Uid = pod.Uid();
        _volumes = new PodVolumes(kubelet.Node, Uid, new VolumeContents(kubelet, kubelet.Tokens, kubelet.Clock), kubelet.Clock);
        _containers =
        [
            .. pod.InitContainers().Select(c => new ContainerRunner(this, c, c.IsSidecar() ? ContainerRole.Sidecar : ContainerRole.Init, Restarts(c))),
            .. pod.Containers().Select(c => new ContainerRunner(this, c, ContainerRole.Main, Restarts(c))),
        ];
        Ended = Task.CompletedTask;

        int Restarts(JsonObject container) => !isRestarted ? 0 : 1 + (int)(pod.Objects("status", "containerStatuses").Concat(pod.Objects("status", "initContainerStatuses"))
            .FirstOrDefault(s => s.Text("name") == container.Text("name"))?.Number("restartCount") ?? 0);
    }

    public string Uid { get; }
    public KubeletContext Kubelet { get; }

    /// <summary>Completes when nothing of the pod is left on the node.</summary>
    public Task Ended { get; private set; }

    public IReadOnlyList<ContainerRunner> Containers => _containers;
    public PodSandbox Sandbox => _sandbox ?? throw new InvalidOperationException("the pod has no sandbox");
    public IReadOnlyDictionary<string, string> Volumes { get; private set; } = new Dictionary<string, string>();
    public string Address => Addresses.Count > 0 ? Addresses[0] : "";

    public JsonObject Pod
    {
        get
        {
            var pod = _pod.Copy();
            var status = pod.Ensure("status");
            status["hostIP"] ??= Kubelet.NodeAddresses[0];
            status["hostIPs"] ??= new JsonArray([.. Kubelet.NodeAddresses.Select(a => new JsonObject { ["ip"] = a })]);
            if (Addresses.Count == 0) return pod;
            status["podIP"] = Addresses[0];
            status["podIPs"] = new JsonArray([.. Addresses.Select(a => new JsonObject { ["ip"] = a })]);
            return pod;
        }
    }

    private IReadOnlyList<string> Addresses => _pod.IsHostNetwork() ? Kubelet.NodeAddresses : _network?.Addresses ?? [];

    public void Start() => Ended = Task.Run(LiveAsync, CancellationToken.None);

    /// <summary>The object has changed: labels, or it is to end.</summary>
    public void Update(JsonObject pod)
    {
        _pod = pod;
        if (!pod.IsTerminating()) return;
        if (!_stop.IsCancellationRequested) _kill.CancelAfter(pod.GracePeriod());
        else if (pod.GracePeriod() < TimeSpan.FromSeconds(2)) _kill.CancelAfter(pod.GracePeriod());
        _stop.Cancel();
    }

    /// <summary>The object is gone without the kubelet's doing: end at once.</summary>
    public void Kill()
    {
        _kill.Cancel();
        _stop.Cancel();
    }

    /// <summary>The node's power was cut: nothing is tidied up and nothing is told; <see cref="Ended"/> completes when nothing is waited for any more.</summary>
    public void Abandon()
    {
        _isAbandoned = true;
        Kill();
    }

    /// <summary>Something its volumes are made from has changed.</summary>
    public void RefreshVolumes() => _volumes.Refresh(Pod);

    public bool DependsOn(string source) => _pod.Objects("spec", "volumes").SelectMany(VolumeContents.Sources).Contains(source);

    public void Publish()
    {
        if (_isAbandoned) return;
        if (_sandbox is not null && _containers.Any(c => c.Record.State is not ContainerState.Waiting || c.Record.Last is not null)) _addressesShown = true;
        var view = new PodView([.. _containers.Select(c => c.Record)], _sandbox is not null && (_network is not null || _sandbox.HostNetwork),
            _addressesShown || _pod.IsHostNetwork() ? Addresses : [], Kubelet.NodeAddresses, _startTime);
        try
        {
            Kubelet.Store.ModifyStatus(Resources.Pods, _pod.Namespace(), _pod.Name(), pod =>
            {
                if (pod.Uid() == Uid) PodStatus.Write(pod, view, Kubelet.Clock.GetUtcNow());
            }, s_writes);
        }
        catch (ApiException)
        {
            // Deleted meanwhile; the watch tells.
        }
    }

    private async Task LiveAsync()
    {
        Publish();
        while (!await TryRunAsync())
        {
            await TearDownAsync();
            await Task.WhenAny(Task.Delay(s_sandboxRetry, Kubelet.Clock, CancellationToken.None), _stop.Token.WhenCancelledAsync());
            if (_isAbandoned) return;
            if (_stop.IsCancellationRequested) break;
        }
        if (_isAbandoned) return;
        await EndAsync();
        if (_stop.IsCancellationRequested && !_isAbandoned) Forget();
    }

    /// <summary>False when the machine failed us; what was begun is then taken down and begun again.</summary>
    private async Task<bool> TryRunAsync()
    {
        try
        {
            await StartAsync(_stop.Token);
            await Task.WhenAll(_running).WaitAsync(_stop.Token);
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // To end before everything had begun.
        }
        catch (Exception failed) when (failed is IOException or UnauthorizedAccessException or System.ComponentModel.Win32Exception)
        {
            Kubelet.Events.Warning(_pod, "FailedSync", $"error syncing pod: {failed.Message}");
            return false;
        }
        return true;
    }

    // ---- beginning ---------------------------------------------------------------------------------------------------------

    private async Task StartAsync(CancellationToken stop)
    {
        await MountAsync(stop);
        await NetworkReadyAsync(stop);
        while (!await TrySandboxAsync(stop)) await Task.Delay(s_sandboxRetry, Kubelet.Clock, stop);
        await WriteEtcFilesAsync(stop);
        Publish();
        foreach (var init in _containers.Where(c => c.Role != ContainerRole.Main))
        {
            var run = init.RunAsync(stop);
            _running.Add(run);
            if (init.Role == ContainerRole.Sidecar)
            {
                await init.Started.WaitAsync(stop);
                continue;
            }
            await run.WaitAsync(stop);
            stop.ThrowIfCancellationRequested();
            if (init.Record.State is not ContainerState.Terminated { ExitCode: 0 }) return;   // restartPolicy Never: the pod has failed
        }
        _running.AddRange(_containers.Where(c => c.Role == ContainerRole.Main).Select(c => c.RunAsync(stop)));
        var main = _running.TakeLast(_containers.Count(c => c.Role == ContainerRole.Main));
        await Task.WhenAll(main).WaitAsync(stop);   // a run ends by itself, or by being stopped once this has returned
        // Sidecars do not keep a finished pod alive.
        foreach (var sidecar in _containers.Where(c => c.Role == ContainerRole.Sidecar)) await sidecar.StopAsync($"Stopping container {sidecar.Name}", _kill.Token);
    }

    private async Task MountAsync(CancellationToken stop)
    {
        while (true)
        {
            try
            {
                Volumes = await _volumes.MountAsync(Pod, stop);
                return;
            }
            catch (VolumeException missing)
            {
                Kubelet.Events.Warning(_pod, "FailedMount", missing.Message);
                await Task.Delay(s_mountRetry, Kubelet.Clock, stop);
            }
        }
    }

    private async Task NetworkReadyAsync(CancellationToken stop)
    {
        while (!_pod.IsHostNetwork() && await Kubelet.Cni.ProblemAsync(stop) is { } problem)
        {
            Kubelet.Events.Warning(_pod, "NetworkNotReady", $"network is not ready: {NetworkProblem(problem)}");
            await Task.Delay(s_networkRetry, Kubelet.Clock, stop);
        }
    }

    /// <summary>The kubelet's words for a node without a network.</summary>
    internal static string NetworkProblem(string problem) =>
        $"container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: {problem}";

    private async Task<bool> TrySandboxAsync(CancellationToken stop)
    {
        var pod = Pod;
        var cgroup = Cgroups.PodPath(pod.QosClass(), Uid);
        var sandbox = await PodSandbox.CreateAsync(Kubelet.Node, Kubelet.Cgroups, cgroup, pod.Hostname(), pod.IsHostNetwork(), stop);
        if (pod.IsHostNetwork())
        {
            _sandbox = sandbox;
            return true;
        }
        var cni = CniSandboxFor(pod, sandbox, cgroup, Kubelet.Node.Families);
        try
        {
            _network = await Kubelet.Cni.AddAsync(cni, stop);
            (_sandbox, _cni) = (sandbox, cni);
            return true;
        }
        catch (CniException failed)
        {
            Kubelet.Events.Warning(pod, "FailedCreatePodSandBox",
                $"Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"{sandbox.Id}\": {failed.Message}");
            await UndoAsync(cni, sandbox);
            return false;
        }
        catch (OperationCanceledException)
        {
            await UndoAsync(cni, sandbox);
            throw;
        }
    }

    private async Task UndoAsync(CniSandbox cni, PodSandbox sandbox)
    {
        try
        {
            await Kubelet.Cni.DeleteAsync(cni, null, CancellationToken.None);
        }
        catch (CniException)
        {
            // The sandbox goes anyway; the address is given back by the plugin's own cleaning.
        }
        await sandbox.RemoveAsync(CancellationToken.None);
    }

    private static CniSandbox CniSandboxFor(JsonObject pod, PodSandbox sandbox, string cgroup, AddressFamilies families)
    {
        var annotations = pod.Annotations();
        annotations["kubernetes.io/config.seen"] = pod.Text("metadata", "creationTimestamp") ?? "";
        annotations["kubernetes.io/config.source"] = "api";
        var ports = pod.Containers().SelectMany(c => c.Objects("ports")).Where(p => p.Number("hostPort") is > 0)
            .Select(p => new PortMapping((int)p.Number("hostPort")!, (int)p.Number("containerPort")!, p.Text("protocol") ?? "TCP", p.Text("hostIP") ?? ""));
        return new CniSandbox(sandbox.Id, pod.Namespace(), pod.Name(), pod.Uid(), sandbox.NetworkNamespacePath, cgroup, annotations, [.. ports],
            [LabAddresses.DnsServiceOf(families).ToString()], PodEtcFiles.Searches(pod.Namespace()));
    }

    private async Task WriteEtcFilesAsync(CancellationToken stop)
    {
        var (pod, folder) = (Pod, Kubelet.Node.HostPath(_volumes.Directory));
        Directory.CreateDirectory(folder);
        await File.WriteAllTextAsync($"{folder}/etc-hosts", PodEtcFiles.Hosts(pod, Addresses), stop);
        await File.WriteAllTextAsync($"{folder}/hostname", pod.Hostname() + "\n", stop);
        var nodeFile = File.Exists("/etc/resolv.conf") ? await File.ReadAllTextAsync("/etc/resolv.conf", stop) : "";
        await File.WriteAllTextAsync($"{folder}/resolv.conf", PodEtcFiles.ResolvConf(pod, nodeFile, Kubelet.Node.Families), stop);
    }

    // ---- end ---------------------------------------------------------------------------------------------------------------

    private async Task EndAsync()
    {
        await TearDownAsync();
        if (_stop.IsCancellationRequested)
        {
            await _volumes.RemoveAsync(CancellationToken.None);
            return;
        }
        Publish();
        await _stop.Token.WhenCancelledAsync();   // finished by itself: its object and logs stay until it is deleted
        await _volumes.RemoveAsync(CancellationToken.None);
    }

    private async Task TearDownAsync()
    {
        if (_isAbandoned) return;
        await StopContainersAsync(ContainerRole.Main);
        await StopContainersAsync(ContainerRole.Init);
        await StopContainersAsync(ContainerRole.Sidecar);
        await Task.WhenAll(_running.Select(r => r.ContinueWith(_ => { }, TaskScheduler.Default)));   // how they failed has been reported
        _running.Clear();
        if (_isAbandoned) return;
        Publish();
        if (_cni is not null) await DisconnectAsync(_cni);
        if (_sandbox is { } sandbox) await sandbox.RemoveAsync(CancellationToken.None);
        (_sandbox, _cni) = (null, null);
    }

    private Task StopContainersAsync(ContainerRole role) =>
        Task.WhenAll(_containers.Where(c => c.Role == role).Select(c => c.StopAsync($"Stopping container {c.Name}", _kill.Token)));

    private async Task DisconnectAsync(CniSandbox cni)
    {
        while (true)
        {
            try
            {
                await Kubelet.Cni.DeleteAsync(cni, _network, CancellationToken.None);
                return;
            }
            catch (CniException failed)
            {
                Kubelet.Events.Warning(_pod, "FailedKillPod",
                    $"error killing pod: failed to \"KillPodSandbox\" for \"{Uid}\" with KillPodSandboxError: \"rpc error: code = Unknown desc = " +
                    $"failed to destroy network for sandbox \\\"{cni.Id}\\\": {failed.Message.Replace("\"", "\\\"")}\"");
                await Task.Delay(s_sandboxRetry, Kubelet.Clock, CancellationToken.None);
            }
        }
    }

    private void Forget()
    {
        try
        {
            if (Kubelet.Store.TryGet(Resources.Pods, _pod.Namespace(), _pod.Name())?.Uid() == Uid)
                Kubelet.Store.Delete(Resources.Pods, _pod.Namespace(), _pod.Name(), DeleteOptions.Now with { Uid = Uid });
        }
        catch (ApiException)
        {
            // Gone already.
        }
    }
}
