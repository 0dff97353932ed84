using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Microsoft.AspNetCore.Http;

namespace AmbientMesh.Kubernetes.Tests;

/// <summary>A small API server over loopback which keeps objects in memory: create, get, list, watch, replace, merge patch, delete, with versions and conflicts.</summary>
public sealed class MemoryApi : IAsyncDisposable
{
    private readonly Lock _gate = new();
    private readonly SortedDictionary<string, JsonObject> _objects = new(StringComparer.Ordinal);
    private readonly List<(int Version, string Collection, string Type, string Object)> _history = [];
    private readonly List<Channel<bool>> _watchers = [];
    private LoopbackApi _api = null!;
    private int _version = 100;

    /// <summary>Answers a TokenReview: the status for a token.</summary>
    public Func<string, JsonObject> Review { get; set; } = _ => new JsonObject { ["error"] = "unknown token" };

    /// <summary>Asked before each request; a code above 0 is answered instead.</summary>
    public Func<SeenRequest, int> Fault { get; set; } = _ => 0;

    /// <summary>Awaited before each request is answered.</summary>
    public Func<SeenRequest, Task> Hold { get; set; } = _ => Task.CompletedTask;

    public ConcurrentQueue<SeenRequest> Requests => _api.All;
    public ChannelReader<SeenRequest> Seen => _api.Seen;

    /// <summary>Paths of objects in the order in which they were created or changed, by whomever.</summary>
    public Channel<string> Written { get; } = Channel.CreateUnbounded<string>();

    public static async Task<MemoryApi> StartAsync()
    {
        var api = new MemoryApi();
        api._api = await LoopbackApi.StartAsync(api.AnswerAsync);
        return api;
    }

    public KubernetesClient Client(TimeProvider? clock = null) => _api.Client(clock);

    /// <summary>Puts an object there as another client would, creating or replacing it.</summary>
    public void Put(string collection, string json)
    {
        var o = JsonNode.Parse(json)!.AsObject();
        var path = $"{collection}/{(string)o["metadata"]!["name"]!}";
        lock (_gate) Store(path, o, _objects.ContainsKey(path) ? "MODIFIED" : "ADDED");
    }

    public void Remove(string path)
    {
        lock (_gate) Drop(path);
    }

    public JsonObject? Find(string path)
    {
        lock (_gate) return _objects.GetValueOrDefault(path)?.DeepClone().AsObject();
    }

    public Task DisconnectAsync() => _api.DisposeAsync().AsTask();

    private async Task AnswerAsync(SeenRequest request, HttpContext context)
    {
        await Hold(request);
        if (Fault(request) is > 0 and var code)
        {
            await context.StatusAsync(code, "Fault", "made to fail");
            return;
        }
        if (request.Path.EndsWith("/tokenreviews", StringComparison.Ordinal))
        {
            var review = JsonNode.Parse(request.Body)!;
            review["status"] = Review((string)review["spec"]!["token"]!);
            await context.JsonAsync(201, review.ToJsonString());
            return;
        }
        if (request.Query.Contains("watch=true"))
        {
            await WatchAsync(request, context);
            return;
        }
        var (status, body) = Answer(request);
        await context.JsonAsync(status, body);
    }

    private (int, string) Answer(SeenRequest request)
    {
        lock (_gate)
        {
            var known = _objects.GetValueOrDefault(request.Path);
            switch (request.Method)
            {
                case "POST":
                    var created = JsonNode.Parse(request.Body)!.AsObject();
                    var path = $"{request.Path}/{(string)created["metadata"]!["name"]!}";
                    if (_objects.ContainsKey(path)) return Failure(409, "AlreadyExists", path);
                    Store(path, created, "ADDED");
                    return (201, created.ToJsonString());
                case "GET" when known is null && IsCollection(request.Path):
                    return (200, List(request));
                case not "GET" and not "PUT" and not "PATCH" and not "DELETE":
                    return Failure(405, "MethodNotAllowed", request.Path);
                case var _ when known is null:
                    return Failure(404, "NotFound", request.Path);
                case "PUT":
                    var replaced = JsonNode.Parse(request.Body)!.AsObject();
                    if ((string?)replaced["metadata"]!["resourceVersion"] is { } version && version != (string?)known["metadata"]!["resourceVersion"]) return Failure(409, "Conflict", request.Path);
                    Store(request.Path, replaced, "MODIFIED");
                    return (200, replaced.ToJsonString());
                case "PATCH":
                    var patched = Merged(known, JsonNode.Parse(request.Body)!.AsObject());
                    Store(request.Path, patched, "MODIFIED");
                    return (200, patched.ToJsonString());
                case "DELETE":
                    Drop(request.Path);
                    return (200, """{"kind":"Status","apiVersion":"v1","status":"Success"}""");
                default:
                    return (200, known.ToJsonString());
            }
        }
    }

