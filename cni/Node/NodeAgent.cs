using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using AmbientMesh.Cni.Node.Enrollment;
using AmbientMesh.Cni.Node.Installation;
using AmbientMesh.Cni.Node.Plugin;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Cni.Node.Status;
using AmbientMesh.Cni.Node.Ztunnel;
using AmbientMesh.Kubernetes;
using AmbientMesh.Linux;
using AmbientMesh.Telemetry;
using AmbientMesh.Telemetry.Otlp;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Cni.Node;

/// <summary>The node agent from start to end: its parts, their order at start, and what stays when it ends. Source: reference 9.3 and 9.8.</summary>
/// <param name="registerMore">Adds metrics of the process, such as lost log lines.</param>
internal sealed class NodeAgent(AgentSettings settings, KubernetesClient client, TimeProvider clock, ILoggerFactory logs, Action<MetricRegistry>? registerMore = null)
{
    private const int Workers = 4;
    private const int HostRuleTries = 10;
    private static readonly TimeSpan s_betweenHostRuleTries = TimeSpan.FromSeconds(2);
    private static readonly ResourceType s_daemonSets = new("apps", "v1", "daemonsets", "DaemonSet", IsNamespaced: true);

    private readonly ILogger _log = logs.CreateLogger("cni::agent");
    private readonly EnrolledPods _pods = new(clock);
    private readonly TaskCompletionSource _serving = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private PluginInstallation? _installation;

    /// <summary>Completes when the agent serves plugin and ztunnel.</summary>
    public Task Serving => _serving.Task;

    /// <summary>Where the health port listens; null before it does.</summary>
    public IPEndPoint? Health { get; private set; }

    /// <summary>Where the metrics port listens; null before it does.</summary>
    public IPEndPoint? Monitoring { get; private set; }

    /// <summary>The verification of the enrolled pods; null before the agent serves.</summary>
    public PeriodicVerification? Verification { get; private set; }

    /// <summary>Runs until cancelled, then leaves the node in the state <see cref="ShutdownDecision"/> asks for.</summary>
    /// <exception cref="IOException">The node lacks something, or a port or socket is taken; said in one line, before anything is changed.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var tools = await HostPreflight.RunAsync(settings, cancellationToken);
        await using var events = new EventRecorder(client, ShutdownDecision.DaemonSetName, settings.NodeName, _log);
        var unenrolled = new UnenrolledPods((pod, warning, reason, message) => events.Record(pod, warning, reason, message), clock);
        var ztunnels = new ZdsServer(_pods, clock, logs.CreateLogger("cni::ztunnel"));
        var registry = new MetricRegistry();
        ProcessMetrics.Register(registry);
        registerMore?.Invoke(registry);
        var metrics = new AgentMetrics(registry, () => ztunnels.Connected, () => _pods.All.Count(pod => pod.IsComplete), () => unenrolled.Count);
        var rules = new EnrollmentRules(settings.AmbientEnabled ? settings.Selectors : [], settings.ExcludedNamespaces, settings.SystemNamespace);
        var search = new PodNamespaceSearch(settings.HostProc, tools.HostId);

        var podCache = new Informer<Pod>(client.Of<Pod>(), new InformerOptions { Selection = new Selection { FieldSelector = $"spec.nodeName={settings.NodeName}" }, Log = _log });
        var namespaces = new Informer<Namespace>(client.Of<Namespace>(), new InformerOptions { Log = _log });
        var enroller = new PodEnroller(tools.Redirection, settings.Redirect, tools.Probes, ztunnels, _pods, client.Of<Pod>(), new EnrollmentDefaults(settings.CapturesDns, DnsCaptureOf), _log);
        bool? DnsCaptureOf(string ns) => namespaces.Get("", ns) is { } found ? PodRedirectOptions.DnsCaptureOf(found.Metadata.Annotations, found.Metadata.Labels) : null;
        var reconciler = new PodReconciler(rules, podCache, namespaces, _pods, enroller, tools.Redirection, tools.Probes, ztunnels, search, unenrolled, settings.Leaving, clock, _log);
        var queue = new EnrollmentQueue(reconciler.ReconcileAsync, clock, _log);
        reconciler.LookAgain = (pod, wait) => queue.EnqueueAfter(pod, wait, cancellationToken);
        var watch = new PodWatch(podCache, namespaces, queue, metrics.PodChanged, (o, problem) => Complain(events, o, problem), _log);
        var verification = new PeriodicVerification(podCache, reconciler, search, tools.Probes, unenrolled, metrics.Repaired, (pod, message) => events.Record(pod, true, "AmbientRepaired", message), clock, _log);
        var plugin = new PluginEndpoint(rules, podCache, namespaces, reconciler, settings.HostRoot, metrics, clock, logs.CreateLogger("cni::plugin"));
        var coverage = new NodeCoverageReport(settings.NodeName, tools.Redirection.BackendName, rules, podCache, namespaces, _pods, unenrolled, () => ztunnels.Connected, () => verification.LastRound, clock);
        coverage.Register(registry);
        var status = new StatusEndpoint(settings.NodeName, tools.Redirection.BackendName, () => _installation, () => _serving.Task.IsCompletedSuccessfully, _pods, unenrolled, ztunnels, () => verification.LastRound, coverage);
        _installation = new PluginInstallation(settings, () => PluginKubeconfig.For(client.Connection), metrics, clock, logs.CreateLogger("cni::install"));

