using AmbientMesh.Identity;
using AmbientMesh.Model;
using AmbientMesh.Rpc;
using AmbientMesh.Telemetry;
using AmbientMesh.Telemetry.Otlp;
using AmbientMesh.Xds;
using AmbientMesh.Ztunnel.Admin;
using AmbientMesh.Ztunnel.Certificates;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.Explain;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.Dns;
using AmbientMesh.Ztunnel.Inbound;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.InPod.Handover;
using AmbientMesh.Ztunnel.Reporting;
using AmbientMesh.Ztunnel.State;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel;

/// <summary>The node proxy, put together. Starts serving its own ports at once, pods once discovery and the node agent have told of them.</summary>
/// <remarks>Order (L4 reference §10.6): admin, stats and readiness ports; discovery; the node agent; pods.</remarks>
public sealed class ZtunnelApp : IAsyncDisposable
{
    public const string Version = "0.1.0";
    private const string DiscoveryTask = "state manager";
    private const string DedicatedTask = "proxy";

    private readonly ZtunnelSettings _settings;
    private readonly TimeProvider _clock;
    private readonly ILoggerFactory _loggers;
    private readonly CancellationTokenSource _stopping = new();
    private readonly CancellationTokenSource _draining = new();
    private readonly TaskCompletionSource _shutdownAsked = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly List<IAsyncDisposable> _endpoints = [];
    private readonly List<RpcChannel> _channels = [];
    private readonly ProxyServices _services;
    private readonly OtlpExport? _export;
    private readonly DnsServices _dns;
    private readonly RevocationWatch? _revocations;
    private readonly SvidStore _svids;
    private PodProxy? _self;
    private Predecessor? _predecessor;
    private Task _followingAgent = Task.CompletedTask;
    private Task _running = Task.CompletedTask;

    private ZtunnelApp(ZtunnelSettings settings, ILoggerFactory loggers, TimeProvider clock)
    {
        (_settings, _loggers, _clock) = (settings, loggers, clock);
        Mesh = new MeshStore(settings.NodeName);
        settings.Static.AddTo(Mesh);
        _revocations = settings.CrlPath is { } path ? new RevocationWatch(path, clock, loggers.CreateLogger("ztunnel::tls::crl")) : null;
        _svids = new SvidStore(Fetcher(settings), clock, loggers.CreateLogger("ztunnel::identity::manager"), revoked: _revocations?.Read(), rules: settings.SvidRules);
        ProcessMetrics.Register(Metrics);
        Metrics.Gauge("istio_build", "Istio component build info.", "component", "tag").With("ztunnel", Version).Set(1);
        Metrics.GaugeFrom("ambientmesh_certificates", "Identities that this node holds a certificate of, or asks for one.", () => _svids.Count);
        Metrics.CounterFrom("ambientmesh_certificates_refused_total", "Times an identity found no room in the certificate store.", [], () => [new ObservedSeries([], _svids.Refused)]);
        Metrics.GaugeFrom("ambientmesh_ca_clock_skew_seconds", "How far the CA's clock is ahead of this node's, by the last certificate received.", () => _svids.ClockSkew.TotalSeconds);
        Metrics.GaugeFrom("ambientmesh_policies_unreadable", "Policies that were received and cannot be read; what they may cover is denied.", () => Mesh.Current.Policies.Count(policy => policy.Unreadable is not null));
        Pods = new PodTable(StartPodAsync, Readiness, Metrics, loggers.CreateLogger("ztunnel::inpod::statemanager"));
        Discovery = Discover(settings);
        _export = OtlpExport.Start(settings.Export, Metrics, "ztunnel", Version,
            [new("k8s.pod.name", settings.PodName), new("k8s.namespace.name", settings.PodNamespace), new("k8s.node.name", settings.NodeName), new("k8s.cluster.name", settings.ClusterId)],
            CountBytes, clock, loggers.CreateLogger("ztunnel::otlp"));
        var spans = _export is { } export && settings.Export.Traces is not null ? new ConnectionSpans(settings.Export, span => export.TryAdd(span)) : null;
        _services = new ProxyServices(Mesh, _svids, new ConnectionReports(new TcpMetrics(Metrics), new AccessLog(loggers), clock, spans), settings, clock, loggers)
        {
            Demand = settings.XdsOnDemand && Discovery is { } discovery ? (name, cancellationToken) => discovery.DemandAsync(TypeUrls.Address, name, cancellationToken) : null,
            Shortage = new DescriptorShortage(Readiness, Metrics, clock, loggers.CreateLogger("ztunnel::proxy")),
        };
        _dns = DnsServices.Create(settings, Metrics, loggers, clock);
        Readiness.Wait(settings.DedicatedWorkload is null ? PodTable.ReadinessTask : DedicatedTask);
        if (Discovery is not null) Readiness.Wait(DiscoveryTask);
    }

