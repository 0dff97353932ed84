using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Http;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Tests.Api;

/// <summary>Watches over HTTP: lines, forms, ends.</summary>
public sealed class WatchStreamTests : IAsyncLifetime
{
    private const string Path = "/api/v1/namespaces/default/configmaps?watch=1";
    private static readonly GroupResource ConfigMaps = new("", "configmaps");
    private readonly ApiServer _server = new(new ApiServerOptions { BookmarkPeriod = TimeSpan.FromMilliseconds(50) }, TimeProvider.System);
    private HttpClient _http = null!;

    public async ValueTask InitializeAsync()
    {
        await _server.StartAsync(Patience.Token);
        var handler = new SocketsHttpHandler();
        handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        handler.SslOptions.CertificateChainPolicy.CustomTrustStore.Add(_server.Certificates.Authority);
        var admin = _server.Certificates.IssueClient("admin", "system:masters");
        handler.SslOptions.LocalCertificateSelectionCallback = (_, _, _, _, _) => admin;
        _http = new HttpClient(handler) { BaseAddress = new Uri($"https://{_server.Addresses[0]}"), DefaultRequestVersion = new Version(2, 0) };
    }

    private void Create(string name) => _server.Store.Create(ConfigMaps, new JsonObject { ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "default" } });

    private async IAsyncEnumerable<JsonNode> EventsAsync(string path, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken, string accept = "application/json")
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path) { Version = _http.DefaultRequestVersion };
        request.Headers.Accept.Add(MediaTypeWithQualityHeaderValue.Parse(accept));
        using var response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        Assert.Equal(200, (int)response.StatusCode);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(cancellationToken));
        while (await reader.ReadLineAsync(cancellationToken) is { } line) yield return JsonNode.Parse(line)!;
    }

    [Fact]
    public async Task A_change_arrives_while_the_stream_is_open()
    {
        var revision = _server.Store.Revision;
        await using var events = EventsAsync($"{Path}&resourceVersion={revision}", Patience.Token).GetAsyncEnumerator(Patience.Token);
        var next = events.MoveNextAsync();
        Create("late");
        Assert.True(await next);
        Assert.Equal(("ADDED", "late"), (events.Current.Text("type"), events.Current.Text("object", "metadata", "name")));
        _server.Store.Delete(ConfigMaps, "default", "late");
        Assert.True(await events.MoveNextAsync());
        Assert.Equal("DELETED", events.Current.Text("type"));
    }

    [Fact]
    public async Task A_stream_ends_at_its_timeout()
    {
        var types = new List<string?>();
        await foreach (var e in EventsAsync($"{Path}&timeoutSeconds=1", Patience.Token)) types.Add(e.Text("type"));
        Assert.Equal(["ADDED"], types);   // kube-root-ca.crt
    }

    [Fact]
    public async Task Initial_events_end_with_a_marked_bookmark()
    {
        await foreach (var e in EventsAsync($"{Path}&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan", Patience.Token))
        {
            if (e.Text("type") != "BOOKMARK") continue;
            Assert.Equal("true", e.Text("object", "metadata", "annotations", "k8s.io/initial-events-end"));
            return;
        }
        Assert.Fail("the stream ended without the mark");
    }

    [Fact]
    public async Task A_quiet_stream_that_asked_for_bookmarks_gets_them()
    {
        await foreach (var e in EventsAsync($"{Path}&allowWatchBookmarks=true&resourceVersion={_server.Store.Revision}", Patience.Token))
        {
            Assert.Equal(("BOOKMARK", "ConfigMap"), (e.Text("type"), e.Text("object", "kind")));
            return;
        }
        Assert.Fail("the stream ended without a bookmark");
    }

    [Fact]
    public async Task A_revision_out_of_the_history_is_one_error_and_the_end()
    {
        _server.Store.Compact(_server.Store.Revision);
        var events = new List<JsonNode>();
        await foreach (var e in EventsAsync($"{Path}&resourceVersion=1", Patience.Token)) events.Add(e);
        var only = Assert.Single(events);
        Assert.Equal(("ERROR", 410), (only.Text("type"), only.Number("object", "code")));
    }

    [Fact]
    public async Task A_table_watch_names_its_columns_once()
    {
        Create("a");
        var columns = new List<bool>();
        await foreach (var e in EventsAsync(Path, Patience.Token, "application/json;as=Table;v=v1;g=meta.k8s.io"))
        {
            Assert.Equal("Table", e.Text("object", "kind"));
            columns.Add(e.List("object", "columnDefinitions") is not null);
            if (columns.Count == 2) break;
        }
        Assert.Equal([true, false], columns);
    }

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        await _server.DisposeAsync();
    }
}