        // Ports and sockets first: one that is taken ends the agent before anything is changed.
        await using var health = HttpEndpoint.Start("health", HttpEndpoint.Wildcard(settings.HealthPort, Socket.OSSupportsIPv6), (request, _) => ValueTask.FromResult(status.Answer(request)), _log, clock);
        await using var monitoring = HttpEndpoint.Start("metrics", HttpEndpoint.Wildcard(settings.MonitoringPort, Socket.OSSupportsIPv6), (request, _) => ValueTask.FromResult(StandardEndpoints.Metrics(request, registry, MetricFormat.Prometheus)), _log, clock);
        await using var export = OtlpExport.Start(settings.Export, registry, "istio-cni-node", typeof(NodeAgent).Assembly.GetName().Version?.ToString(3) ?? "",
            [new("k8s.node.name", settings.NodeName), new("k8s.namespace.name", settings.PodNamespace)], () => { }, clock, _log);
        (Health, Monitoring, Verification) = (health.EndPoints[0], monitoring.EndPoints[0], verification);
        Directory.CreateDirectory(Path.GetDirectoryName(settings.ZdsSocket)!);
        using var ztunnelSocket = SeqPacketListener.Bind(settings.ZdsSocket);
        using var pluginSocket = PluginEndpoint.Bind(settings.PluginSocket);
        using var logSocket = PluginEndpoint.Bind(settings.LogSocket);

