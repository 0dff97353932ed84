using System.Threading.Channels;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Telemetry.Otlp;

/// <summary>Exports spans and the metric registry to an OpenTelemetry collector, in the background. A collector that is away disturbs nothing: the queue is bounded,
/// what does not fit is dropped and counted, and the log says so once for each change.</summary>
/// <remarks>
/// The same registry that is scraped is exported, and spans carry the ids that were sent to the peer; both rule out a second metric system beside ours. Nothing of this is
/// made, and no memory taken, unless an endpoint is set.
/// </remarks>
public sealed class OtlpExport : IAsyncDisposable
{
    private const int Attempts = 3;
    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan FlushTime = TimeSpan.FromSeconds(2);

    private readonly OtlpSettings _settings;
    private readonly MetricRegistry _registry;
    private readonly SpanResource _resource;
    private readonly OtlpScope _scope;
    private readonly Action _beforeMetrics;
    private readonly TimeProvider _clock;
    private readonly ILogger _log;
    private readonly OtlpSender _sender;
    private readonly DateTimeOffset _start;
    private readonly Channel<Span> _spans;
    private readonly CancellationTokenSource _stopping = new();
    private readonly CancellationTokenSource _abandoning = new();
    private readonly CounterFamily _dropped;
    private readonly CounterFamily _failures;
    private readonly Signal _traces = new("traces");
    private readonly Signal _metrics = new("metrics");
    private readonly Task _running;

    private OtlpExport(OtlpSettings settings, MetricRegistry registry, SpanResource resource, string version, Action beforeMetrics, TimeProvider clock, ILogger log)
    {
        (_settings, _registry, _resource, _beforeMetrics, _clock, _log) = (settings, registry, resource, beforeMetrics, clock, log);
        _scope = new OtlpScope("ambientmesh", version);
        _sender = new OtlpSender(settings, clock);
        _start = clock.GetUtcNow();
        _dropped = registry.Counter("ambientmesh_otlp_dropped", "Spans not exported: the queue was full, or the collector did not take them.", "why");
        _failures = registry.Counter("ambientmesh_otlp_export_failures", "Exports that the collector did not take.", "signal");
        _spans = Channel.CreateBounded<Span>(new BoundedChannelOptions(settings.SpanQueue) { SingleReader = true });   // TryWrite fails when it is full
        List<Task> tasks = [];
        if (settings.Traces is { } traces) tasks.Add(Task.Run(() => ExportSpansAsync(traces), CancellationToken.None));
        if (settings.Metrics is { } metrics) tasks.Add(Task.Run(() => ExportMetricsAsync(metrics), CancellationToken.None));
        _running = Task.WhenAll(tasks);
    }

    /// <summary>Begins; null when nothing is to be exported.</summary>
    /// <param name="serviceName">Name of this part unless OTEL_SERVICE_NAME says otherwise.</param>
    /// <param name="resource">What else is known of it, e.g. <c>k8s.pod.name</c>; empty values are left out.</param>
    /// <param name="beforeMetrics">Called before each export, to bring counters up to date.</param>
    public static OtlpExport? Start(OtlpSettings settings, MetricRegistry registry, string serviceName, string version,
        IReadOnlyList<KeyValuePair<string, string>> resource, Action beforeMetrics, TimeProvider clock, ILogger log)
    {
        if (!settings.IsOn) return null;
        return new OtlpExport(settings, registry, ResourceOf(settings, settings.ServiceName ?? serviceName, version, resource), version, beforeMetrics, clock, log);
    }

    /// <summary>Hands a span over; never waits. False, and counted, when the queue is full.</summary>
    public bool TryAdd(Span span)
    {
        if (_settings.Traces is null) return false;
        if (_spans.Writer.TryWrite(span)) return true;
        _dropped.With("queue-full").Add();
        return false;
    }

