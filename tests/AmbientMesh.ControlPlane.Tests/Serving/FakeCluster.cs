using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using AmbientMesh.Kubernetes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace AmbientMesh.ControlPlane.Tests.Serving;

/// <summary>A source of Kubernetes objects in memory, behind the REST interface the control plane uses: list, watch, get, create, replace, merge, token review.</summary>
internal sealed partial class FakeCluster : IAsyncDisposable
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, SortedDictionary<string, JsonObject>> _objects = [];
    private readonly List<(int Version, string Resource, string Line)> _events = [];
    private readonly Dictionary<string, (string User, string Audience)> _tokens = [];
    private readonly WebApplication _app;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _version = 100;
    private DirectoryInfo? _folder;

    private FakeCluster(WebApplication app) => _app = app;

    /// <summary>Lists of this resource are not answered until the task completes.</summary>
    public (string Resource, Task Until)? HoldsLists { get; set; }

    /// <summary>Kinds that are not installed: they are answered with 404.</summary>
    public HashSet<string> Unserved { get; } = [];

    /// <summary>Token reviews are answered with 503.</summary>
    public bool FailsReviews { get; set; }

    public KubernetesConnection Connection => new() { Server = new Uri(_app.Urls.First()) };

    /// <summary>A kubeconfig leading here; it is deleted with the cluster.</summary>
    public string WriteKubeconfig()
    {
        _folder ??= Directory.CreateTempSubdirectory("controlplane-test-");
        var path = Path.Combine(_folder.FullName, "kubeconfig");
        File.WriteAllText(path, $$"""
            apiVersion: v1
            kind: Config
            current-context: test
            contexts: [{name: test, context: {cluster: test} }]
            clusters: [{name: test, cluster: {server: "{{Connection.Server}}"} }]
            """);
        return path;
    }

    public static async Task<FakeCluster> StartAsync()
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(k => k.Listen(IPAddress.Loopback, 0));
        builder.Services.AddLogging();
        var cluster = new FakeCluster(builder.Build());
        cluster._app.Run(cluster.AnswerAsync);
        await cluster._app.StartAsync(Patience.Token);
        return cluster;
    }

    /// <summary>Creates or replaces an object.</summary>
    public void Put<T>(T item) where T : KubernetesObject, IResource<T> => Put(T.Type.Plural, JsonSerializer.SerializeToNode(item, KubernetesJson.Of<T>())!.AsObject());

    public void Put(IEnumerable<KubernetesObject> items)
    {
        foreach (var item in items)
            switch (item)
            {
                case Namespace ns: Put(ns); break;
                case Node node: Put(node); break;
                case Pod pod: Put(pod); break;
                case Service service: Put(service); break;
                case EndpointSlice slice: Put(slice); break;
                case ServiceEntry entry: Put(entry); break;
                case WorkloadEntry entry: Put(entry); break;
                case Gateway gateway: Put(gateway); break;
            }
    }

    public void Delete(string resource, string ns, string name)
    {
        lock (_gate)
            if (Table(resource).Remove($"{ns}/{name}", out var last)) Tell("DELETED", resource, last);
    }

    public JsonObject? Find(string resource, string ns, string name)
    {
        lock (_gate) return Table(resource).GetValueOrDefault($"{ns}/{name}");
    }

    /// <summary>A token of <c>system:serviceaccount:ns:account</c> for an audience.</summary>
    public string Token(string ns, string account, string audience = "istio-ca")
    {
        var token = $"{Guid.NewGuid():N}.{ns}-{account}.x";
        lock (_gate) _tokens[token] = ($"system:serviceaccount:{ns}:{account}", audience);
        return token;
    }

    public async ValueTask DisposeAsync()
    {
        using var now = new CancellationTokenSource();
        await now.CancelAsync();
        await _app.StopAsync(now.Token);
        await _app.DisposeAsync();
        _folder?.Delete(recursive: true);
    }

    public void Install(string resource)
    {
        lock (_gate) Unserved.Remove(resource);
    }

    public JsonObject Put(string resource, JsonObject item)
    {
        lock (_gate)
        {
            var key = KeyOf(item);
            var existed = Table(resource).ContainsKey(key);
            item["metadata"]!["uid"] ??= Guid.NewGuid().ToString();
            Table(resource)[key] = item;
            Tell(existed ? "MODIFIED" : "ADDED", resource, item);
            return item;
        }
    }

    private void Tell(string type, string resource, JsonObject item)
    {
        item["metadata"]!["resourceVersion"] = $"{++_version}";
        _events.Add((_version, resource, new JsonObject { ["type"] = type, ["object"] = item.DeepClone() }.ToJsonString()));
        var changed = _changed;
        _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        changed.SetResult();
    }

    private SortedDictionary<string, JsonObject> Table(string resource) => _objects.TryGetValue(resource, out var table) ? table : _objects[resource] = new(StringComparer.Ordinal);

    private static string KeyOf(JsonObject item) => $"{(string?)item["metadata"]!["namespace"]}/{(string?)item["metadata"]!["name"]}";

    private async Task AnswerAsync(HttpContext http)
    {
        var path = ResourcePath().Match(http.Request.Path.Value!);
        var (ns, resource, name) = (path.Groups["ns"].Value, path.Groups["resource"].Value, path.Groups["name"].Value);
        var sent = await ReadAsync(http);
        var body = sent as JsonObject;
        bool isServed;
        lock (_gate) isServed = !Unserved.Contains(resource);
        var answer = (http.Request.Method, name) switch
        {
            _ when !isServed => Problem(404, "NotFound"),
            ("GET", "") when http.Request.Query["watch"].ToString() is "1" or "true" => null,
            ("GET", "") => await ListAsync(resource),
            ("GET", _) => Find(resource, ns, name),
            ("POST", _) when resource == "tokenreviews" => FailsReviews ? Problem(503, "ServiceUnavailable") : Review(body!),
            ("POST", _) when Find(resource, ns, (string)body!["metadata"]!["name"]!) is not null => Problem(409, "AlreadyExists"),
            ("POST", _) or ("PUT", _) => Put(resource, body!),
            ("PATCH", _) when sent is JsonArray operations && Find(resource, ns, name) is { } present =>
                Patched(present, operations) is { } patched ? Put(resource, patched) : Problem(422, "Invalid", name, resource),
            ("PATCH", _) when Find(resource, ns, name) is { } present => Put(resource, Merge(present.DeepClone().AsObject(), body!)),
            _ => Problem(404, "NotFound", name, resource),
        };
        if (http.Request.Method == "GET" && name.Length == 0 && answer is null && isServed) await WatchAsync(http, resource);
        else await WriteAsync(http, answer ?? Problem(404, "NotFound", name, resource));
    }

    private async Task<JsonObject> ListAsync(string resource)
    {
        if (HoldsLists is { } hold && hold.Resource == resource) await hold.Until.WaitAsync(Patience.Token);
        lock (_gate)
            return new JsonObject
            {
                ["kind"] = "List",
                ["metadata"] = new JsonObject { ["resourceVersion"] = $"{_version}" },
                ["items"] = new JsonArray([.. Table(resource).Values.Select(o => o.DeepClone())]),
            };
    }

    private async Task WatchAsync(HttpContext http, string resource)
    {
        var seen = int.Parse(http.Request.Query["resourceVersion"]!);
        http.Response.ContentType = "application/json";
        await http.Response.Body.FlushAsync(http.RequestAborted);
        while (!http.RequestAborted.IsCancellationRequested)
        {
            List<string> lines;
            Task changed;
            lock (_gate)
            {
                lines = [.. _events.Where(e => e.Version > seen && e.Resource == resource).Select(e => e.Line)];
                (seen, changed) = (_version, _changed.Task);
            }
            foreach (var line in lines) await http.Response.Body.WriteAsync(Encoding.UTF8.GetBytes(line + "\n"), http.RequestAborted);
            if (lines.Count > 0) await http.Response.Body.FlushAsync(http.RequestAborted);
            await changed.WaitAsync(http.RequestAborted);
        }
    }

    private JsonObject Review(JsonObject review)
    {
        var audiences = review["spec"]!["audiences"]?.AsArray().Select(a => (string)a!).ToList() ?? [];
        lock (_gate)
        {
            var status = _tokens.TryGetValue((string)review["spec"]!["token"]!, out var known) && audiences.Contains(known.Audience)
                ? new JsonObject
                {
                    ["authenticated"] = true,
                    ["user"] = new JsonObject
                    {
                        ["username"] = known.User,
                        ["groups"] = new JsonArray("system:serviceaccounts", $"system:serviceaccounts:{known.User.Split(':')[2]}", "system:authenticated"),
                        ["extra"] = Extra(known.User.Split(':')[2], known.User.Split(':')[3]),
                    },
                    ["audiences"] = new JsonArray(known.Audience),
                }
                : new JsonObject { ["user"] = new JsonObject(), ["error"] = "[invalid bearer token, token audiences are not for this server]" };
            return new JsonObject { ["kind"] = "TokenReview", ["apiVersion"] = "authentication.k8s.io/v1", ["metadata"] = new JsonObject(), ["status"] = status };
        }
    }

    // The token is bound to the first pod that runs with the account.
    private JsonObject? Extra(string ns, string account)
    {
        var pod = Table("pods").Values.FirstOrDefault(p => (string?)p["metadata"]!["namespace"] == ns && (string?)p["spec"]?["serviceAccountName"] == account);
        return pod is null ? null : new JsonObject
        {
            ["authentication.kubernetes.io/pod-name"] = new JsonArray((string?)pod["metadata"]!["name"]),
            ["authentication.kubernetes.io/pod-uid"] = new JsonArray((string?)pod["metadata"]!["uid"]),
        };
    }

    private static JsonObject Merge(JsonObject into, JsonObject patch)
    {
        foreach (var (key, value) in patch)
            if (value is JsonObject inner && into[key] is JsonObject present) into[key] = Merge(present.DeepClone().AsObject(), inner);
            else into[key] = value?.DeepClone();
        return into;
    }

    private static JsonObject Problem(int code, string reason, string? name = null, string? resource = null) => new()
    {
        ["kind"] = "Status",
        ["status"] = "Failure",
        ["reason"] = reason,
        ["message"] = reason,
        ["code"] = code,
        ["details"] = new JsonObject { ["name"] = name, ["kind"] = resource },
    };

    /// <summary>The two operations of RFC 6902 that the control plane uses; null when a test fails.</summary>
    private static JsonObject? Patched(JsonObject present, JsonArray operations)
    {
        var result = present.DeepClone().AsObject();
        foreach (var operation in operations.OfType<JsonObject>())
        {
            var path = ((string)operation["path"]!).Split('/')[1..];
            var parent = path[..^1].Aggregate(result, (at, part) => at[part]!.AsObject());
            if ((string?)operation["op"] == "test" && !JsonNode.DeepEquals(parent[path[^1]], operation["value"])) return null;
            if ((string?)operation["op"] == "add") parent[path[^1]] = operation["value"]?.DeepClone();
        }
        return result;
    }

    private static async Task<JsonNode?> ReadAsync(HttpContext http)
    {
        using var reader = new StreamReader(http.Request.Body);
        var text = await reader.ReadToEndAsync(http.RequestAborted);
        return text.Length == 0 ? null : JsonNode.Parse(text);
    }

    private static async Task WriteAsync(HttpContext http, JsonObject answer)
    {
        http.Response.StatusCode = (string?)answer["kind"] == "Status" ? (int)answer["code"]! : http.Request.Method == "POST" ? 201 : 200;
        http.Response.ContentType = "application/json";
        await http.Response.Body.WriteAsync(Encoding.UTF8.GetBytes(answer.ToJsonString()), http.RequestAborted);
    }

    [GeneratedRegex("^/(api/v1|apis/[^/]+/[^/]+)(/namespaces/(?<ns>[^/]+))?/(?<resource>[^/]+)(/(?<name>[^/]+?)(/status)?)?$")]
    private static partial Regex ResourcePath();
}