        using var stopping = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var running = new List<Task>();
        try
        {
            await InstallHostRulesAsync(tools.Probes, cancellationToken);
            await using var pluginServer = HttpEndpoint.StartOn(pluginSocket, plugin.AnswerAsync, _log, clock);
            await using var logServer = HttpEndpoint.StartOn(logSocket, plugin.LogAsync, _log, clock);
            running.AddRange([podCache.RunAsync(stopping.Token), namespaces.RunAsync(stopping.Token)]);
            await Task.WhenAll(podCache.WaitForSyncAsync(cancellationToken), namespaces.WaitForSyncAsync(cancellationToken));
            await TakeStockAsync(rules, podCache, enroller, tools, search, cancellationToken);
            running.AddRange([watch.RunAsync(), queue.RunAsync(Workers, stopping.Token), ztunnels.RunAsync(ztunnelSocket, stopping.Token), verification.RunAsync(stopping.Token), HurryAsync(ztunnels, unenrolled, queue, stopping.Token), _installation.RunAsync(stopping.Token)]);
            _serving.TrySetResult();
            _log.LogInformation("node {Node} is served by {Backend}; {Pods} pods were enrolled already", settings.NodeName, tools.Redirection.BackendName, _pods.All.Count);
            await await Task.WhenAny([.. running, Task.Delay(Timeout.InfiniteTimeSpan, clock, cancellationToken)]);
            cancellationToken.ThrowIfCancellationRequested();
            throw new IOException("a part of the agent ended by itself");
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            await stopping.CancelAsync();
            await Task.WhenAll(running).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await LeaveAsync(tools);
        }
        finally
        {
            await stopping.CancelAsync();
            await Task.WhenAll(running).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            foreach (var pod in _pods.All) _pods.Remove(pod.Uid);
        }
    }

    // Pods that wait for a ztunnel are looked at as soon as one is there.
    private static async Task HurryAsync(ZdsServer ztunnels, UnenrolledPods unenrolled, EnrollmentQueue queue, CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            await ztunnels.Changed.WaitAsync(cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (ztunnels.Connected == 0) continue;
            foreach (var pod in unenrolled.All) queue.Enqueue(pod.Key);
        }
    }

    private async Task InstallHostRulesAsync(IProbeExemptions probes, CancellationToken cancellationToken)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                await probes.InstallAsync(cancellationToken);
                return;
            }
            catch (IOException e) when (attempt < HostRuleTries)
            {
                _log.LogWarning("the node's probe rules cannot be written yet: {Reason}", e.Message);
                await Task.Delay(s_betweenHostRuleTries, clock, cancellationToken);
            }
        }
    }

    /// <summary>Finds the pods that were enrolled before, sets their rules right, and the probe exemptions.</summary>
    private async Task TakeStockAsync(EnrollmentRules rules, Informer<Pod> cache, PodEnroller enroller, HostTools tools, PodNamespaceSearch search, CancellationToken cancellationToken)
    {
        var processes = search.Processes();
        foreach (var pod in cache.Items.Where(pod => EnrollmentRules.Annotated(pod) == EnrollmentRules.Enabled && !EnrollmentRules.HasEnded(pod) && !rules.IsZtunnel(pod)))
        {
            var addresses = PodStep.Addresses(pod);
            var inside = search.Find(pod.Metadata.Uid ?? "", addresses, processes);
            var isComplete = inside is not null && await CheckRulesAsync(pod, inside, enroller, tools.Redirection, cancellationToken);
            _pods.Put(new EnrolledPod(pod.Metadata.Uid ?? "", pod.Key, pod.Spec.ServiceAccountName ?? "default", addresses, inside)
            {
                IsComplete = isComplete,
                Redirect = isComplete && settings.ReconcilesOnStartup ? enroller.OptionsOrNull(pod, addresses) : null,
            });
        }
        foreach (var pod in _pods.All) await tools.Probes.AddAsync(pod.Uid, pod.Addresses, cancellationToken);
        if (_pods.All.Any(pod => pod.Addresses.Count == 0)) return;   // one of the extra entries may be that pod's
        foreach (var uid in (await tools.Probes.ReadAsync(cancellationToken)).Values.Distinct().ToList())
            await tools.Probes.RemoveAsync(uid, [.. _pods.Get(uid)?.Addresses ?? []], cancellationToken);
    }

    // What cannot be set right here is tried again by the queue, which tells the pod's owner.
    private async Task<bool> CheckRulesAsync(Pod pod, NetworkNamespace inside, PodEnroller enroller, PodRedirection redirection, CancellationToken cancellationToken)
    {
        if (!settings.ReconcilesOnStartup) return true;
        try
        {
            var addresses = PodStep.Addresses(pod);
            if (await redirection.InspectAsync(inside, enroller.Options(pod, addresses), cancellationToken) == RedirectionState.Intact) return true;
            await enroller.RedirectAsync(pod, inside, addresses, cancellationToken);
            _log.LogWarning("the redirect rules of {Pod} were not as they should be and are written again", pod.Key);
            return true;
        }
        catch (Exception e) when (e is EnrollmentException or IOException)
        {
            _log.LogError("{Pod}: {Reason}", pod.Key, e.Message);
            return false;
        }
    }

    private void Complain(EventRecorder events, KubernetesObject o, string problem)
    {
        _log.LogWarning("{Problem}", problem);
        if (o is Pod pod) events.Record(pod, true, "AmbientUnknownMode", problem);
        else if (o is Namespace ns) events.Record(EventRecorder.ReferenceTo(ns), true, "AmbientUnknownMode", problem);
    }

    private async Task LeaveAsync(HostTools tools)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(10), clock);
        var decision = await DecideAsync(limit.Token);
        _log.LogInformation("the agent ends; {Outcome}: {Reason}", decision.CleansUp ? "plugin, configuration and the node's rules are removed" : "everything is left in place", decision.Reason);
        if (!decision.CleansUp) return;
        _installation?.Remove();
        try
        {
            await tools.Probes.UninstallAsync(limit.Token);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            _log.LogError("the node's probe rules cannot be removed: {Reason}", e.Message);
        }
    }

    private async Task<ShutdownDecision> DecideAsync(CancellationToken cancellationToken)
    {
        JsonObject? daemonSet = null;
        KubernetesException? failure = null;
        IReadOnlyDictionary<string, string>? labels = null;
        try
        {
            daemonSet = await client.Of(s_daemonSets).GetAsync(settings.PodNamespace, ShutdownDecision.DaemonSetName, cancellationToken);
            if (daemonSet is not null) labels = (await client.Of<Kubernetes.Node>().GetAsync(null, settings.NodeName, cancellationToken))?.Metadata.Labels;
        }
        catch (KubernetesException e)
        {
            failure = daemonSet is null ? e : null;
        }
        catch (OperationCanceledException)
        {
            failure = new KubernetesUnavailableException("no answer within 10 s", null, new Kubernetes.Status(), null);
        }
        return ShutdownDecision.Decide(settings, daemonSet, failure, labels);
    }
}
