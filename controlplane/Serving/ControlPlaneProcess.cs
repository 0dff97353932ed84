using AmbientMesh.ControlPlane.Certificates;
using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.ControlPlane.Coverage;
using AmbientMesh.ControlPlane.Discovery;
using AmbientMesh.ControlPlane.Kubernetes;
using AmbientMesh.ControlPlane.Settings;
using AmbientMesh.ControlPlane.Translation;
using AmbientMesh.Identity;
using AmbientMesh.Kubernetes;
using AmbientMesh.Model;
using AmbientMesh.Rpc;
using AmbientMesh.Telemetry;
using AmbientMesh.Xds;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Serving;

/// <summary>The whole control plane: its parts put together, started and stopped in order.</summary>
public sealed class ControlPlaneProcess : IAsyncDisposable
{
    private const string ReadinessOfDiscovery = "discovery";
    private static readonly TimeSpan FirstSourceWait = TimeSpan.FromSeconds(2);   // a ztunnel's requests come together; only who never asks for policies waits this long
    private static readonly TimeSpan StopGrace = TimeSpan.FromSeconds(5);

    private readonly CancellationTokenSource _stopping = new();
    private readonly List<IDisposable> _owned = [];
    private DeltaDiscoveryServer? _discovery;
    private Task _running = Task.CompletedTask;
    private int _isDisposed;

    private ControlPlaneProcess()
    {
    }

    /// <summary>Ready once every first list has been applied and published.</summary>
    public Readiness Readiness { get; } = new();

    public MetricRegistry Metrics { get; } = new();

    /// <summary>The ports that were opened.</summary>
    public MeshListeners Listeners { get; private set; } = null!;

    /// <summary>The CA in force.</summary>
    public SigningAuthority Authority { get; private set; } = null!;

    /// <summary>Faults when a part that must run for ever failed; completes when stopped.</summary>
    public Task Ended => _running;

    /// <summary>Starts everything; returns with the ports open, which may be before it is ready.</summary>
    /// <remarks>Waits for an API server that cannot be reached.</remarks>
    /// <exception cref="IOException">A port cannot be opened.</exception>
    /// <exception cref="FormatException">The mesh configuration or the stored CA cannot be used.</exception>
    /// <exception cref="KubernetesException">The API server refuses what cannot be done without.</exception>
    public static async Task<ControlPlaneProcess> StartAsync(
        ControlPlaneSettings settings, KubernetesConnection connection, TimeProvider clock, ILoggerFactory logs, CancellationToken cancellationToken)
    {
        var process = new ControlPlaneProcess();
        try
        {
            await process.ComposeAsync(settings, connection, clock, logs, cancellationToken);
            return process;
        }
        catch
        {
            await process.DisposeAsync();
            throw;
        }
    }

