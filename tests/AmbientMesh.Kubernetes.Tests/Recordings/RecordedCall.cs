using System.Text.Json;
using System.Text.Json.Nodes;

namespace AmbientMesh.Kubernetes.Tests;

/// <summary>Makes with our client the call that was recorded, and compares what it returns with the recorded answer.</summary>
internal sealed class RecordedCall(KubernetesClient client, RecordedExchange exchange)
{
    private readonly ApiPath _path = ApiPath.Parse(exchange.Path);

    public async Task CheckAsync(CancellationToken cancellationToken)
    {
        if (exchange.Code >= 400) await CheckErrorAsync(cancellationToken);
        else if (_path.Plural.Length == 0) await CheckDocumentAsync(cancellationToken);
        else await TypedOrGenericAsync(cancellationToken);
    }

    private async Task CheckErrorAsync(CancellationToken cancellationToken)
    {
        if (exchange.Method == "GET" && _path.Name is { } name && Said("details", "name") == name && exchange.Code == 404 && _path.Subresource is null && _path.Plural.Length > 0)
        {
            Assert.Null(await client.Of(_path.Type).GetAsync(_path.Namespace, name, cancellationToken));
            return;
        }
        if (exchange.Method == "DELETE" && exchange.Code == 404 && Said("details", "name") == _path.Name)
        {
            Assert.False(await client.Of(_path.Type).DeleteAsync(_path.Namespace, _path.Name!, null, cancellationToken));
            return;
        }
        var error = await Assert.ThrowsAnyAsync<KubernetesException>(() =>
            _path.Plural.Length == 0 ? (Task)client.GetJsonAsync(exchange.Path, cancellationToken) : SendAsync(client.Of(_path.Type), cancellationToken));
        Assert.Equal(exchange.Code, (int)error.Code!);
        Assert.Equal(exchange.Code is >= 500 or 429, error is KubernetesUnavailableException);
        if (!exchange.AnswerType.StartsWith("application/json", StringComparison.Ordinal)) return;
        Assert.Equal(Said("reason"), error.Reason);
        Assert.Equal(Said("message"), error.Status.Message);
        var causes = (JsonNode.Parse(exchange.AnswerBody)!["details"]?["causes"] as JsonArray)?.Count ?? 0;
        Assert.Equal(causes, error.Status.Details.Causes.Count);
    }