    public MeshStore Mesh { get; }
    public MetricRegistry Metrics { get; } = new();
    public Readiness Readiness { get; } = new();
    public PodTable Pods { get; }

    /// <summary>Completes when someone asks for shutdown on the admin port.</summary>
    public Task ShutdownAsked => _shutdownAsked.Task;

    /// <summary>Runs until stopped; fails when the node agent broke the protocol, and then the process must end.</summary>
    public Task Running => _running;

    /// <summary>Addresses of the admin, stats and readiness ports, in this order of kinds.</summary>
    public IReadOnlyList<HttpEndpoint> Endpoints => [.. _endpoints.OfType<HttpEndpoint>()];

    private DeltaDiscoveryClient? Discovery { get; }

    /// <summary>Opens the ports and starts.</summary>
    /// <exception cref="IOException">A port is taken; the message names it.</exception>
    public static async Task<ZtunnelApp> StartAsync(ZtunnelSettings settings, ILoggerFactory loggers, LogFilter levels, TimeProvider clock)
    {
        var app = new ZtunnelApp(settings, loggers, clock);
        try
        {
            app.OpenEndpoints(levels);
            if (settings is { DedicatedWorkload: null, OwnPod: { } own }) app._self = PodProxy.StartInboundOnly(new PodContext(own, new PodSockets(null, settings), app._services));
            app._running = Task.Run(() => app.RunAsync(app._stopping.Token), CancellationToken.None);
            return app;
        }
        catch
        {
            await app.DisposeAsync();
            throw;
        }
    }

