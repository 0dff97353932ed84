using System.Net.Security;
using AmbientMesh.ControlPlane.Serving;
using AmbientMesh.ControlPlane.Settings;
using AmbientMesh.ControlPlane.Tests.Translation;
using AmbientMesh.Protocol.Discovery;
using AmbientMesh.Rpc;
using AmbientMesh.Xds;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.ControlPlane.Tests.Serving;

/// <summary>The whole control plane on loopback ports, fed by a <see cref="FakeCluster"/>.</summary>
internal sealed class ControlPlaneWorld : IAsyncDisposable
{
    private readonly List<IAsyncDisposable> _owned = [];

    private ControlPlaneWorld(FakeCluster cluster, ControlPlaneProcess process, bool ownsCluster)
    {
        Cluster = cluster;
        Process = process;
        if (ownsCluster) _owned.Add(cluster);
    }

    public FakeCluster Cluster { get; }
    public ControlPlaneProcess Process { get; }

    /// <summary>Settings for tests: free ports on loopback, a short debounce, no plugged-in CA.</summary>
    public static ControlPlaneSettings Settings { get; } = new()
    {
        PodName = "istiod-0",
        Http = new ListenAddress("127.0.0.1", 0),
        PlaintextGrpc = new ListenAddress("127.0.0.1", 0),
        SecureGrpc = new ListenAddress("127.0.0.1", 0),
        Monitoring = new ListenAddress("127.0.0.1", 0),
        DebounceQuiet = TimeSpan.FromMilliseconds(20),
        CoverageInterval = TimeSpan.Zero,   // the addresses of the sample pods are nobody's
        MaxStreamsPerSecond = 1000,
        PluggedCaFolder = "/nonexistent",
        TrustedNodeAccounts = ["istio-system/ztunnel"],
    };

    /// <summary>Starts with these objects, and returns when ready.</summary>
    public static async Task<ControlPlaneWorld> StartAsync(string yaml = "", ControlPlaneSettings? settings = null, TimeProvider? clock = null)
    {
        var cluster = await FakeCluster.StartAsync();
        if (yaml.Length > 0) cluster.Put(KubernetesObjects.OfYaml(yaml));
        var world = await StartAsync(cluster, settings, ownsCluster: true, clock);
        await world.Process.Readiness.WhenReadyAsync(Patience.Token);
        return world;
    }

    /// <summary>Starts on a cluster that others use too; does not wait until it is ready.</summary>
    public static async Task<ControlPlaneWorld> StartAsync(FakeCluster cluster, ControlPlaneSettings? settings = null, bool ownsCluster = false, TimeProvider? clock = null) =>
        new(cluster, await ControlPlaneProcess.StartAsync(settings ?? Settings, cluster.Connection, clock ?? TimeProvider.System, NullLoggerFactory.Instance, Patience.Token), ownsCluster);

    /// <summary>A channel to the TLS port with that token, or to the plaintext port without one.</summary>
    /// <param name="certificate">Shown to the TLS port; null shows none.</param>
    public RpcChannel Channel(string? token, bool plaintext = false, SslStreamCertificateContext? certificate = null) => new(new RpcChannelOptions
    {
        ClientCertificate = certificate,
        Address = new Uri(plaintext ? $"http://127.0.0.1:{Process.Listeners.PlaintextGrpcPort}" : $"https://127.0.0.1:{Process.Listeners.SecureGrpcPort}"),
        RootCertificates = plaintext ? null : () => Process.Authority.Current.Roots.Pem,
        ServerName = plaintext ? null : "istiod.istio-system.svc",
        CallMetadata = _ => ValueTask.FromResult<RpcMetadata>(token is null ? [] : new RpcMetadata { { "authorization", $"Bearer {token}" }, { "clusterid", "Kubernetes" } }),
    });

    /// <summary>A discovery stream of the ztunnel's account.</summary>
    public Task<DiscoveryStream> DiscoverAsync() => DiscoverAsync(Cluster.Token("istio-system", "ztunnel"));

    public async Task<DiscoveryStream> DiscoverAsync(string? token, bool plaintext = false, SslStreamCertificateContext? certificate = null)
    {
        var channel = Channel(token, plaintext, certificate);
        var stream = new DiscoveryStream(channel, await channel.DuplexAsync(MeshMethods.DeltaAggregatedResources, cancellationToken: Patience.Token));
        _owned.Insert(0, stream);
        return stream;
    }

    public async Task<(int Status, string Body)> GetAsync(string path, bool monitoring = false)
    {
        using var http = new HttpClient();
        using var answer = await http.GetAsync(new Uri($"http://127.0.0.1:{(monitoring ? Process.Listeners.MonitoringPort : Process.Listeners.HttpPort)}{path}"), Patience.Token);
        return ((int)answer.StatusCode, await answer.Content.ReadAsStringAsync(Patience.Token));
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var stream in _owned.OfType<DiscoveryStream>()) await stream.DisposeAsync();
        await Process.DisposeAsync();
        foreach (var cluster in _owned.OfType<FakeCluster>()) await cluster.DisposeAsync();
    }
}

/// <summary>A discovery stream driven message by message, as a ztunnel drives it.</summary>
internal sealed class DiscoveryStream(RpcChannel channel, RpcDuplex<DeltaDiscoveryRequest, DeltaDiscoveryResponse> call) : IAsyncDisposable
{
    private const string Recordings = "samples/ztunnel/xds/";

    public static DeltaDiscoveryRequest Recorded(string file) => DeltaDiscoveryRequest.Parser.ParseFrom(Samples.Hex(Recordings + file));

    public ValueTask SendAsync(DeltaDiscoveryRequest request) => call.WriteAsync(request, Patience.Token);

    /// <summary>Sends a recorded request; an answer to a response is given the nonce of the last one of its type.</summary>
    public ValueTask SendRecordedAsync(string file) => SendAsync(Recorded(file));

    public ValueTask AcknowledgeAsync(DeltaDiscoveryResponse response) =>
        SendAsync(new DeltaDiscoveryRequest { TypeUrl = response.TypeUrl, ResponseNonce = response.Nonce });

    /// <summary>The next response, not yet acknowledged.</summary>
    public async Task<DeltaDiscoveryResponse> ReadAsync() =>
        await call.ReadAsync(Patience.Token) ?? throw new InvalidOperationException("the server ended the stream");

    /// <summary>The next response, acknowledged.</summary>
    public async Task<DeltaDiscoveryResponse> TakeAsync()
    {
        var response = await ReadAsync();
        await AcknowledgeAsync(response);
        return response;
    }

    /// <summary>Opens as a ztunnel in wildcard mode does, with the recorded first requests, and takes both answers.</summary>
    public async Task<DeltaDiscoveryResponse> OpenWildcardAsync()
    {
        await SendRecordedAsync("wildcard/01-c2s-address-first.hex");
        await SendRecordedAsync("wildcard/03-c2s-authorization-first.hex");
        var answers = new[] { await TakeAsync(), await TakeAsync() };
        Assert.Equal([TypeUrls.Authorization, TypeUrls.Address], answers.Select(a => a.TypeUrl).Order());
        return answers.Single(a => a.TypeUrl == TypeUrls.Address);
    }

    /// <summary>How the server ended the stream.</summary>
    public async Task<RpcException> EndAsync() => await Assert.ThrowsAsync<RpcException>(async () =>
    {
        while (await call.ReadAsync(Patience.Token) is not null)
        {
            // Whatever was on its way.
        }
    });

    public async ValueTask DisposeAsync()
    {
        await call.DisposeAsync();
        channel.Dispose();
    }
}