    /// <summary>The attributes every resource of this process has: those of OTEL_RESOURCE_ATTRIBUTES win.</summary>
    public static SpanResource ResourceOf(OtlpSettings settings, string serviceName, string version, IEnumerable<KeyValuePair<string, string>> more)
    {
        var attributes = new Dictionary<string, object?> { ["service.name"] = serviceName, ["service.version"] = version };
        foreach (var (key, value) in more.Concat(settings.Resource))
            if (value.Length > 0) attributes[key] = value;
        return new SpanResource([.. attributes]);
    }

    /// <summary>Exports what is queued, for two seconds at most, then stops. Repeatable.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!_spans.Writer.TryComplete()) return;
        await _stopping.CancelAsync();
        await using (_clock.CreateTimer(static abandoning => ((CancellationTokenSource)abandoning!).Cancel(), _abandoning, FlushTime, Timeout.InfiniteTimeSpan))
            await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _sender.Dispose();
        _stopping.Dispose();
        _abandoning.Dispose();
    }

    private async Task ExportSpansAsync(Uri address)
    {
        var batch = new List<Span>(_settings.SpanBatch);
        while (await _spans.Reader.WaitToReadAsync(CancellationToken.None))
        {
            // Further ones of the same moment go along.
            await Task.Delay(_settings.SpanDelay, _clock, _stopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            while (_spans.Reader.TryRead(out var span))
            {
                batch.Add(span);
                if (batch.Count < _settings.SpanBatch) continue;
                await ExportAsync(address, batch);
            }
            await ExportAsync(address, batch);
        }
    }

    private async Task ExportAsync(Uri address, List<Span> batch)
    {
        if (batch.Count == 0) return;
        if (!await DeliverAsync(_traces, address, SpanEncoding.Encode(batch, _scope))) _dropped.With("not-taken").Add(batch.Count);
        batch.Clear();
    }

    private async Task ExportMetricsAsync(Uri address)
    {
        do
        {
            await Task.Delay(_settings.MetricInterval, _clock, _stopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (Read() is { } figures) await DeliverAsync(_metrics, address, figures);
        }
        while (!_stopping.IsCancellationRequested);   // the last figures are sent too
    }

    /// <summary>The metrics as they are now; null when one of them could not be read, which costs this round and not the next ones.</summary>
    private ReadOnlyMemory<byte>? Read()
    {
        try
        {
            _beforeMetrics();
            return MetricEncoding.Encode(_registry, _resource, _scope, _start, _clock.GetUtcNow());
        }
        catch (Exception e)
        {
            _failures.With(_metrics.Name).Add();
            if (_metrics.Fails()) _log.LogError(e, "the metrics could not be read for the OpenTelemetry collector");
            return null;
        }
    }

    /// <summary>What is exported, and whether the last attempt failed: each change is logged once.</summary>
    private sealed class Signal(string name)
    {
        private bool _isFailing;

        public string Name => name;

        /// <summary>Whether it did not fail before.</summary>
        public bool Fails() => !Interlocked.Exchange(ref _isFailing, true);

        /// <summary>Whether it failed before.</summary>
        public bool Succeeds() => Interlocked.Exchange(ref _isFailing, false);
    }

    /// <summary>Tries a few times; then this message is given up, later ones are newer.</summary>
    private async Task<bool> DeliverAsync(Signal signal, Uri address, ReadOnlyMemory<byte> message)
    {
        var pause = FirstPause;
        for (var attempt = 1; ; attempt++)
        {
            (string Problem, bool CanRetry)? failure;
            try
            {
                failure = await _sender.SendAsync(address, message, _abandoning.Token);
            }
            catch (OperationCanceledException)
            {
                return false;
            }
            if (failure is not var (problem, canRetry))
            {
                if (signal.Succeeds()) _log.LogInformation("the OpenTelemetry collector takes {Signal} again", signal.Name);
                return true;
            }
            _failures.With(signal.Name).Add();
            if (signal.Fails()) _log.LogWarning("the OpenTelemetry collector does not take {Signal}: {Problem}", signal.Name, problem);
            if (!canRetry || attempt == Attempts || _stopping.IsCancellationRequested) return false;
            await Task.Delay(pause, _clock, _stopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            pause *= 2;
        }
    }
}