    /// <summary>Ends gracefully: no new connections, open ones may run until the termination deadline (L4 reference §3.7).</summary>
    /// <remarks>Discovery, certificates and revocations are followed to the end: a policy that changes during the drain holds for the connections that are left.</remarks>
    public async Task DrainAsync()
    {
        await _draining.CancelAsync();   // no further pods; the agent hands them to the next proxy
        await _followingAgent.ContinueWith(static _ => { }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        var proxies = Pods.Pods.Select(p => p.Proxy).OfType<PodProxy>().Append(_self).OfType<PodProxy>();
        await Task.WhenAll(proxies.Select(proxy => proxy.DrainAsync(_settings.TerminationDeadline)));
    }

    /// <summary>Ends at once.</summary>
    public async ValueTask DisposeAsync()
    {
        await StopFollowingAsync();
        if (_self is not null) await _self.StopAsync();
        await Pods.StopAllAsync();
        await _svids.DisposeAsync();
        foreach (var endpoint in _endpoints) await endpoint.DisposeAsync();
        if (_export is not null) await _export.DisposeAsync();
        foreach (var channel in _channels) channel.Dispose();
        _predecessor?.Dispose();
        _stopping.Dispose();
        _draining.Dispose();
    }

    private async Task StopFollowingAsync()
    {
        await _stopping.CancelAsync();
        await _running.ContinueWith(static _ => { }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
    }

    private async Task RunAsync(CancellationToken cancellationToken)
    {
        var watch = new PolicyWatch(Mesh, Contexts, _loggers.CreateLogger("ztunnel::proxy::connection_manager"));
        List<Task> tasks = [watch.RunAsync(cancellationToken), IdleTrim.RunAsync(CarriedBytes, _clock, cancellationToken)];
        // A proxy for one workload gets no certificate but its own, which the first connection asks for.
        if (_settings.DedicatedWorkload is null) tasks.Add(SvidPrefetch.RunAsync(Mesh, _svids, cancellationToken));
        if (_settings.CaAddress is not null && _settings.CaRootCa != "SYSTEM") tasks.Add(new RootWatch(_settings.CaRootCa, _svids, _clock, _loggers.CreateLogger("ztunnel::identity::roots")).RunAsync(cancellationToken));
        if (_revocations is not null) tasks.Add(_revocations.RunAsync(RevokeAsync, cancellationToken));
        if (Discovery is not null)
        {
            tasks.Add(Discovery.RunAsync(cancellationToken));
            await Task.WhenAny(Discovery.AllSynced.WaitAsync(cancellationToken), Task.WhenAny(tasks));
            if (!Discovery.AllSynced.IsCompletedSuccessfully) await Task.WhenAny(tasks).Unwrap();
            Readiness.Done(DiscoveryTask);
        }
        // The pods' certificates and routes are known now; only then may their traffic be taken.
        tasks.Add(_settings.DedicatedWorkload is { } only ? ServeAsync(only, cancellationToken) : FollowAgentAsync(cancellationToken));
        await await Task.WhenAny(tasks);
    }

    /// <summary>Serves the one workload this process is for, in its own namespace.</summary>
    private Task ServeAsync(WorkloadInfo workload, CancellationToken cancellationToken)
    {
        _self = PodProxy.Start(new PodContext(workload, new PodSockets(null, _settings), _services), _dns);
        Readiness.Done(DedicatedTask);
        return Task.Delay(Timeout.InfiniteTimeSpan, _clock, cancellationToken);
    }

    /// <summary>Serves the pods of the node agent until a drain begins, or the end.</summary>
    private async Task FollowAgentAsync(CancellationToken cancellationToken)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _draining.Token);
        var log = _loggers.CreateLogger("ztunnel::inpod::handover");
        if (_settings.HandoverSocket is { } path)
        {
            _predecessor = await Predecessor.FindAsync(path, _clock, log, cancellationToken);
            _ = new HandoverServer(path, Listening, _clock, log).RunAsync(either.Token);
        }
        _followingAgent = new ZdsClient(_settings.InPodSocket, Pods, _clock, _loggers.CreateLogger("ztunnel::inpod::workloadmanager")).RunAsync(either.Token);
        await _followingAgent;
        await Task.Delay(Timeout.InfiniteTimeSpan, _clock, cancellationToken);   // draining: what is followed besides goes on
    }

    private IReadOnlyList<(string Name, System.Runtime.InteropServices.SafeHandle Socket)> Listening(AmbientMesh.Linux.NamespaceId pod) =>
        Pods.Pods.Where(p => p.Pod.Namespace.Id == pod).Select(p => p.Proxy).OfType<PodProxy>().FirstOrDefault()?.Context.Sockets.Listening ?? [];

    private async Task RevokeAsync(RevocationList revoked)
    {
        _svids.Revoke(revoked);
        var proxies = Pods.Pods.Select(p => p.Proxy).OfType<PodProxy>().Append(_self).OfType<PodProxy>();
        await Task.WhenAll(proxies.Select(proxy => proxy.RevokeAsync(revoked)));
    }

    private IEnumerable<PodContext> Contexts()
    {
        foreach (var (_, proxy) in Pods.Pods)
            if (proxy is PodProxy pod) yield return pod.Context;
        if (_self is not null) yield return _self.Context;
    }

    private void CountBytes()
    {
        foreach (var pod in Contexts())
            foreach (var connection in pod.Connections.Open) connection.CountBytes();
    }

    private long CarriedBytes()
    {
        CountBytes();
        return _services.Metrics.CarriedBytes;
    }

    private async Task<IPodProxy> StartPodAsync(Pod pod)
    {
        using var inherited = _predecessor is { } before ? await before.TakeAsync(pod.Namespace.Id, _stopping.Token) : InheritedSockets.None;
        return PodProxy.Start(new PodContext(pod.Info, new PodSockets(pod.Namespace, _settings, inherited), _services), _dns);
    }

