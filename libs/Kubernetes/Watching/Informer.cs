using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.Kubernetes;

/// <summary>Settings of an <see cref="Informer{T}"/>.</summary>
public sealed record InformerOptions
{
    public Selection Selection { get; init; } = Selection.All;
    /// <summary>Time after which the server ends a watch; each is spread up to double, so that not all end together.</summary>
    public TimeSpan WatchTimeout { get; init; } = TimeSpan.FromMinutes(5);
    public TimeSpan FirstBackoff { get; init; } = TimeSpan.FromMilliseconds(800);
    public TimeSpan MaxBackoff { get; init; } = TimeSpan.FromSeconds(30);
    /// <summary>A kind the server does not serve (404) counts as listed and empty; it is asked for again until it is served. Otherwise an informer of it never syncs.</summary>
    public bool MayBeAbsent { get; init; }
    public ILogger Log { get; init; } = NullLogger.Instance;
    /// <summary>A number from 0 to below 1, for jitter.</summary>
    public Func<double> Random { get; init; } = System.Random.Shared.NextDouble;
}

/// <summary>Keeps a copy of a selection of objects up to date: lists, watches from there, takes a broken watch up again, lists anew when the server has forgotten.</summary>
/// <remarks>While the server cannot be reached the last state stays in force. One object that cannot be read is reported and costs only itself: its last readable state stays.
/// Reading is thread-safe; <see cref="RunAsync"/> runs once.</remarks>
public sealed class Informer<T> where T : class
{
    private readonly ResourceClient<T> _client;
    private readonly InformerOptions _options;
    private readonly InformerCache<T> _cache;
    private bool _isAbsent;
    private readonly TaskCompletionSource _synced = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Informer(ResourceClient<T> client, InformerOptions? options = null)
    {
        _client = client;
        _options = options ?? new InformerOptions();
        _cache = new InformerCache<T>(client.Kind);
    }

    public ResourceType Type => _client.Kind.Type;

    /// <summary>The first list is in the cache and with every subscriber.</summary>
    public bool HasSynced => _synced.Task.IsCompletedSuccessfully;

    /// <summary>Completes with the first list.</summary>
    public Task WaitForSyncAsync(CancellationToken cancellationToken) => _synced.Task.WaitAsync(cancellationToken);

    /// <summary>The object, or null.</summary>
    public T? Get(string ns, string name) => _cache.Get(new ObjectKey(ns, name));

    /// <inheritdoc cref="Get(string, string)"/>
    public T? Get(ObjectKey key) => _cache.Get(key);

    /// <summary>All objects now, in no order.</summary>
    public IReadOnlyList<T> Items => _cache.Items;

    /// <summary>A lookup by something other than the name, kept up to date with the cache.</summary>
    /// <param name="keysOf">The keys an object is found by; pure.</param>
    public InformerIndex<TKey, T> AddIndex<TKey>(Func<T, IEnumerable<TKey>> keysOf) where TKey : notnull => _cache.AddIndex(keysOf);

    /// <summary>A stream of its own: everything in the cache as <see cref="ChangeKind.Added"/>, <see cref="ChangeKind.Synced"/> once the first list is through, then each change, in order. It waits for a slow reader without limit.</summary>
    public ChannelReader<Change<T>> Subscribe() => _cache.Subscribe(CancellationToken.None);

    /// <summary>As <see cref="Subscribe"/>, for who subscribes more than once in the informer's life: the stream ends, and nothing is kept for it any more, when <paramref name="end"/> is cancelled.</summary>
    public ChannelReader<Change<T>> SubscribeUntil(CancellationToken end) => _cache.Subscribe(end);

    /// <summary>Subscriptions that are open now.</summary>
    public int Subscriptions => _cache.Subscriptions;

