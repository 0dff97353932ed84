using System.Collections.Frozen;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using AmbientMesh.Kubernetes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>What a ConfigMap of every namespace holds.</summary>
/// <param name="Text">The value now; empty when there is nothing to tell: then no map is made, and one that is there is emptied.</param>
/// <param name="Changed">Completes at the next change of the value.</param>
internal sealed record DistributedText(string ConfigMapName, string Key, Func<string> Text, Func<Task> Changed);

/// <summary>Keeps one ConfigMap in every namespace, and repairs it when it is edited or deleted (reference 6.6). For one replica at a time.</summary>
internal sealed class ConfigMapDistribution(KubernetesClient client, Informer<Namespace> namespaces, DistributedText content, ILogger log)
{
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
        var published = new Informer<ConfigMap>(_configMaps, new InformerOptions { Selection = new Selection { FieldSelector = $"metadata.name={content.ConfigMapName}" }, Log = log });
        var due = Channel.CreateUnbounded<string>(new UnboundedChannelOptions { SingleReader = true });
        Task[] running =
        [
            published.RunAsync(stop.Token),
            ForwardAsync(namespaces.SubscribeUntil(stop.Token), change => change.Key.Name, due.Writer, stop.Token),
            ForwardAsync(published.SubscribeUntil(stop.Token), change => change.Key.Namespace, due.Writer, stop.Token),
            FollowAsync(due.Writer, stop.Token),
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
        cancellationToken.ThrowIfCancellationRequested();
    }

    private async Task FollowAsync(ChannelWriter<string> due, CancellationToken cancellationToken)
    {
        while (true)
        {
            await content.Changed().WaitAsync(cancellationToken);
            foreach (var ns in namespaces.Items) due.TryWrite(ns.Metadata.Name ?? "");
        }
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
        var text = content.Text();
        var present = published.Get(ns, content.ConfigMapName);
        if (present is null ? text.Length == 0 : IsRight(present, text)) return true;
        try
        {
            if (present is null) await CreateAsync(ns, text, cancellationToken);
            else await RepairAsync(ns, text, cancellationToken);
            return true;
        }
        catch (KubernetesException e) when (e.AlreadyExists || e.IsNotFound)
        {
            return false;   // the copy was behind; look again
        }
        catch (KubernetesException e)
        {
            log.LogWarning("{ConfigMap} could not be published in namespace {Namespace}, trying again: {Problem}", content.ConfigMapName, ns, e.Message);
            return false;
        }
    }

    private bool IsServed(string ns) =>
        !Excluded.Contains(ns) && namespaces.Get("", ns) is { Metadata.DeletionTimestamp: null, Status.Phase: not "Terminating" };

    private bool IsRight(ConfigMap map, string text) =>
        map.Data.GetValueOrDefault(content.Key, "") == text && map.Metadata.Labels.GetValueOrDefault(Label) == "true";

    private Task CreateAsync(string ns, string text, CancellationToken cancellationToken) => _configMaps.CreateAsync(new ConfigMap
    {
        Metadata = new ObjectMeta { Namespace = ns, Name = content.ConfigMapName, Labels = new Dictionary<string, string> { [Label] = "true" } },
        Data = new Dictionary<string, string> { [content.Key] = text },
    }, null, cancellationToken);

    private async Task RepairAsync(string ns, string text, CancellationToken cancellationToken)
    {
        log.LogInformation("writing {ConfigMap} in namespace {Namespace} again", content.ConfigMapName, ns);
        var wanted = new JsonObject { ["metadata"] = new JsonObject { ["labels"] = new JsonObject { [Label] = "true" } }, ["data"] = new JsonObject { [content.Key] = text } };
        await _configMaps.PatchAsync(ns, content.ConfigMapName, Patch.Merge(wanted), null, cancellationToken);
    }
}