    private void OpenEndpoints(LogFilter levels)
    {
        var log = _loggers.CreateLogger("ztunnel::hyper_util");
        var ipv6 = _settings.IPv6Enabled && System.Net.Sockets.Socket.OSSupportsIPv6 && File.Exists("/proc/net/if_inet6");
        var coverage = new CoveragePage(_settings.NodeName, _services.Metrics, Pods, CountBytes, _clock);
        coverage.Register(Metrics);
        var pages = new AdminPages(new ConfigDump(_settings, _services, Pods, Version),
            new ConnectionsPage(() => Contexts().Select(pod => pod.Connections), _services.Reports.Ended, _clock), coverage, new ExplainPage(_services, () => Pods.Pods.Select(p => (p.Pod.Info, p.Proxy is not null)), Version), levels, () => _shutdownAsked.TrySetResult());
        Open("readiness", HttpEndpoint.Wildcard(_settings.ReadinessPort, ipv6), request => StandardEndpoints.Ready(request, Readiness));
        Open("admin", HttpEndpoint.Localhost(_settings.AdminPort, ipv6), pages.Answer);
        Open("stats", HttpEndpoint.Wildcard(_settings.StatsPort, ipv6), request =>
        {
            CountBytes();
            return StandardEndpoints.Metrics(request, Metrics);
        });

        void Open(string component, IReadOnlyList<System.Net.IPEndPoint> addresses, Func<HttpEndpointRequest, HttpEndpointResponse> answer)
        {
            var endpoint = HttpEndpoint.Start(component, addresses, (request, _) => ValueTask.FromResult(answer(request)), log, _clock);
            _endpoints.Add(endpoint);
            foreach (var address in endpoint.EndPoints) log.Write(LogLevel.Information, "listener established", new("address", address), new("component", component));
        }
    }

    private DeltaDiscoveryClient? Discover(ZtunnelSettings settings)
    {
        if (settings.XdsAddress is not { } address) return null;
        var channel = Channel(address, settings.XdsRootCa, settings.AltXdsHostname, settings.XdsHeaders);
        var metadata = settings.Metadata.Select(m => new KeyValuePair<string, string>($"ISTIO_META_{m.Key}", m.Value))
            .Concat(settings.JsonMetadata.Select(m => new KeyValuePair<string, string>($"ISTIO_METAJSON_{m.Key}", m.Value)));
        var node = ZtunnelNode.Build(settings.InstanceIp, settings.PodName, settings.PodNamespace, settings.NodeName, metadata);
        var log = _loggers.CreateLogger("ztunnel::xds");
        return new DeltaDiscoveryClient(channel, node, [new(new AddressHandler(Mesh), settings.XdsOnDemand), new(new AuthorizationHandler(Mesh, log, settings.IgnoresUnreadablePolicies))], _clock,
            new DiscoveryEvents(Metrics, address, _loggers.CreateLogger("ztunnel::xds::client")));
    }

    private FetchSvid Fetcher(ZtunnelSettings settings)
    {
        if (settings.CaAddress is not { } address) return (id, _) => throw new SvidUnavailableException($"CA_ADDRESS is empty: there is nobody to ask for the certificate of {id}");
        return new CaClient(Channel(address, settings.CaRootCa, settings.AltCaHostname, settings.CaHeaders), settings.SecretTtl, impersonates: settings.DedicatedWorkload is null).FetchAsync;
    }

    private RpcChannel Channel(Uri address, string roots, string? serverName, IReadOnlyList<KeyValuePair<string, string>> headers)
    {
        var channel = new RpcChannel(new RpcChannelOptions
        {
            Address = address,
            RootCertificates = roots == "SYSTEM" ? null : () => File.ReadAllText(roots),
            ServerName = serverName,
            CallMetadata = CallCredentials.FromFile(_settings.TokenPath, headers, _settings.ClusterId),
            Clock = _clock,
        });
        _channels.Add(channel);
        return channel;
    }
}
