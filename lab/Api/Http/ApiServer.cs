using System.Net;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Lab.Api.Access;
using AmbientMesh.Lab.Api.Bootstrap;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Pods;
using AmbientMesh.Lab.Api.Semantics;
using AmbientMesh.Lab.Api.Storage;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>
/// The cluster's API server: the store behind HTTPS, with the controllers every cluster has from the start.
/// Create it, let components use <see cref="Store"/>, then <see cref="StartAsync"/>.
/// </summary>
public sealed class ApiServer : IAsyncDisposable
{
    private readonly CancellationTokenSource _stopping = new();
    private readonly ClusterUpkeep _upkeep;
    private WebApplication? _app;

    public ApiServer(ApiServerOptions options, TimeProvider clock)
    {
        Options = options;
        Certificates = new ClusterCertificates(clock);
        Store = new ClusterStore(new ResourceRegistry(), clock);
        Tokens = new ServiceAccountTokens(Store);
        Authorizer = new Authorizer(Store);
        Store.Admission.AddRange(AdmissionChain.All);
        Store.Admission.Add(new EscalationCheck(Authorizer).Check);
        BootstrapObjects.Create(Store, Certificates.AuthorityPem, options.ServiceCidrs);
        _upkeep = new ClusterUpkeep(Store, Certificates.AuthorityPem);
    }

    public ApiServerOptions Options { get; }
    public ClusterStore Store { get; }
    public ClusterCertificates Certificates { get; }
    public ServiceAccountTokens Tokens { get; }
    public Authorizer Authorizer { get; }

    /// <summary>Serves logs, exec and port-forward; without one these answer 503.</summary>
    public IPodRuntime? Pods { get; set; }

    internal CancellationToken Stopping => _stopping.Token;

    /// <summary>Where the server listens, once started.</summary>
    public IReadOnlyList<IPEndPoint> Addresses { get; private set; } = [];

    /// <summary>Opens the listeners. Throws when an address cannot be had.</summary>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        var serving = Certificates.IssueServing([.. Options.ServingNames, .. Options.Listen.Select(e => e.Address).Where(a => !a.Equals(IPAddress.Any) && !a.Equals(IPAddress.IPv6Any)).Select(a => a.ToString())]);
        var builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { Args = [] });
        builder.Logging.ClearProviders();
        builder.Services.Configure<HostOptions>(o => o.ShutdownTimeout = TimeSpan.FromSeconds(2));
        builder.Services.AddSingleton<IHostLifetime, OwnerDecides>();
        if (Options.CreateListenSocket is { } createSocket)
            builder.WebHost.UseSockets(o => o.CreateBoundListenSocket = endpoint => createSocket(endpoint));
        builder.WebHost.ConfigureKestrel(k => Configure(k, serving));
        _app = builder.Build();
        _app.UseWebSockets();
        var pipeline = new RequestPipeline(this);
        _app.Run(pipeline.HandleAsync);
        await _app.StartAsync(cancellationToken);
        Addresses = [.. _app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Select(Parse)];
        BootstrapObjects.PublishEndpoint(Store, Options.Advertise ?? Addresses[0]);
        _upkeep.Start();
    }

    private void Configure(KestrelServerOptions kestrel, X509Certificate2 serving)
    {
        kestrel.AddServerHeader = false;
        kestrel.Limits.MaxRequestBodySize = 64L << 20;   // the body reader has its own, smaller limit and its own answer
        kestrel.Limits.MinRequestBodyDataRate = null;
        kestrel.Limits.MinResponseDataRate = null;
        kestrel.Limits.Http2.MaxStreamsPerConnection = 250;
        foreach (var endpoint in Options.Listen)
        {
            kestrel.Listen(endpoint, listen =>
            {
                listen.Protocols = HttpProtocols.Http1AndHttp2;
                listen.UseHttps(https =>
                {
                    https.ServerCertificate = serving;
                    https.ClientCertificateMode = ClientCertificateMode.AllowCertificate;
                    https.ClientCertificateValidation = (_, _, _) => true;   // judged per request: a wrong one is 401, not a broken handshake
                });
            });
        }
    }

    /// <summary>Signals belong to the process that holds the server, not to the web host.</summary>
    private sealed class OwnerDecides : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;
        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }

    private static IPEndPoint Parse(string address)
    {
        var uri = new Uri(address);
        return new IPEndPoint(IPAddress.Parse(uri.Host.Trim('[', ']')), uri.Port);
    }

    /// <summary>A kubeconfig of the cluster's master user, for a server URL such as <c>https://127.0.0.1:6443</c>.</summary>
    public string AdminKubeconfig(string cluster, string server)
    {
        using var client = Certificates.IssueClient("admin", "system:masters");
        return Certificates.Kubeconfig(cluster, server, client);
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        if (_app is not null) await _app.DisposeAsync();
        await _upkeep.DisposeAsync();
        Tokens.Dispose();
        Certificates.Dispose();
        _stopping.Dispose();
    }
}
