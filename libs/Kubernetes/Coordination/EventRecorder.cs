using System.Text.Json.Nodes;
using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.Kubernetes;

/// <summary>Writes Events about objects. The same event again raises the count of the first instead of adding another.</summary>
/// <remarks>Recording never waits and never throws: events inform, they do not decide. What cannot be written is logged and counted in <see cref="Lost"/>.</remarks>
public sealed class EventRecorder : IAsyncDisposable
{
    private const int QueueLength = 1000;
    private const int RememberedEvents = 2000;
    private const int MaxMessageLength = 1024;   // the API server refuses longer ones
    private const int MaxNameLength = 253;

    private readonly ResourceClient<Event> _events;
    private readonly string _component;
    private readonly string? _host;
    private readonly ILogger _log;
    private readonly Channel<Occurrence> _queue;
    private readonly Dictionary<Sameness, Written> _written = [];
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _writing;
    private long _lost;

    /// <summary>Begins writing in the background.</summary>
    /// <param name="component">Who reports, e.g. <c>istio-cni-node</c>.</param>
    /// <param name="host">The node it runs on, if it belongs to one.</param>
    public EventRecorder(KubernetesClient client, string component, string? host = null, ILogger? log = null)
    {
        _events = client.Of<Event>();
        _component = component;
        _host = host;
        _log = log ?? NullLogger.Instance;
        _queue = Channel.CreateBounded<Occurrence>(
            new BoundedChannelOptions(QueueLength) { FullMode = BoundedChannelFullMode.DropOldest, SingleReader = true }, _ => Interlocked.Increment(ref _lost));
        _writing = Task.Run(WriteAllAsync, CancellationToken.None);
    }

    /// <summary>Events that could not be written.</summary>
    public long Lost => Interlocked.Read(ref _lost);

    /// <summary>Queues an event.</summary>
    /// <param name="warning">False for events of type Normal.</param>
    /// <param name="reason">A word for machines, in CamelCase.</param>
    public void Record(ObjectReference regarding, bool warning, string reason, string message)
    {
        if (message.Length > MaxMessageLength) message = message[..(MaxMessageLength - 1)] + "…";
        _queue.Writer.TryWrite(new Occurrence(regarding, warning ? "Warning" : "Normal", reason, message, _events.Clock.GetUtcNow()));
    }

    /// <summary>An event about a pod.</summary>
    public void Record(Pod pod, bool warning, string reason, string message) =>
        Record(ReferenceTo(pod), warning, reason, message);

    /// <summary>How an event refers to <paramref name="o"/>.</summary>
    public static ObjectReference ReferenceTo<T>(T o) where T : KubernetesObject, IResource<T> => new()
    {
        ApiVersion = T.Type.ApiVersion,
        Kind = T.Type.Kind,
        Namespace = o.Metadata.Namespace,
        Name = o.Metadata.Name,
        Uid = o.Metadata.Uid,
        ResourceVersion = o.Metadata.ResourceVersion,
    };

    /// <summary>Writes what is queued, for at most five seconds.</summary>
    public async ValueTask DisposeAsync()
    {
        _queue.Writer.TryComplete();
        _stop.CancelAfter(TimeSpan.FromSeconds(5));
        await _writing;
        _stop.Dispose();
    }

    private async Task WriteAllAsync()
    {
        await foreach (var occurrence in _queue.Reader.ReadAllAsync(CancellationToken.None))
        {
            try
            {
                await WriteAsync(occurrence, _stop.Token);
            }
            catch (Exception e) when (e is KubernetesException or KubernetesConfigurationException or OperationCanceledException or ArgumentException)
            {
                Interlocked.Increment(ref _lost);
                _log.LogWarning("event {Reason} about {Kind} {Namespace}/{Name} could not be written: {Problem}",
                    occurrence.Reason, occurrence.Regarding.Kind, occurrence.Regarding.Namespace, occurrence.Regarding.Name, e.Message);
            }
        }
    }

    private async Task WriteAsync(Occurrence occurrence, CancellationToken cancellationToken)
    {
        var sameness = new Sameness(occurrence.Regarding with { ResourceVersion = null }, occurrence.Type, occurrence.Reason, occurrence.Message);
        if (_written.TryGetValue(sameness, out var first) && await TryCountAsync(first, occurrence, cancellationToken)) return;
        var created = await _events.CreateAsync(ToEvent(occurrence), null, cancellationToken);
        if (_written.Count >= RememberedEvents) _written.Clear();   // costs a few repeated events, keeps memory bounded
        _written[sameness] = new Written(created.Namespace, created.Name) { Count = 1 };
    }

    private async Task<bool> TryCountAsync(Written first, Occurrence occurrence, CancellationToken cancellationToken)
    {
        var changes = new JsonObject { ["count"] = first.Count + 1, ["lastTimestamp"] = Rfc3339(occurrence.At) };
        try
        {
            await _events.PatchAsync(first.Namespace, first.Name, Patch.Merge(changes), null, cancellationToken);
        }
        catch (KubernetesException e) when (e.IsNotFound)
        {
            return false;   // events live an hour
        }
        first.Count++;
        return true;
    }

    private Event ToEvent(Occurrence occurrence)
    {
        var ns = string.IsNullOrEmpty(occurrence.Regarding.Namespace) ? "default" : occurrence.Regarding.Namespace;
        return new Event
        {
            Metadata = new ObjectMeta { Namespace = ns, Name = UniqueName(occurrence.Regarding.Name ?? "") },
            InvolvedObject = occurrence.Regarding,
            Type = occurrence.Type,
            Reason = occurrence.Reason,
            Message = occurrence.Message,
            Count = 1,
            FirstTimestamp = occurrence.At,
            LastTimestamp = occurrence.At,
            Source = new EventSource { Component = _component, Host = _host },
            ReportingComponent = _component,
            ReportingInstance = _host,
        };
    }

    private static string UniqueName(string about) => $"{about[..Math.Min(about.Length, MaxNameLength - 17)]}.{Guid.NewGuid().ToString("N")[..16]}";

    private static string Rfc3339(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture);

    private sealed record Occurrence(ObjectReference Regarding, string Type, string Reason, string Message, DateTimeOffset At);

    private sealed record Sameness(ObjectReference Regarding, string Type, string Reason, string Message);

    private sealed record Written(string Namespace, string Name)
    {
        public int Count { get; set; }
    }
}
