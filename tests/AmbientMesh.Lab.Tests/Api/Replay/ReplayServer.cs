using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Http;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;
using Microsoft.AspNetCore.Http;

namespace AmbientMesh.Lab.Tests.Api.Replay;

/// <summary>A server brought, before each exchange, into the state its recording presumes.</summary>
public sealed class ReplayServer : IAsyncDisposable
{
    private static readonly GroupResource Namespaces = new("", "namespaces");
    private static readonly GroupResource Definitions = new("apiextensions.k8s.io", "customresourcedefinitions");
    private readonly ApiServer _server;
    private readonly HttpClient _admin;
    private readonly HttpClient _anonymous;
    private readonly string _account;

    private ReplayServer(ApiServer server, string account)
    {
        _server = server;
        _account = account;
        _admin = Client(server, withCertificate: true);
        _anonymous = Client(server, withCertificate: false);
    }

    public ApiServer Server => _server;

    /// <param name="account">NAMESPACE/NAME of the account behind the recording's bearer token.</param>
    public static async Task<ReplayServer> StartAsync(string account)
    {
        var server = new ApiServer(new ApiServerOptions(), TimeProvider.System);
        await server.StartAsync(Patience.Token);
        return new ReplayServer(server, account);
    }

    private static HttpClient Client(ApiServer server, bool withCertificate)
    {
        var handler = new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false };
        handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        handler.SslOptions.CertificateChainPolicy.CustomTrustStore.Add(server.Certificates.Authority);
        if (withCertificate)
        {
            var certificate = server.Certificates.IssueClient("admin", "system:masters");
            handler.SslOptions.ClientCertificates = [certificate];
            handler.SslOptions.LocalCertificateSelectionCallback = (_, _, _, _, _) => certificate;
        }
        return new HttpClient(handler) { BaseAddress = new Uri($"https://{server.Addresses[0]}"), Timeout = TimeSpan.FromSeconds(20) };
    }

    private ApiResource? ResourceOf(RequestInfo info)
    {
        var resource = _server.Store.Registry.Find(info.Group, info.Version, info.Resource);
        return resource is { Group: "events.k8s.io", Plural: "events" } ? _server.Store.Registry.Get(new GroupResource("", "events")) : resource;
    }

    public static RequestInfo Info(Exchange exchange)
    {
        var context = new DefaultHttpContext();
        var at = exchange.Target.IndexOf('?', StringComparison.Ordinal);
        context.Request.Method = exchange.Method;
        context.Request.Path = Uri.UnescapeDataString(at < 0 ? exchange.Target : exchange.Target[..at]);
        context.Request.QueryString = new QueryString(at < 0 ? "" : exchange.Target[at..]);
        return RequestInfo.Of(context.Request);
    }

    /// <summary>Makes what the exchange presumes true: objects it finds exist, objects it makes do not.</summary>
    public void Prepare(Exchange exchange, Func<RequestInfo, JsonObject?> known)
    {
        var info = Info(exchange);
        if (!info.IsResource || ResourceOf(info) is not { IsStored: true } resource) return;
        var ns = resource.IsNamespaced ? info.Namespace : "";
        if (ns.Length > 0 && !exchange.Answer.Contains($"namespaces \\\"{ns}\\\" not found", StringComparison.Ordinal) && ns is not ("nope" or "nothere")) EnsureNamespace(ns, exchange.Answer);
        if (info.Subresource == "token") SeedTokenObjects(info);
        if (System.Text.RegularExpressions.Regex.Match(exchange.Target, @"resourceVersion=(\d{2,6})\b") is { Success: true } asked && exchange.Status == 200) _server.Store.AdvanceTo(long.Parse(asked.Groups[1].Value));
        if (exchange.Answer.Contains("too old", StringComparison.Ordinal))
        {
            _server.Store.AdvanceTo(100);
            _server.Store.Compact(99);
        }
        if (info.Verb is "list" or "deletecollection" && exchange.Json is JsonObject { } list && list.List("items") is { } items && list.Kind() != "PartialObjectMetadataList") SeedList(resource, info, list, items);
        if (info.Name.Length == 0)
        {
            if (info.Verb == "create" && exchange.Answer.Contains("AlreadyExists", StringComparison.Ordinal) && Parsed(exchange.Body) is { } twin
                && _server.Store.TryGet(resource.GroupResource, ns, twin.Name()) is null) Restore(resource, SampleObjects.Of(resource, ns, twin.Name()));
            if (info.Verb == "create" && exchange.Status is 201 or 422 && exchange.Header("Content-Type") == "application/json" && exchange.Json is JsonObject && Parsed(exchange.Body).Text("metadata", "name") is { } again
                && !exchange.Body.Contains("generateName", StringComparison.Ordinal)) _server.Store.Discard(resource.GroupResource, ns, again);
            if (info.Verb == "create" && exchange.Status == 201 && exchange.Json is JsonObject made) _server.Store.Discard(resource.GroupResource, resource.IsNamespaced ? made.Namespace() : "", made.Name());
            return;
        }
        var present = _server.Store.TryGet(resource.GroupResource, ns, info.Name);
        var wantsAbsent = exchange.Status == 404 || exchange.Status == 201 && info.Subresource.Length == 0;
        if (wantsAbsent && present is not null && info.Subresource.Length == 0) _server.Store.Discard(resource.GroupResource, ns, info.Name);
        if (wantsAbsent && info.Subresource.Length == 0) return;
        if (exchange.Status == 404) return;
        if (present is not null && info.Subresource.Length == 0) AdoptControllersWork(exchange, resource, present);
        var state = info.Verb == "get" && info.Subresource != "scale" && exchange.Json is JsonObject got && got.Kind() == resource.Kind ? got : present is null ? known(info) ?? SampleObjects.Of(resource, ns, info.Name) : null;
        if (state is not null && exchange.Json is JsonObject { } shown && shown.Kind() == "PartialObjectMetadata") state["metadata"] = shown["metadata"]!.DeepClone();
        if (state is not null && state.Kind() == resource.Kind) Restore(resource, info.Verb == "delete" ? Living(state) : state);
    }

    private void EnsureNamespace(string name, string answer)
    {
        var ns = _server.Store.TryGet(Namespaces, "", name) ?? _server.Store.Create(Namespaces, new JsonObject { ["metadata"] = new JsonObject { ["name"] = name } });
        if (answer.Contains("being terminated", StringComparison.Ordinal)) _server.Store.Restore(Namespaces, Terminating(ns));
    }

    /// <summary>What the recorded token requests bind to.</summary>
    private void SeedTokenObjects(RequestInfo info)
    {
        void Have(string plural, string ns, JsonObject o)
        {
            var resource = new GroupResource("", plural);
            if (_server.Store.TryGet(resource, ns, o.Name()) is null) _server.Store.Create(resource, o);
        }
        if (info.Name != "nobody") Have("serviceaccounts", info.Namespace, new JsonObject { ["metadata"] = new JsonObject { ["name"] = info.Name, ["namespace"] = info.Namespace } });
        Have("secrets", info.Namespace, new JsonObject { ["metadata"] = new JsonObject { ["name"] = "bind", ["namespace"] = info.Namespace } });
        Have("nodes", "", new JsonObject { ["metadata"] = new JsonObject { ["name"] = "node-1" } });
        if (info.Name != "alice" || _server.Store.TryGet(new GroupResource("", "pods"), info.Namespace, "holder") is not null) return;
        var pod = _server.Store.Create(new GroupResource("", "pods"), new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = "holder", ["namespace"] = info.Namespace },
            ["spec"] = new JsonObject { ["serviceAccountName"] = "alice", ["nodeName"] = "node-1", ["containers"] = new JsonArray(new JsonObject { ["name"] = "c", ["image"] = "x" }) },
        }).Copy();
        pod.Metadata()["uid"] = "225f37d8-f1df-4000-9d52-fad61966f8e1";
        _server.Store.Restore(new GroupResource("", "pods"), pod);
    }

    private static JsonObject Terminating(JsonObject ns)
    {
        var copy = ns.Copy();
        copy.Metadata()["deletionTimestamp"] = "2026-11-21T00:00:00Z";
        copy.Metadata()["finalizers"] = new JsonArray("example.test/held");
        return copy;
    }

    private void SeedList(ApiResource resource, RequestInfo info, JsonObject list, JsonArray items)
    {
        var recorded = items.OfType<JsonObject>().Select(i => i.Copy()).ToList();
        if (recorded.Exists(i => i.At("cells") is not null)) return;
        var selection = new Selection(resource.IsNamespaced && info.Namespace.Length > 0 ? info.Namespace : null);
        foreach (var o in _server.Store.List(resource.GroupResource, selection).Items)
            if (!recorded.Exists(r => r.Name() == o.Name() && r.Namespace() == o.Namespace())) _server.Store.Discard(resource.GroupResource, o.Namespace(), o.Name());
        foreach (var o in recorded)
        {
            o["kind"] = resource.Kind;
            o["apiVersion"] = list.ApiVersion();
            if (o.Namespace().Length > 0) EnsureNamespace(o.Namespace(), "");
            Restore(resource, o);
        }
        // A recording of the first page shows that there were more.
        for (var i = 0; recorded.Count > 0 && i < (list.Number("metadata", "remainingItemCount") ?? 0); i++) Restore(resource, SampleObjects.Of(resource, recorded[0].Namespace(), $"{recorded[^1].Name()}-{i}"));
    }

    /// <summary>The state before its deletion began.</summary>
    private static JsonObject Living(JsonObject o)
    {
        var copy = o.Copy();
        if (copy.IsTerminating() && copy.Generation() > 1) copy.Metadata()["generation"] = JsonTree.Number(copy.Generation() - 1);
        copy.Metadata().Remove("deletionTimestamp");
        copy.Metadata().Remove("deletionGracePeriodSeconds");
        var finalizers = copy.Finalizers().Where(f => f is not ("foregroundDeletion" or "orphan")).ToList();
        if (finalizers.Count == 0) copy.Metadata().Remove("finalizers");
        else copy.Metadata()["finalizers"] = new JsonArray([.. finalizers.Select(f => (JsonNode)JsonValue.Create(f)!)]);
        return copy;
    }

    /// <summary>Owners the recording does not show, so that what they own is not collected.</summary>
    private void RestoreOwners(JsonObject o)
    {
        foreach (var reference in o.OwnerReferences())
        {
            if (_server.Store.Registry.FindKind(reference.Text("apiVersion") ?? "", reference.Text("kind") ?? "") is not { } resource) continue;
            var ns = resource.IsNamespaced ? o.Namespace() : "";
            if (_server.Store.TryGet(resource.GroupResource, ns, reference.Text("name") ?? "")?.Uid() == reference.Text("uid")) continue;
            var owner = SampleObjects.Of(resource, ns, reference.Text("name") ?? "");
            owner.Metadata()["uid"] = reference.Text("uid");
            _server.Store.Restore(resource.GroupResource, owner);
        }
    }

    private void Restore(ApiResource resource, JsonObject saved)
    {
        var copy = saved.Copy();
        RestoreOwners(copy);
        if (resource is { Group: "", Plural: "events" } && copy.ApiVersion().StartsWith("events.k8s.io", StringComparison.Ordinal)) return;
        if (_server.Store.TryGet(resource.GroupResource, copy.Namespace(), copy.Name()) is { } present)
        {
            var same = present.Copy();
            same.Metadata()["resourceVersion"] = copy.Metadata()["resourceVersion"]?.DeepClone();
            if (JsonTree.Same(same, copy)) return;
        }
        _server.Store.Restore(resource.GroupResource, copy);
    }

    /// <summary>After an exchange that answered with an object: what we stored carries the recorded uid from now on. A new kind is served before the next exchange, as it was when that was recorded.</summary>
    public async Task AdoptAsync(Exchange exchange)
    {
        await NewKindServedAsync(exchange);
        var info = Info(exchange);
        if (exchange.Method is "GET" or "DELETE" || exchange.Json is not JsonObject answer || answer.Uid().Length == 0 || ResourceOf(info) is not { } resource || answer.Kind() != resource.Kind) return;
        if (_server.Store.TryGet(resource.GroupResource, resource.IsNamespaced ? answer.Namespace() : "", answer.Name()) is not { } stored || stored.Uid() == answer.Uid()) return;
        var copy = stored.Copy();
        copy.Metadata()["uid"] = answer.Uid();
        _server.Store.Restore(resource.GroupResource, copy);
    }

    private async Task NewKindServedAsync(Exchange exchange)
    {
        if (exchange.Status != 201 || exchange.Json is not JsonObject answer || answer.Kind() != "CustomResourceDefinition") return;
        await Patience.Until(() => _server.Store.TryGet(Definitions, "", answer.Name()) is not { } stored || stored.List("status", "conditions") is { Count: > 0 });
    }

    /// <summary>Sends the recorded request.</summary>
    public async Task<(int Status, string ContentType, string Body)> SendAsync(Exchange exchange)
    {
        var authorization = exchange.Header("Authorization");
        var isAnonymous = exchange.Answer.Contains("system:anonymous", StringComparison.Ordinal) || exchange.Remark.Contains("anonymous", StringComparison.Ordinal);
        using var request = new HttpRequestMessage(new HttpMethod(exchange.Method), exchange.Target);
        if (exchange.Remark.StartsWith("User-Agent: ", StringComparison.Ordinal)) request.Headers.TryAddWithoutValidation("User-Agent", exchange.Remark["User-Agent: ".Length..]);
        foreach (var (name, value) in exchange.Headers)
        {
            if (name is "Accept-Encoding" or "Content-Type" or "Authorization" or "Connection" or "Upgrade" or "Content-Length" || name.StartsWith("Sec-", StringComparison.Ordinal)) continue;
            request.Headers.TryAddWithoutValidation(name, value);
        }
        if (authorization is not null) request.Headers.TryAddWithoutValidation("Authorization", authorization.Contains("PLACEHOLDER", StringComparison.Ordinal) || authorization.Contains("PAYLOAD-", StringComparison.Ordinal) ? $"Bearer {Token()}" : authorization);
        var body = Rewritten(exchange);
        if (body.Length > 0 || exchange.Header("Content-Type") is not null)
        {
            request.Content = new ByteArrayContent(Encoding.UTF8.GetBytes(body));
            if (exchange.Header("Content-Type") is { } type) request.Content.Headers.ContentType = MediaTypeHeaderValue.Parse(type);
        }
        using var response = await (isAnonymous || authorization is not null ? _anonymous : _admin).SendAsync(request, Patience.Token);
        return ((int)response.StatusCode, response.Content.Headers.ContentType?.ToString() ?? "", await response.Content.ReadAsStringAsync(Patience.Token));
    }

    private string Token()
    {
        var (ns, name) = (_account.Split('/')[0], _account.Split('/')[1]);
        EnsureNamespace(ns, "");
        var accounts = new GroupResource("", "serviceaccounts");
        if (_server.Store.TryGet(accounts, ns, name) is null) _server.Store.Create(accounts, new JsonObject { ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = ns } });
        return _server.Tokens.Issue(ns, name, [], TimeSpan.FromHours(1)).Token;
    }

    private static JsonObject? Parsed(string body)
    {
        try
        {
            return body.StartsWith('{') ? JsonNode.Parse(body) as JsonObject : null;
        }
        catch (System.Text.Json.JsonException)
        {
            return null;   // a body that is wrong on purpose
        }
    }

    /// <summary>What controllers had written before the exchange, as its answer shows it.</summary>
    private void AdoptControllersWork(Exchange exchange, ApiResource resource, JsonObject present)
    {
        if (exchange.Method is not ("PUT" or "PATCH") || resource.Group != "apps" || exchange.Json is not JsonObject answer || answer.Kind() != resource.Kind) return;
        const string revision = "deployment.kubernetes.io/revision";
        var copy = present.Copy();
        copy["status"] = answer["status"]?.DeepClone() ?? new JsonObject();
        if (answer.Text("metadata", "annotations", revision) is { } number) copy.Metadata().Ensure("annotations")[revision] = number;
        if (answer.List("metadata", "finalizers") is null && !exchange.Body.Contains("finalizers", StringComparison.Ordinal)) copy.Metadata().Remove("finalizers");
        Restore(resource, copy);
    }

    /// <summary>The body with the uid and resourceVersion this server gave the object, where the recording had the object's own.</summary>
    private string Rewritten(Exchange exchange)
    {
        if (exchange.Method is not ("PUT" or "PATCH") || !exchange.Body.StartsWith('{')) return exchange.Body;
        var info = Info(exchange);
        if (exchange.Header("Content-Type")?.Contains("yaml", StringComparison.Ordinal) == true) return exchange.Body;
        if (Parsed(exchange.Body) is not { } body || ResourceOf(info) is not { } resource || body.Map("metadata") is not { } metadata) return exchange.Body;
        if (_server.Store.TryGet(resource.GroupResource, resource.IsNamespaced ? info.Namespace : "", info.Name) is not { } stored) return exchange.Body;
        if (metadata.Text("uid") is { } uid && !uid.StartsWith("00000000", StringComparison.Ordinal)) metadata["uid"] = stored.Uid();
        if (metadata["resourceVersion"] is not null && exchange.Status != 409) metadata["resourceVersion"] = stored.Text("metadata", "resourceVersion");
        return body.ToJsonString();
    }

    public async ValueTask DisposeAsync()
    {
        _admin.Dispose();
        _anonymous.Dispose();
        await _server.DisposeAsync();
    }
}
