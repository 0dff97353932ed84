using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace AmbientMesh.Kubernetes;

/// <summary>Objects of one kind at one API server. Every method throws <see cref="KubernetesException"/> unless it says otherwise. Thread-safe.</summary>
public sealed class ResourceClient<T> where T : class
{
    private const int ChunkSize = 500;

    private readonly KubernetesClient _client;

    internal ResourceClient(KubernetesClient client, ObjectKind<T> kind)
    {
        _client = client;
        Kind = kind;
    }

    public ObjectKind<T> Kind { get; }
    public TimeProvider Clock => _client.Clock;

    /// <summary>The object, or null when there is none of that name.</summary>
    /// <param name="ns">Null for cluster-scoped kinds.</param>
    public async Task<T?> GetAsync(string? ns, string name, CancellationToken cancellationToken)
    {
        var path = Kind.Type.Path(ns, name);
        try
        {
            return KubernetesClient.Read(await _client.SendAsync(HttpMethod.Get, path, null, null, cancellationToken), Kind.Json, $"GET {path}");
        }
        catch (KubernetesException e) when (IsAbsent(e, name))
        {
            return null;
        }
    }

    /// <summary>All objects selected, as of one moment; read in chunks.</summary>
    public async Task<ObjectList<T>> ListAsync(Selection selection, CancellationToken cancellationToken)
    {
        var reader = new ListReader<T>(Kind);
        try
        {
            var more = "";
            do
            {
                var path = ListPath(selection) + $"limit={ChunkSize}" + (more.Length == 0 ? "" : $"&continue={Uri.EscapeDataString(more)}");
                more = reader.Add(await _client.SendAsync(HttpMethod.Get, path, null, null, cancellationToken), $"GET {path}");
            }
            while (more.Length > 0);
        }
        catch (KubernetesException e) when (e.IsExpired && reader.HasChunks)
        {
            // The collection changed under a slow reading: once more, in one piece.
            reader = new ListReader<T>(Kind);
            var path = ListPath(selection).TrimEnd('?', '&');
            reader.Add(await _client.SendAsync(HttpMethod.Get, path, null, null, cancellationToken), $"GET {path}");
        }
        return reader.ToList();
    }

    /// <summary>Changes after <paramref name="resourceVersion"/> until the server ends the stream; an enumeration that ends is to be taken up again.</summary>
    /// <param name="resourceVersion">Empty: first the objects that are there, then changes.</param>
    /// <param name="timeout">When the server is to end the stream.</param>
    /// <exception cref="KubernetesException">Also in the middle; <see cref="KubernetesException.IsExpired"/> means the version is too old: list again.</exception>
    public async IAsyncEnumerable<WatchEvent<T>> WatchAsync(
        Selection selection, string resourceVersion, TimeSpan timeout, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var path = ListPath(selection) + $"watch=true&allowWatchBookmarks=true&timeoutSeconds={(int)timeout.TotalSeconds}"
            + (resourceVersion.Length == 0 ? "" : $"&resourceVersion={Uri.EscapeDataString(resourceVersion)}");
        using var deadline = new Deadline(_client.RequestTimeout, _client.Clock, cancellationToken);
        using var answer = await Reached(() => _client.OpenAsync(HttpMethod.Get, path, null, null, deadline.Token), path, cancellationToken);
        deadline.Restart(timeout + _client.RequestTimeout);   // a server that forgets to end the stream is cut off
        await using var body = await answer.Content.ReadAsStreamAsync(deadline.Token);
        var lines = new WatchLines(body);
        while (await Reached(() => lines.NextAsync(deadline.Token).AsTask(), path, cancellationToken) is { } line)
            yield return WatchReader.Read(line.Span, Kind, $"GET {path}");
    }

    /// <summary>Creates the object as it is written on the server; its namespace is in its metadata.</summary>
    public Task<T> CreateAsync(T o, WriteOptions? options, CancellationToken cancellationToken)
    {
        var ns = Kind.KeyOf(o).Namespace;
        return WriteAsync(HttpMethod.Post, Kind.Type.Path(ns), Body(o), "application/json", options, cancellationToken);
    }