    private async Task CheckDocumentAsync(CancellationToken cancellationToken)
    {
        var document = await client.GetJsonAsync(exchange.Path, cancellationToken);
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(exchange.AnswerBody), document));
        if ((string?)document["kind"] == "APIResourceList")
        {
            var types = ApiResources.Read(document, _path.Type.Group, _path.Type.Version);
            Assert.Equal(document["resources"]!.AsArray().Count(r => !((string)r!["name"]!).Contains('/')), types.Count);
        }
    }

    private Task TypedOrGenericAsync(CancellationToken cancellationToken) => _path.Subresource is not null and not "status" ? CheckAsync(client.Of(_path.Type), cancellationToken) : $"{_path.Type}" switch
    {
        "namespaces" => CheckAsync(client.Of<Namespace>(), cancellationToken),
        "pods" => CheckAsync(client.Of<Pod>(), cancellationToken),
        "services" => CheckAsync(client.Of<Service>(), cancellationToken),
        "nodes" => CheckAsync(client.Of<Node>(), cancellationToken),
        "serviceaccounts" => CheckAsync(client.Of<ServiceAccount>(), cancellationToken),
        "configmaps" => CheckAsync(client.Of<ConfigMap>(), cancellationToken),
        "secrets" => CheckAsync(client.Of<Secret>(), cancellationToken),
        "events" => CheckAsync(client.Of<Event>(), cancellationToken),
        "endpointslices.discovery.k8s.io" => CheckAsync(client.Of<EndpointSlice>(), cancellationToken),
        "deployments.apps" => CheckAsync(client.Of<Deployment>(), cancellationToken),
        "replicasets.apps" => CheckAsync(client.Of<ReplicaSet>(), cancellationToken),
        "daemonsets.apps" => CheckAsync(client.Of<DaemonSet>(), cancellationToken),
        "leases.coordination.k8s.io" => CheckAsync(client.Of<Lease>(), cancellationToken),
        "tokenreviews.authentication.k8s.io" => CheckTokenReviewAsync(cancellationToken),
        _ => CheckAsync(client.Of(_path.Type), cancellationToken),
    };

    private async Task CheckAsync<T>(ResourceClient<T> resources, CancellationToken cancellationToken) where T : class
    {
        var recorded = exchange.AnswerBody;
        if (exchange.Method == "GET" && _path.Name is null && _path.Query.ContainsKey("watch")) await CheckWatchAsync(resources, cancellationToken);
        else if (exchange.Method == "GET" && _path.Name is null) await CheckListAsync(resources, cancellationToken);
        else if (exchange.Method == "DELETE" && _path.Name is not null) Assert.True(await resources.DeleteAsync(_path.Namespace, _path.Name, null, cancellationToken));
        else if (await SendAsync(resources, cancellationToken) is { } answer) AssertSame(JsonNode.Parse(recorded)!, Written(resources, answer));
    }

    private async Task CheckWatchAsync<T>(ResourceClient<T> resources, CancellationToken cancellationToken) where T : class
    {
        var lines = exchange.AnswerBody.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => JsonNode.Parse(l)!).ToList();
        var seen = 0;
        try
        {
            await foreach (var told in resources.WatchAsync(Selected(), "1", TimeSpan.FromMinutes(1), cancellationToken))
            {
                var line = lines[seen++];
                switch (told)
                {
                    case WatchEvent<T>.Present { Object: var o, IsNew: var isNew }:
                        Assert.Equal(isNew ? "ADDED" : "MODIFIED", (string?)line["type"]);
                        AssertSame(line["object"]!, Written(resources, o));
                        break;
                    case WatchEvent<T>.Gone { Object: var o }:
                        Assert.Equal("DELETED", (string?)line["type"]);
                        AssertSame(line["object"]!, Written(resources, o));
                        break;
                    case WatchEvent<T>.Bookmark { ResourceVersion: var version, EndsInitialEvents: var ends }:
                        Assert.Equal((string?)line["object"]!["metadata"]!["resourceVersion"], version);
                        Assert.Equal(line["object"]!["metadata"]!["annotations"] is not null, ends);
                        break;
                    case WatchEvent<T>.Unreadable { Object: var unreadable }:
                        Assert.Fail(unreadable.ToString());
                        break;
                }
            }
        }
        catch (KubernetesException e) when ((string?)lines[seen]["type"] == "ERROR")
        {
            Assert.Equal((int?)lines[seen]["object"]!["code"], (int)e.Code!);
            Assert.True(e.IsExpired);
            seen++;
        }
        Assert.Equal(lines.Count, seen);
    }

    private async Task CheckListAsync<T>(ResourceClient<T> resources, CancellationToken cancellationToken) where T : class
    {
        var recorded = JsonNode.Parse(exchange.AnswerBody)!.AsObject();
        // A chunk promises more than the recording serves: read it as one chunk.
        var reader = new ListReader<T>(resources.Kind);
        var next = reader.Add(System.Text.Encoding.UTF8.GetBytes(exchange.AnswerBody), exchange.Path);
        Assert.Equal((string?)recorded["metadata"]?["continue"] ?? "", next);
        var list = next.Length > 0 ? await OneChunkAsync(reader, cancellationToken) : await resources.ListAsync(Selected(), cancellationToken);
        Assert.True(list.Unreadable.Count <= (exchange.IsShortened ? 1 : 0), string.Join("; ", list.Unreadable));   // the object in which a recording was cut
        Assert.Equal((string?)recorded["metadata"]?["resourceVersion"] ?? "", list.ResourceVersion);
        var items = recorded["items"] as JsonArray ?? [];
        Assert.Equal(items.Count, list.Items.Count + list.Unreadable.Count);
        foreach (var (item, o) in items.Zip(list.Items)) AssertSame(item!, Written(resources, o));
    }

    private async Task<ObjectList<T>> OneChunkAsync<T>(ListReader<T> reader, CancellationToken cancellationToken) where T : class
    {
        await client.GetJsonAsync(exchange.Path, cancellationToken);
        return reader.ToList();
    }

    private async Task CheckTokenReviewAsync(CancellationToken cancellationToken)
    {
        var recorded = JsonNode.Parse(exchange.AnswerBody)!;
        var audiences = (JsonNode.Parse(exchange.RequestBody)!["spec"]!["audiences"] as JsonArray)?.Select(a => (string)a!).ToList() ?? [];
        var status = await client.ReviewTokenAsync("x", audiences, cancellationToken);
        var said = recorded["status"]!;
        Assert.Equal((bool?)said["authenticated"] ?? false, status.Authenticated);
        Assert.Equal((string?)said["error"], status.Error);
        Assert.Equal((string?)said["user"]?["username"], status.User.Username);
        Assert.Equal((said["user"]?["groups"] as JsonArray)?.Select(g => (string)g!) ?? [], status.User.Groups);
        Assert.Equal((said["audiences"] as JsonArray)?.Select(a => (string)a!) ?? [], status.Audiences);
        foreach (var (key, values) in said["user"]?["extra"] as JsonObject ?? []) Assert.Equal(values!.AsArray().Select(v => (string)v!), status.User.Extra[key]);
    }

    private async Task<T?> SendAsync<T>(ResourceClient<T> resources, CancellationToken cancellationToken) where T : class
    {
        var body = new byte[] { (byte)'{', (byte)'}' };
        switch (exchange.Method)
        {
            case "GET" when _path.Name is null && _path.Query.ContainsKey("watch"):
                await foreach (var _ in resources.WatchAsync(Selected(), "1", TimeSpan.FromMinutes(1), cancellationToken))
                {
                }
                return null;
            case "GET" when _path.Name is null:
                await resources.ListAsync(Selected(), cancellationToken);
                return null;
            case "GET" when _path.Subresource is null:
                return await resources.GetAsync(_path.Namespace, _path.Name!, cancellationToken);
            case "PATCH" when RecordedPatch() is { } patch:
                return await resources.PatchAsync(_path.Namespace, _path.Name!, patch, null, cancellationToken, _path.Subresource);
            case "POST" when _path.Name is null && resources is ResourceClient<JsonObject> generic && JsonObjectIn(exchange.RequestBody) is { } o:
                if (_path.Namespace is not null) (o["metadata"] ??= new JsonObject()).AsObject()["namespace"] = _path.Namespace;
                return (T)(object)await generic.CreateAsync(o, null, cancellationToken);
            default:
                // Forms our client does not send as such (deletecollection, subresources, bodies that are no object): the answer alone.
                return KubernetesClient.Read(await client.SendAsync(new HttpMethod(exchange.Method), exchange.Path, body, exchange.RequestHeaders.GetValueOrDefault("Content-Type", "application/json").Split(';')[0], cancellationToken), resources.Kind.Json, exchange.Path);
        }
    }

    /// <summary>Null: not a form our client can send.</summary>
    private Patch? RecordedPatch() => (exchange.RequestHeaders["Content-Type"].Split(';')[0], JsonIn(exchange.RequestBody)) switch
    {
        ("application/merge-patch+json", JsonObject changes) => Patch.Merge(changes),
        ("application/json-patch+json", JsonArray operations) => Patch.Json(operations),
        ("application/strategic-merge-patch+json", JsonObject changes) => Patch.Strategic(changes),
        ("application/apply-patch+yaml", JsonObject wanted) => Patch.Apply(wanted),
        ("application/apply-patch+yaml", _) => Patch.Apply([]),   // recorded as YAML
        _ => null,
    };

    private static JsonObject? JsonObjectIn(string text) => JsonIn(text) as JsonObject;

    private static JsonNode? JsonIn(string text)
    {
        try
        {
            return JsonNode.Parse(text);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private Selection Selected() => new() { Namespace = _path.Namespace };

    private string? Said(params string[] path) => (string?)path.Aggregate(JsonNode.Parse(exchange.AnswerType.StartsWith("application/json", StringComparison.Ordinal) ? exchange.AnswerBody : "{}"), (node, step) => node?[step]);

    private static JsonNode Written<T>(ResourceClient<T> resources, T o) where T : class => JsonSerializer.SerializeToNode(o, resources.Kind.Json)!;

    /// <summary>Everything our type holds is as recorded: what it writes is contained in what was read.</summary>
    private static void AssertSame(JsonNode recorded, JsonNode ours)
    {
        if (Difference(recorded, ours, "") is { } difference) Assert.Fail(difference);
        Assert.Equal((string?)recorded["metadata"]?["name"], (string?)ours["metadata"]?["name"]);
        Assert.Equal((string?)recorded["metadata"]?["resourceVersion"], (string?)ours["metadata"]?["resourceVersion"]);
    }

    private static string? Difference(JsonNode? recorded, JsonNode? ours, string at) => (recorded, ours) switch
    {
        (JsonObject r, JsonObject o) => o.Select(p => Difference(r[p.Key], p.Value, $"{at}.{p.Key}")).FirstOrDefault(d => d is not null),
        (JsonArray r, JsonArray o) => r.Count != o.Count ? $"{at}: {r.Count} items were recorded, {o.Count} read" : r.Zip(o).Select((p, i) => Difference(p.First, p.Second, $"{at}[{i}]")).FirstOrDefault(d => d is not null),
        (null, JsonObject { Count: 0 }) or (null, JsonArray { Count: 0 }) => null,
        (null, JsonObject o) => o.Select(p => Difference(null, p.Value, $"{at}.{p.Key}")).FirstOrDefault(d => d is not null),
        (null, JsonValue o) when o.GetValueKind() is JsonValueKind.False || (o.GetValueKind() is JsonValueKind.Number && o.GetValue<int>() == 0) || o.ToString().Length == 0 => null,
        _ => JsonNode.DeepEquals(recorded, ours) ? null : $"{at}: {recorded?.ToJsonString() ?? "nothing"} was recorded, {ours?.ToJsonString() ?? "nothing"} read",
    };
}

/// <summary>An API path taken apart.</summary>
internal sealed record ApiPath(ResourceType Type, string? Namespace, string? Name, string? Subresource, IReadOnlyDictionary<string, string> Query)
{
    public string Plural => Type.Plural;

    public static ApiPath Parse(string path)
    {
        var halves = path.Split('?', 2);
        var query = (halves.Length > 1 ? halves[1].Split('&') : []).Select(p => p.Split('=', 2)).GroupBy(p => p[0]).ToDictionary(g => g.Key, g => g.Last().Length > 1 ? g.Last()[1] : "");
        var steps = halves[0].Trim('/').Split('/').Select(Uri.UnescapeDataString).ToArray();
        var (group, version, rest) = steps switch
        {
            ["api", var v, .. var more] => ("", v, more),
            ["apis", var g, var v, .. var more] => (g, v, more),
            _ => ("", "", []),
        };
        return rest switch
        {
            ["namespaces", var ns, var plural, .. var more] when plural is not ("status" or "finalize") => Of(ns, plural, more),
            [var plural, .. var more] => Of(null, plural, more),
            _ => new ApiPath(new ResourceType(group, version, "", "", false), null, null, null, query),
        };

        ApiPath Of(string? ns, string plural, string[] more) =>
            new(new ResourceType(group, version, plural, "", ns is not null), ns, more.ElementAtOrDefault(0), more.Length > 1 ? string.Join('/', more[1..]) : null, query);
    }
}