    private async Task ComposeAsync(ControlPlaneSettings settings, KubernetesConnection connection, TimeProvider clock, ILoggerFactory logs, CancellationToken cancellationToken)
    {
        Readiness.Wait(ReadinessOfDiscovery);
        var log = logs.CreateLogger("AmbientMesh.ControlPlane");
        var metrics = new ControlPlaneMetrics(Metrics);
        ProcessMetrics.Register(Metrics);
        var client = Own(new KubernetesClient(connection, new KubernetesClientOptions { Name = "ambientmesh-controlplane", Clock = clock }));
        var scope = await ScopeAsync(settings, client, log, cancellationToken);

        // Kubernetes objects to resources.
        var graph = new CollectionGraph();
        graph.TransformationFailed = (collection, key, problem) => log.LogWarning("{Collection}: {Object} is passed over: {Problem}", collection, key, problem.Message);
        var mesh = new MeshCollections(graph, scope);
        var loop = new CollectionLoop(graph);
        var publisher = Own(new ResourcePublisher(mesh, loop, settings.DebounceQuiet, settings.DebounceMax, clock));
        publisher.Published = publication =>
        {
            metrics.Triggered("ambient", publication.Waited, publication.Took);
            metrics.Services(mesh.TranslatedServices.Count);
        };
        var statusReports = new StatusReports(mesh);
        _ = new PolicyReports(mesh.Policies, metrics, logs.CreateLogger("AmbientMesh.ControlPlane.Policy"));
        mesh.Entries.Visibility.Subscribe(changes =>
        {
            foreach (var problem in changes.SelectMany(change => change.New?.Problems ?? []))
                log.LogWarning("the mesh configuration's serviceEntryVisibility cannot be read in full, what is doubtful is hidden: {Problem}", problem);
        });
        var watch = new ClusterWatch(client, settings.SystemNamespace, logs);
        var pods = new PodsOnNodes(watch.Pods);
        var feed = new MeshFeed(watch, mesh, loop, metrics, () =>
        {
            publisher.Open();
            Readiness.Done(ReadinessOfDiscovery);
            log.LogInformation("ready: {Pods} pods, {Services} services, {Addresses} addresses", mesh.Pods.Count, mesh.Services.Count, mesh.Addresses.Count);
        });

        // Who may ask, and the CA.
        var callers = new CallerAuthentication(client, new CallerAuthenticationOptions { Audiences = settings.TokenAudiences, TrustDomain = scope.TrustDomain, ClusterId = settings.ClusterId });
        Authority = await SigningAuthority.LoadAsync(AuthorityOptions(settings, scope), client, logs.CreateLogger("AmbientMesh.ControlPlane.Ca"), cancellationToken);
        var clients = new ClientCertificates(Authority, scope.TrustDomain, clock, logs.CreateLogger("AmbientMesh.ControlPlane.Ca"));
        var certificateMetrics = new CertificateMetrics(Metrics, () => Authority.Current, clock);
        var certificates = new CertificateRequests(
            callers, Authority, pods, settings.TrustedNodeAccounts, certificateMetrics, clock, logs.CreateLogger("AmbientMesh.ControlPlane.Ca"), clients);
        var serving = new ServingCertificate(Authority, ServingCertificate.NamesOf(settings.SystemNamespace, settings.Revision, settings.CustomHosts));
        var roots = new RootDistribution(client, watch.Namespaces, Authority, logs.CreateLogger("AmbientMesh.ControlPlane.Roots"), settings.DistributesRevocations);
        List<Func<CancellationToken, Task>> writers = [roots.RunAsync];
        if (!Authority.IsPluggedIn && settings.RootRotation.CheckInterval > TimeSpan.Zero)
            writers.Add(new RootRotating(client, AuthorityOptions(settings, scope), settings.RootRotation, certificateMetrics, clock, logs.CreateLogger("AmbientMesh.ControlPlane.Roots")).RunAsync);
        if (settings.WritesStatus) writers.Add(new StatusWriting(client, statusReports, logs.CreateLogger("AmbientMesh.ControlPlane.Status")).RunAsync);
        if (settings.UntaintsNodes) writers.Add(new NodeUntainting(client, watch.Nodes, watch.Pods, settings.SystemNamespace, logs.CreateLogger("AmbientMesh.ControlPlane.Nodes")).RunAsync);
        if (settings.AllocatesAddresses)
            writers.Add(new AddressAssigning(client, watch.ServiceEntries, settings.AllocatedIpv4, settings.AllocatedIpv6, logs.CreateLogger("AmbientMesh.ControlPlane.Addresses")).RunAsync);
        var duties = new LeaderDuties(client, settings.SystemNamespace, settings.PodName, writers, logs);

        // Discovery.
        var discoveryLog = logs.CreateLogger("AmbientMesh.ControlPlane.Discovery");
        var access = Own(new DiscoveryAccess(settings, (call, token) => callers.AuthenticateAsync(call.Metadata, clients.Of(call), token), () => Readiness.IsReady, metrics, discoveryLog));
        _discovery = Own(new DeltaDiscoveryServer(
            publisher.Sources,
            new DeltaDiscoveryOptions
            {
                Authorize = access.AdmitAsync,
                MaxStreamAge = settings.MaxStreamAge,
                FirstSourceWait = FirstSourceWait,
                Clock = clock,
                Rpc = new RpcServerOptions { MaxReceiveBytes = settings.MaxReceiveBytes, Clock = clock },
            },
            new DiscoveryMeasures(publisher, metrics, clock, discoveryLog)));

        // How much is protected.
        var coverage = Own(new CoverageWatch(watch, settings.SystemNamespace, settings.CoverageInterval, clock, logs.CreateLogger("AmbientMesh.ControlPlane.Coverage")));
        CoverageMetrics.Register(Metrics, coverage.RecentReport);

        // Ports.
        var debug = new DebugPages(mesh, loop, _discovery, settings.ClusterId, Authority, settings.RootRotation);
        var pages = new HttpPages(() => [.. watch.Pending.Select(kind => $"list of {kind}"), .. Readiness.Pending], Metrics, debug, coverage, callers.AuthenticateAsync, settings.SystemNamespace);
        Listeners = await MeshListeners.StartAsync(
            settings,
            new MeshServices
            {
                Certificate = serving.Current,
                ClientCertificate = clients.Judge,
                MapSecure = endpoints =>
                {
                    _discovery.Map(endpoints);
                    certificates.Map(endpoints);
                },
                MapPlaintext = endpoints => _discovery.Map(endpoints),
                Pages = pages.ServeAsync,
            },
            logs, cancellationToken);
        log.LogInformation("listening: http {Http}, discovery {Plaintext}, discovery and CA over TLS {Secure}, monitoring {Monitoring}",
            Listeners.HttpPort, Listeners.PlaintextGrpcPort, Listeners.SecureGrpcPort, Listeners.MonitoringPort);

        _running = RunAsync([loop.RunAsync, feed.RunAsync, watch.RunAsync, Authority.RunAsync, clients.RunAsync, duties.RunAsync, coverage.RunAsync]);
    }