    /// <summary>Changes the object; <paramref name="subresource"/> is e.g. <c>status</c>.</summary>
    public Task<T> PatchAsync(string? ns, string name, Patch patch, WriteOptions? options, CancellationToken cancellationToken, string? subresource = null) =>
        WriteAsync(HttpMethod.Patch, Kind.Type.Path(ns, name, subresource), Encoding.UTF8.GetBytes(patch.Body.ToJsonString()), patch.ContentType, options, cancellationToken);

    /// <summary>Server-side apply: makes the object have these fields, creating it if need be. A conflict names the other manager.</summary>
    public Task<T> ApplyAsync(JsonObject wanted, WriteOptions options, CancellationToken cancellationToken, string? subresource = null)
    {
        var key = GenericObjects.KeyOf(wanted);
        return PatchAsync(key.Namespace, key.Name, Patch.Apply(wanted), options, cancellationToken, subresource);
    }

    /// <summary>Deletes the object.</summary>
    /// <returns>False when there was none of that name. True may mean that finalizers still hold it.</returns>
    public async Task<bool> DeleteAsync(string? ns, string name, DeleteOptions? options, CancellationToken cancellationToken)
    {
        var body = options is null ? null : Encoding.UTF8.GetBytes(options.ToJson().ToJsonString());
        try
        {
            await _client.SendAsync(HttpMethod.Delete, Kind.Type.Path(ns, name), body, body is null ? null : "application/json", cancellationToken);
            return true;
        }
        catch (KubernetesException e) when (IsAbsent(e, name))
        {
            return false;
        }
    }

    internal Task<T> PutAsync(T o, string? subresource, WriteOptions? options, CancellationToken cancellationToken)
    {
        var key = Kind.KeyOf(o);
        return WriteAsync(HttpMethod.Put, Kind.Type.Path(key.Namespace, key.Name, subresource), Body(o), "application/json", options, cancellationToken);
    }

    private byte[] Body(T o) => JsonSerializer.SerializeToUtf8Bytes(Kind.Stamp(o), Kind.Json);

    private async Task<T> WriteAsync(HttpMethod method, string path, byte[] body, string contentType, WriteOptions? options, CancellationToken cancellationToken)
    {
        var query = $"{path}?fieldManager={Uri.EscapeDataString(options?.FieldManager ?? _client.Name)}";
        if (options is { Force: true }) query += "&force=true";
        if (options is { DryRun: true }) query += "&dryRun=All";
        if (options is { Strict: true }) query += "&fieldValidation=Strict";
        return KubernetesClient.Read(await _client.SendAsync(method, query, body, contentType, cancellationToken), Kind.Json, $"{method} {path}");
    }

    private string ListPath(Selection selection)
    {
        var path = Kind.Type.Path(selection.Namespace) + "?";
        if (selection.LabelSelector is { } labels) path += $"labelSelector={Uri.EscapeDataString(labels)}&";
        if (selection.FieldSelector is { } fields) path += $"fieldSelector={Uri.EscapeDataString(fields)}&";
        return path;
    }

    // A 404 without the object's name says that the kind is not served, which is another matter.
    private static bool IsAbsent(KubernetesException e, string name) => e.IsNotFound && e.Status.Details.Name == name;

    private async Task<TResult> Reached<TResult>(Func<Task<TResult>> read, string path, CancellationToken cancellationToken)
    {
        try
        {
            return await read();
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw _client.Unreachable($"GET {path}", "the server neither answered nor ended the stream in time", e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            throw _client.Unreachable($"GET {path}", e.InnerException?.Message ?? e.Message, e);
        }
    }
}

/// <summary>Whole-object writes, offered only where nothing can be lost.</summary>
public static class Replacing
{
    /// <summary>PUT: the object as given; with a resourceVersion in its metadata a conflict is noticed.</summary>
    public static Task<T> ReplaceAsync<T>(this ResourceClient<T> client, T o, WriteOptions? options, CancellationToken cancellationToken)
        where T : KubernetesObject, IReplaceable => client.PutAsync(o, null, options, cancellationToken);

    /// <inheritdoc cref="ReplaceAsync{T}"/>
    public static Task<JsonObject> ReplaceAsync(
        this ResourceClient<JsonObject> client, JsonObject o, WriteOptions? options, CancellationToken cancellationToken, string? subresource = null) =>
        client.PutAsync(o, subresource, options, cancellationToken);
}
