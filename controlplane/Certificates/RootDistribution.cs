using System.Collections.Frozen;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using AmbientMesh.Kubernetes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>Keeps the ConfigMap <c>istio-ca-root-cert</c> with the mesh's roots in every namespace, and repairs it when it is edited or deleted (reference 6.6). For one replica at a time.</summary>
public sealed class RootDistribution(KubernetesClient client, Informer<Namespace> namespaces, SigningAuthority authority, ILogger log)
{
    public const string ConfigMapName = "istio-ca-root-cert";
    public const string Key = "root-cert.pem";
    private const string Label = "istio.io/config";

    /// <summary>Namespaces where no workload runs. kube-system is not among them: ztunnel may run there.</summary>
    private static readonly FrozenSet<string> Excluded = FrozenSet.ToFrozenSet(["kube-public", "kube-node-lease", "local-path-storage"]);
    private static readonly TimeSpan FirstRetry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan MaxRetry = TimeSpan.FromMinutes(1);

    private readonly ResourceClient<ConfigMap> _configMaps = client.Of<ConfigMap>();

    /// <summary>Distributes until cancelled; ends with the cancellation. One namespace that cannot be written is tried again and disturbs no other.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var published = new Informer<ConfigMap>(_configMaps, new InformerOptions { Selection = new Selection { FieldSelector = $"metadata.name={ConfigMapName}" }, Log = log });
        var due = Channel.CreateUnbounded<string>(new UnboundedChannelOptions { SingleReader = true });
        Task[] running =
        [
            published.RunAsync(stop.Token),
            ForwardAsync(namespaces.Subscribe(), change => change.Key.Name, due.Writer, stop.Token),
            ForwardAsync(published.Subscribe(), change => change.Key.Namespace, due.Writer, stop.Token),
            WriteAsync(published, due.Reader, stop.Token),
        ];
        try
        {
            await await Task.WhenAny(running);
        }
        finally
        {
            await stop.CancelAsync();
            await Task.WhenAll(running).ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        }
    }

    private static async Task ForwardAsync<T>(ChannelReader<Change<T>> changes, Func<Change<T>, string> ns, ChannelWriter<string> due, CancellationToken cancellationToken) where T : class
    {
        await foreach (var change in changes.ReadAllAsync(cancellationToken))
            if (change.Kind != ChangeKind.Synced) due.TryWrite(ns(change));
    }

    private async Task WriteAsync(Informer<ConfigMap> published, ChannelReader<string> due, CancellationToken cancellationToken)
    {
        await namespaces.WaitForSyncAsync(cancellationToken);
        await published.WaitForSyncAsync(cancellationToken);
        var pending = new HashSet<string>(StringComparer.Ordinal);
        var retry = FirstRetry;
        while (true)
        {
            if (await NextAsync(due, pending.Count > 0 ? retry : Timeout.InfiniteTimeSpan, cancellationToken))
                while (due.TryRead(out var ns)) pending.Add(ns);
            foreach (var ns in pending.ToList())
                if (await TryPublishAsync(published, ns, cancellationToken)) pending.Remove(ns);
            retry = pending.Count == 0 ? FirstRetry : retry * 2 < MaxRetry ? retry * 2 : MaxRetry;
        }
    }

    private async Task<bool> NextAsync(ChannelReader<string> due, TimeSpan limit, CancellationToken cancellationToken)
    {
        using var timer = new CancellationTokenSource(limit, client.Clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, cancellationToken);
        try
        {
            return await due.WaitToReadAsync(either.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return false;
        }
    }

    private async Task<bool> TryPublishAsync(Informer<ConfigMap> published, string ns, CancellationToken cancellationToken)
    {
        if (!IsServed(ns)) return true;
        var roots = authority.Current.Roots.Pem;
        var present = published.Get(ns, ConfigMapName);
        if (present is not null && IsRight(present, roots)) return true;
        try
        {
            if (present is null) await CreateAsync(ns, roots, cancellationToken);
            else await RepairAsync(ns, roots, cancellationToken);
            return true;
        }
        catch (KubernetesException e) when (e.AlreadyExists || e.IsNotFound)
        {
            return false;   // the copy was behind; look again
        }
        catch (KubernetesException e)
        {
            log.LogWarning("the roots could not be published in namespace {Namespace}, trying again: {Problem}", ns, e.Message);
            return false;
        }
    }

    private bool IsServed(string ns) =>
        !Excluded.Contains(ns) && namespaces.Get("", ns) is { Metadata.DeletionTimestamp: null, Status.Phase: not "Terminating" };

    private static bool IsRight(ConfigMap map, string roots) =>
        map.Data.GetValueOrDefault(Key) == roots && map.Metadata.Labels.GetValueOrDefault(Label) == "true";

    private Task CreateAsync(string ns, string roots, CancellationToken cancellationToken) => _configMaps.CreateAsync(new ConfigMap
    {
        Metadata = new ObjectMeta { Namespace = ns, Name = ConfigMapName, Labels = new Dictionary<string, string> { [Label] = "true" } },
        Data = new Dictionary<string, string> { [Key] = roots },
    }, null, cancellationToken);

    private async Task RepairAsync(string ns, string roots, CancellationToken cancellationToken)
    {
        log.LogInformation("repairing {ConfigMap} in namespace {Namespace}", ConfigMapName, ns);
        var wanted = new JsonObject { ["metadata"] = new JsonObject { ["labels"] = new JsonObject { [Label] = "true" } }, ["data"] = new JsonObject { [Key] = roots } };
        await _configMaps.PatchAsync(ns, ConfigMapName, Patch.Merge(wanted), null, cancellationToken);
    }
}