    /// <summary>Ends streams so that clients come back elsewhere at once, closes the ports, gives the lease back.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _isDisposed, 1) != 0) return;
        Readiness.Wait("shutdown");
        _discovery?.Close();
        if (Listeners is not null)
        {
            await Listeners.StopAsync(StopGrace);
            await Listeners.DisposeAsync();
        }
        await _stopping.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        for (var i = _owned.Count - 1; i >= 0; i--) _owned[i].Dispose();
        _stopping.Dispose();
    }

    private T Own<T>(T part) where T : IDisposable
    {
        _owned.Add(part);
        return part;
    }

    /// <summary>Runs parts that end only by being stopped; when one fails, all end and the failure is the result.</summary>
    private async Task RunAsync(IReadOnlyList<Func<CancellationToken, Task>> parts)
    {
        using var all = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token);
        var running = parts.Select(part => Task.Run(() => part(all.Token), CancellationToken.None)).ToList();
        var left = running.ToList();
        while (left.Count > 0)
        {
            var ended = await Task.WhenAny(left);
            left.Remove(ended);
            if (ended.IsFaulted) await all.CancelAsync();
        }
        await Task.WhenAll(running.Where(task => task.IsFaulted));
    }

    private static async Task<MeshScope> ScopeAsync(ControlPlaneSettings settings, KubernetesClient client, ILogger log, CancellationToken cancellationToken)
    {
        var configuration = MeshConfiguration.Of(await StartupRead.UntilReachableAsync(
            token => client.Of<ConfigMap>().GetAsync(settings.SystemNamespace, MeshConfiguration.ConfigMapName, token), "the mesh configuration", client.Clock, log, cancellationToken));
        var trustDomain = settings.TrustDomain ?? configuration.TrustDomain ?? MeshScope.DefaultTrustDomain;
        if (!SpiffeId.TryParse(new SpiffeId(trustDomain, "ns", "sa").ToString(), out _, out var problem))
            throw new FormatException($"The trust domain '{trustDomain}' (TRUST_DOMAIN, or trustDomain in ConfigMap {settings.SystemNamespace}/{MeshConfiguration.ConfigMapName}) cannot be used: {problem}.");
        return new MeshScope
        {
            ClusterId = settings.ClusterId,
            TrustDomain = trustDomain,
            DomainSuffix = settings.DomainSuffix,
            SystemNamespace = settings.SystemNamespace,
            RootNamespace = configuration.RootNamespace ?? settings.SystemNamespace,
            SendsDryRunPolicies = settings.SendsDryRunPolicies,
            IgnoresUnjudgedDenials = settings.IgnoresUnjudgedDenials,
            AllowsFromWaypoints = settings.AllowsFromWaypoints,
        };
    }

    private static SigningAuthorityOptions AuthorityOptions(ControlPlaneSettings settings, MeshScope scope) => new()
    {
        TrustDomain = scope.TrustDomain,
        SystemNamespace = settings.SystemNamespace,
        PluggedInFolder = settings.PluggedCaFolder,
        SelfSignedKeyBits = settings.SelfSignedKeyBits,
        SelfSignedLifetime = settings.SelfSignedLifetime,
        Policy = new IssuancePolicy { DefaultLifetime = settings.DefaultCertificateLifetime, MaxLifetime = settings.MaxCertificateLifetime },
    };
}
