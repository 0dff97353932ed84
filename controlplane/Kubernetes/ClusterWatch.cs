using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Settings;
using AmbientMesh.Kubernetes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Kubernetes;

/// <summary>Copies of everything the control plane reads from Kubernetes, kept up to date together.</summary>
/// <remarks>Subscribe and add indexes before <see cref="RunAsync"/>. A kind that cannot be watched is retried for ever; the others are not disturbed.</remarks>
public sealed class ClusterWatch
{
    /// <summary>How often at least the API server is asked for a kind it does not serve yet.</summary>
    private static readonly TimeSpan AbsentKindRetry = TimeSpan.FromSeconds(5);

    private readonly (Func<CancellationToken, Task> Run, Func<bool> HasSynced, Func<CancellationToken, Task> Synced, string Kind)[] _all;

    /// <param name="systemNamespace">Where the mesh configuration is.</param>
    public ClusterWatch(KubernetesClient client, string systemNamespace, ILoggerFactory logs)
    {
        var options = new InformerOptions { Log = logs.CreateLogger("kubernetes") };
        Namespaces = new Informer<Namespace>(client.Of<Namespace>(), options);
        Nodes = new Informer<Node>(client.Of<Node>(), options);
        Services = new Informer<Service>(client.Of<Service>(), options);
        EndpointSlices = new Informer<EndpointSlice>(client.Of<EndpointSlice>(), options);
        Pods = new Informer<Pod>(client.Of<Pod>(), options);
        ServiceAccounts = new Informer<ServiceAccount>(client.Of<ServiceAccount>(), options);
        var optional = options with { MayBeAbsent = true, MaxBackoff = AbsentKindRetry };
        AuthorizationPolicies = new Informer<JsonObject>(client.Of(PolicyKinds.AuthorizationPolicy), optional);
        PeerAuthentications = new Informer<JsonObject>(client.Of(PolicyKinds.PeerAuthentication), optional);
        ServiceEntries = new Informer<ServiceEntry>(client.Of<ServiceEntry>(), optional);
        WorkloadEntries = new Informer<WorkloadEntry>(client.Of<WorkloadEntry>(), optional);
        Gateways = new Informer<Gateway>(client.Of<Gateway>(), optional);
        GatewayClasses = new Informer<GatewayClass>(client.Of<GatewayClass>(), optional);
        Configuration = new Informer<ConfigMap>(
            client.Of<ConfigMap>(), options with { Selection = new Selection { Namespace = systemNamespace, FieldSelector = $"metadata.name={MeshConfiguration.ConfigMapName}" } });
        _all =
        [
            Part(Namespaces), Part(Nodes), Part(Services), Part(EndpointSlices), Part(Pods), Part(ServiceAccounts), Part(AuthorizationPolicies), Part(PeerAuthentications),
            Part(ServiceEntries), Part(WorkloadEntries), Part(Gateways), Part(GatewayClasses), Part(Configuration),
        ];
    }

    public Informer<Namespace> Namespaces { get; }
    public Informer<Node> Nodes { get; }
    public Informer<Service> Services { get; }
    public Informer<EndpointSlice> EndpointSlices { get; }
    public Informer<Pod> Pods { get; }
    public Informer<ServiceAccount> ServiceAccounts { get; }
    /// <summary>Empty while the kind is not installed.</summary>
    public Informer<JsonObject> AuthorizationPolicies { get; }
    /// <inheritdoc cref="AuthorizationPolicies"/>
    public Informer<JsonObject> PeerAuthentications { get; }

    /// <inheritdoc cref="AuthorizationPolicies"/>
    public Informer<ServiceEntry> ServiceEntries { get; }
    /// <inheritdoc cref="AuthorizationPolicies"/>
    public Informer<WorkloadEntry> WorkloadEntries { get; }
    /// <inheritdoc cref="AuthorizationPolicies"/>
    public Informer<Gateway> Gateways { get; }
    /// <inheritdoc cref="AuthorizationPolicies"/>
    public Informer<GatewayClass> GatewayClasses { get; }
    /// <summary>The ConfigMap of the mesh configuration, and no other.</summary>
    public Informer<ConfigMap> Configuration { get; }

    /// <summary>Every kind was listed once.</summary>
    public bool HasSynced => _all.All(part => part.HasSynced());

    /// <summary>Kinds not yet listed, for readiness messages; empty when all are.</summary>
    public IReadOnlyList<string> Pending => [.. _all.Where(part => !part.HasSynced()).Select(part => part.Kind)];

    /// <summary>Completes when every kind was listed once.</summary>
    public Task WaitForSyncAsync(CancellationToken cancellationToken) => Task.WhenAll(_all.Select(part => part.Synced(cancellationToken)));

    /// <summary>Watches until cancelled; ends with the cancellation.</summary>
    public Task RunAsync(CancellationToken cancellationToken) => Task.WhenAll(_all.Select(part => part.Run(cancellationToken)));

    private static (Func<CancellationToken, Task>, Func<bool>, Func<CancellationToken, Task>, string) Part<T>(Informer<T> informer) where T : class =>
        (informer.RunAsync, () => informer.HasSynced, informer.WaitForSyncAsync, informer.Type.ToString());
}
