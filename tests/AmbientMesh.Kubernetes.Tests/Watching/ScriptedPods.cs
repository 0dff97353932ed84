using System.Collections.Concurrent;
using System.Threading.Channels;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Kubernetes.Tests;

/// <summary>Takes changes as short texts.</summary>
internal sealed class ChangeLog(ChannelReader<Change<Pod>> changes)
{
    public async Task<List<string>> TakeAsync(int count)
    {
        var taken = new List<string>();
        while (taken.Count < count)
        {
            var change = await changes.ReadAsync(Patience.Token);
            taken.Add(change.Kind == ChangeKind.Synced ? "Synced" : $"{change.Kind} {change.Key}");
        }
        return taken;
    }
}

/// <summary>One open watch, told what the test wants.</summary>
internal sealed class ScriptedWatch(string query, HttpContext context)
{
    private readonly Channel<string> _lines = Channel.CreateUnbounded<string>();

    public string Query => query;

    public void Tell(params string[] lines)
    {
        foreach (var line in lines) _lines.Writer.TryWrite(line);
    }

    public void End() => _lines.Writer.TryComplete();
    public void Abort() => context.Abort();
    public Task ServeAsync() => context.StreamAsync(_lines.Reader);
}

/// <summary>An API server which lists and watches pods as the test says, and an informer on it.</summary>
internal sealed class ScriptedPods : IAsyncDisposable
{
    private readonly Channel<Func<HttpContext, Task>> _lists = Channel.CreateUnbounded<Func<HttpContext, Task>>();
    private readonly Channel<bool> _listed = Channel.CreateUnbounded<bool>();
    private readonly Channel<ScriptedWatch> _watches = Channel.CreateUnbounded<ScriptedWatch>();
    private readonly Channel<Func<HttpContext, Task>> _watchRefusals = Channel.CreateUnbounded<Func<HttpContext, Task>>();
    private readonly CancellationTokenSource _stop = new();
    private LoopbackApi _api = null!;
    private KubernetesClient _client = null!;
    private Task _running = Task.CompletedTask;

    public Informer<Pod> Informer { get; private set; } = null!;
    public ConcurrentQueue<string> Lists { get; } = [];
    public int WaitingLists => _listed.Reader.Count;
    public int WaitingWatches => _watches.Reader.Count;

    public static async Task<ScriptedPods> StartAsync(TimeProvider? clock = null, Func<double>? random = null, ILogger? log = null)
    {
        var world = new ScriptedPods();
        world._api = await LoopbackApi.StartAsync(world.AnswerAsync);
        world._client = world._api.Client(clock);
        var options = new InformerOptions { Random = random ?? (() => 0.1), FirstBackoff = clock is null ? TimeSpan.FromMilliseconds(5) : TimeSpan.FromMilliseconds(800) };
        world.Informer = new Informer<Pod>(world._client.Of<Pod>(), log is null ? options : options with { Log = log });
        return world;
    }

    public void List(string body) => _lists.Writer.TryWrite(c => c.JsonAsync(200, body));

    public void RefuseNextList(int code, string? retryAfter = null) => _lists.Writer.TryWrite(c =>
    {
        if (retryAfter is not null) c.Response.Headers.RetryAfter = retryAfter;
        return c.StatusAsync(code, "Because", "not now");
    });

    public void RefuseNextWatch(int code, string body) => _watchRefusals.Writer.TryWrite(c => c.JsonAsync(code, body));

    public ChangeLog Run()
    {
        var changes = new ChangeLog(Informer.Subscribe());
        _running = Informer.RunAsync(_stop.Token);
        return changes;
    }

    public async Task NextListAsync() => await _listed.Reader.ReadAsync(Patience.Token);

    public async Task<ScriptedWatch> NextWatchAsync() => await _watches.Reader.ReadAsync(Patience.Token);

    private async Task AnswerAsync(SeenRequest request, HttpContext context)
    {
        if (request.Query.Contains("watch=true"))
        {
            if (_watchRefusals.Reader.TryRead(out var refuse))
            {
                await refuse(context);
                return;
            }
            var watch = new ScriptedWatch(request.Query, context);
            _watches.Writer.TryWrite(watch);
            await watch.ServeAsync();
            return;
        }
        Lists.Enqueue(request.Query);
        _listed.Writer.TryWrite(true);
        await (await _lists.Reader.ReadAsync(context.RequestAborted))(context);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Patience.Within(_running.ContinueWith(_ => { }, TaskScheduler.Default));
        _client.Dispose();
        await _api.DisposeAsync();
        _stop.Dispose();
    }
}

internal sealed class CapturedLog : ILogger
{
    public ConcurrentQueue<string> Lines { get; } = [];
    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;
    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        Lines.Enqueue(formatter(state, exception));
}
