using System.Net;
using AmbientMesh.Protocol.Core;
using AmbientMesh.Protocol.Discovery;
using AmbientMesh.Rpc;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;

namespace AmbientMesh.Xds.Tests;

/// <summary>The real server on a loopback port, with the two tables of the mesh.</summary>
internal sealed class Loopback : IAsyncDisposable
{
    private readonly WebApplication _app;

    private Loopback(WebApplication app, DeltaDiscoveryServer server, ResourceTable authorization, ResourceTable address, Uri uri)
    {
        _app = app;
        Server = server;
        Authorization = authorization;
        Address = address;
        Uri = uri;
    }

    public DeltaDiscoveryServer Server { get; }
    public ResourceTable Authorization { get; }
    public ResourceTable Address { get; }
    public Uri Uri { get; }

    public static Task<Loopback> StartAsync(DeltaDiscoveryOptions? options = null, DiscoveryObserver? observer = null, ResourceTable? authorization = null, ResourceTable? address = null)
    {
        authorization ??= new ResourceTable(TypeUrls.Authorization);
        address ??= new ResourceTable(TypeUrls.Address);
        return StartAsync(new DeltaDiscoveryServer([authorization, address], options, observer), authorization, address, (app, server) => app.MapDeltaDiscovery(server));
    }

    /// <summary>A server that answers the first request of each type with one resource, but never <paramref name="silent"/>.</summary>
    public static Task<Loopback> StartSilentAsync(string silent)
    {
        ResourceTable authorization = new(TypeUrls.Authorization), address = new(TypeUrls.Address);
        return StartAsync(new DeltaDiscoveryServer([authorization, address]), authorization, address, (app, _) => app.MapRpcDuplex(MeshMethods.DeltaAggregatedResources, async (stream, context) =>
        {
            while (await stream.ReadAsync(context.CancellationToken) is { } request)
                if (request.Node is not null && request.TypeUrl != silent) await stream.WriteAsync(new DeltaDiscoveryResponse { TypeUrl = request.TypeUrl, Nonce = "1", Resources = { Workload("a").Wire } }, context.CancellationToken);
        }));
    }

    private static async Task<Loopback> StartAsync(DeltaDiscoveryServer server, ResourceTable authorization, ResourceTable address, Action<WebApplication, DeltaDiscoveryServer> map)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddRouting();
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.UseRpcLimits();
            kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2);
        });
        var app = builder.Build();
        app.UseRouting();
        map(app, server);
        app.MapRpcUnknown();
        await app.StartAsync(Patience.Token);
        return new Loopback(app, server, authorization, address, new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First()));
    }

    public RpcChannel Channel() => new(new RpcChannelOptions { Address = Uri });

    public async ValueTask DisposeAsync()
    {
        Server.Close();
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
        Server.Dispose();
    }

    public static Node Node(string node = "n1") => ZtunnelNode.Build("10.0.0.1", "ztunnel-abcde", "istio-system", node, []);

    public static XdsResource Workload(string name, string node = "n1", string ip = "10.0.0.9", string service = "", string revision = "v1")
    {
        var uid = $"Kubernetes//Pod/default/{name}";
        var body = new Protocol.Wds.Address { Workload = new Protocol.Wds.Workload { Uid = uid, Name = name, Node = node, CanonicalRevision = revision } };
        return XdsResource.Create(TypeUrls.Address, uid, body, [$"/{ip}"], service.Length > 0 ? [ResourceGroups.OfNode(node), ResourceGroups.Of(service)] : [ResourceGroups.OfNode(node)]);
    }

    public static XdsResource Service(string name, string vip) =>
        XdsResource.Create(TypeUrls.Address, $"default/{name}", new Protocol.Wds.Address { Service = new Protocol.Wds.Service { Name = name, Namespace = "default", Hostname = name } }, [$"/{vip}"]);

    public static XdsResource Policy(string name, string rule = "") =>
        XdsResource.Create(TypeUrls.Authorization, $"default/{name}", new Protocol.Security.Authorization { Name = name + rule, Namespace = "default" }, versioned: false);
}

/// <summary>Keeps what it is given, and lets a test wait for it.</summary>
internal sealed class Holding(string typeUrl, Func<Resource, string?>? refuse = null) : IResourceHandler
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Resource> _held = [];
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public string TypeUrl => typeUrl;

    /// <summary>Every name ever received as update, in order, and removals with a leading minus.</summary>
    public List<string> Log { get; } = [];

    public IReadOnlyList<Rejection> Apply(IReadOnlyList<Resource> updates, IReadOnlyList<string> removals)
    {
        List<Rejection> rejections = [];
        lock (_gate)
        {
            foreach (var update in updates)
            {
                Log.Add(update.Name);
                if (refuse?.Invoke(update) is { } reason) rejections.Add(new Rejection(update.Name, reason));
                else _held[update.Name] = update;
            }
            foreach (var name in removals)
            {
                Log.Add($"-{name}");
                _held.Remove(name);
            }
            _changed.TrySetResult();
            _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        }
        return rejections;
    }

    public string[] Names
    {
        get { lock (_gate) return [.. _held.Keys.Order(StringComparer.Ordinal)]; }
    }

    public string[] Received
    {
        get { lock (_gate) return [.. Log]; }
    }

    public async Task UntilAsync(Func<Holding, bool> condition)
    {
        var token = Patience.Token;
        while (true)
        {
            Task changed;
            lock (_gate)
            {
                changed = _changed.Task;
            }
            if (condition(this)) return;
            await changed.WaitAsync(token);
        }
    }
}