    /// <summary>Lists and watches until cancelled. Does not throw but for cancellation: every failure is waited out.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var backoff = new Backoff(_options.FirstBackoff, _options.MaxBackoff, _options.Random);
        string? version = null;
        try
        {
            while (true)
            {
                cancellationToken.ThrowIfCancellationRequested();
                try
                {
                    version ??= await ListAsync(cancellationToken);
                    await foreach (var told in _client.WatchAsync(_options.Selection, version, SpreadTimeout(), cancellationToken))
                    {
                        version = Apply(told) ?? version;
                        backoff.Reset();
                    }
                    // A server that ends every watch at once must not be asked in a tight loop.
                    await WaitAsync(TimeSpan.FromMilliseconds(100 + 400 * _options.Random()), cancellationToken);
                }
                catch (KubernetesException e)
                {
                    version = await RecoverAsync(e, version, backoff, cancellationToken);
                }
                catch (KubernetesConfigurationException e)
                {
                    _options.Log.LogWarning("watching {Resource}: {Problem}", Type, e.Message);
                    await WaitAsync(backoff.Next(), cancellationToken);
                }
            }
        }
        finally
        {
            _cache.Complete();
        }
    }

    private async Task<string?> RecoverAsync(KubernetesException e, string? version, Backoff backoff, CancellationToken cancellationToken)
    {
        if (e.IsExpired && version is not null)
        {
            _options.Log.LogInformation("watching {Resource}: version {Version} is no longer known, listing anew", Type, version);
            await WaitAsync(TimeSpan.FromMilliseconds(100 + 400 * _options.Random()), cancellationToken);
            return null;
        }
        if (_options.MayBeAbsent && e.IsNotFound && version is null)
        {
            await WaitForKindAsync(backoff, cancellationToken);
            return null;
        }
        var wait = backoff.Next((e as KubernetesUnavailableException)?.RetryAfter);
        _options.Log.LogWarning("watching {Resource} failed, again in {Seconds:0.0} s: {Problem}", Type, wait.TotalSeconds, e.Message);
        await WaitAsync(wait, cancellationToken);
        // After a refusal (rights taken away, kind removed) what was seen before may be out of date: begin with a list.
        return e is KubernetesRefusedException ? null : version;
    }

    /// <summary>Notes that the kind is not there, at first as an empty list, and waits before the next attempt. What was known before it went stays: going away does not delete.</summary>
    private Task WaitForKindAsync(Backoff backoff, CancellationToken cancellationToken)
    {
        if (!_isAbsent) _options.Log.LogInformation("{Resource} are not served; waiting for the kind to be installed", Type);
        _isAbsent = true;
        if (!HasSynced) _cache.Replace([], []);
        _synced.TrySetResult();
        return WaitAsync(backoff.Next(), cancellationToken);
    }

    private async Task<string> ListAsync(CancellationToken cancellationToken)
    {
        var list = await _client.ListAsync(_options.Selection, cancellationToken);
        if (_isAbsent) _options.Log.LogInformation("{Resource} are served now", Type);
        _isAbsent = false;
        foreach (var unreadable in list.Unreadable) Report(unreadable);
        _cache.Replace(list.Items, list.Unreadable);
        _synced.TrySetResult();
        return list.ResourceVersion;
    }

    /// <summary>Takes one event into the cache.</summary>
    /// <returns>The version to go on from, or null when the event has none.</returns>
    private string? Apply(WatchEvent<T> told)
    {
        switch (told)
        {
            case WatchEvent<T>.Present { Object: var o }:
                _cache.Set(o);
                return Version(o);
            case WatchEvent<T>.Gone { Object: var o }:
                _cache.Remove(o);
                return Version(o);
            case WatchEvent<T>.Bookmark { ResourceVersion: var version }:
                return NullIfEmpty(version);
            case WatchEvent<T>.Unreadable { Object: var unreadable, ResourceVersion: var version }:
                Report(unreadable);
                return NullIfEmpty(version);
            default:
                throw new System.Diagnostics.UnreachableException();
        }
    }

    private void Report(UnreadableObject o) => _options.Log.LogWarning("{Resource} {Object} cannot be read and is passed over: {Problem}", Type, o.Key, o.Problem);

    private string? Version(T o) => NullIfEmpty(_client.Kind.VersionOf(o));

    private static string? NullIfEmpty(string version) => version.Length == 0 ? null : version;

    private TimeSpan SpreadTimeout() => _options.WatchTimeout * (1 + _options.Random());

    private Task WaitAsync(TimeSpan time, CancellationToken cancellationToken) => Task.Delay(time, _client.Clock, cancellationToken);
}