    private string List(SeenRequest request)
    {
        var items = new JsonArray([.. _objects.Where(o => IsSelected(request, o.Key)).Select(o => o.Value.DeepClone())]);
        return new JsonObject { ["kind"] = "List", ["metadata"] = new JsonObject { ["resourceVersion"] = $"{_version}" }, ["items"] = items }.ToJsonString();
    }

    private async Task WatchAsync(SeenRequest request, HttpContext context)
    {
        var signal = Channel.CreateUnbounded<bool>();
        lock (_gate) _watchers.Add(signal);
        signal.Writer.TryWrite(true);
        var lines = Channel.CreateUnbounded<string>();
        var streaming = context.StreamAsync(lines.Reader);
        var from = int.Parse(request.Query.Split("resourceVersion=")[1].Split('&')[0], CultureInfo.InvariantCulture);
        await foreach (var _ in signal.Reader.ReadAllAsync(context.RequestAborted))
        {
            lock (_gate)
            {
                foreach (var told in _history.Where(h => h.Version > from && IsSelected(request, h.Collection)))
                    lines.Writer.TryWrite($$"""{"type":"{{told.Type}}","object":{{told.Object}}}""");
                from = _version;
            }
        }
        await streaming;
    }

    private void Store(string path, JsonObject o, string type)
    {
        var meta = (o["metadata"] ??= new JsonObject()).AsObject();
        meta["resourceVersion"] = $"{++_version}";
        meta["uid"] ??= $"uid-{_version}";
        if (path.Split("/namespaces/") is [_, var rest] && rest.Split('/') is [var ns, _, _]) meta["namespace"] = ns;
        _objects[path] = o;
        Tell(path, type, o);
        Written.Writer.TryWrite(path);
    }

    private void Drop(string path)
    {
        if (!_objects.Remove(path, out var o)) return;
        o["metadata"]!["resourceVersion"] = $"{++_version}";
        Tell(path, "DELETED", o);
    }

    private void Tell(string path, string type, JsonObject o)
    {
        _history.Add((_version, path, type, o.ToJsonString()));
        foreach (var watcher in _watchers) watcher.Writer.TryWrite(true);
    }

    private static bool IsCollection(string path) => path.Split('/') is ["", "api", _, _] or ["", "api", _, "namespaces", _, _] or ["", "apis", _, _, _] or ["", "apis", _, _, "namespaces", _, _];

    private static bool IsSelected(SeenRequest request, string path)
    {
        var steps = path.Split('/');
        var (collection, name) = (string.Join('/', steps[..^1]), steps[^1]);
        var everywhere = steps.ToList().IndexOf("namespaces") is > 0 and var at && at < steps.Length - 2 ? string.Join('/', steps.Where((_, i) => i != at && i != at + 1 && i < steps.Length - 1)) : collection;
        var isThere = request.Path == collection || request.Path == everywhere;
        return isThere && (!request.Query.Contains("metadata.name%3D") || Uri.UnescapeDataString(request.Query).Contains($"metadata.name={name}&"));
    }

    private static JsonObject Merged(JsonObject target, JsonObject changes)
    {
        var merged = target.DeepClone().AsObject();
        foreach (var (key, value) in changes)
        {
            if (value is null) merged.Remove(key);
            else if (value is JsonObject inner) merged[key] = Merged(merged[key] as JsonObject ?? [], inner);
            else merged[key] = value.DeepClone();
        }
        return merged;
    }

    private static (int, string) Failure(int code, string reason, string path) =>
        (code, $$"""{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"{{path}}","reason":"{{reason}}","details":{"name":"{{path.Split('/')[^1]}}"},"code":{{code}}}""");

    public ValueTask DisposeAsync() => _api.DisposeAsync();
}
