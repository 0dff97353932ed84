using System.Net;
using System.Net.Sockets;
using AmbientMesh.Identity;
using AmbientMesh.Model;
using AmbientMesh.Protocol.Ca;
using AmbientMesh.Rpc;
using AmbientMesh.Xds;
using Google.Protobuf;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Security = AmbientMesh.Protocol.Security;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>Discovery and CA over real TLS, fed by the test. The CA issues whatever is asked for; the node rule is the control plane's own test.</summary>
public sealed class ControlPlaneStandIn : IAsyncDisposable
{
    private readonly WebApplication _server;
    private readonly ResourceTable _addresses = new(TypeUrls.Address);
    private readonly ResourceTable _policies = new(TypeUrls.Authorization);
    private readonly DeltaDiscoveryServer _discovery;
    private readonly string _folder = Directory.CreateTempSubdirectory("amz-cp-").FullName;
    private readonly List<string> _requested = [];

    private readonly List<Socket> _listeners;

    private ControlPlaneStandIn(List<Socket> listeners)
    {
        _listeners = listeners;
        Authority = CertificateAuthority.CreateSelfSigned("cluster.local", TimeProvider.System);
        File.WriteAllText(RootFile, Authority.Roots.Pem);
        _discovery = new DeltaDiscoveryServer([_addresses, _policies]);
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration();
        var certificate = Authority.IssueServerCertificate(["localhost"], [IPAddress.Loopback], TimeSpan.FromDays(1));
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.UseRpcLimits();
            kestrel.Listen(IPAddress.Loopback, 0, listen => listen.UseRpcTls(() => certificate));
            foreach (var listener in listeners) kestrel.ListenHandle((ulong)listener.Handle, listen => listen.UseRpcTls(() => certificate));
        });
        _server = builder.Build();
        _server.MapDeltaDiscovery(_discovery);
        _server.MapRpcUnary(MeshMethods.CreateCertificate, IssueAsync);
    }

    public CertificateAuthority Authority { get; }
    public string RootFile => Path.Combine(_folder, "root.pem");
    public Uri Address { get; private set; } = null!;

    /// <summary>Null lets the CA answer; otherwise it refuses with this.</summary>
    public volatile RpcException? CaRefusal;

    /// <summary>Identities certificates were asked for, in order.</summary>
    public IReadOnlyList<string> Requested
    {
        get { lock (_requested) return [.. _requested]; }
    }

    /// <summary>Serves on loopback, and on loopback port 15012 of each given namespace.</summary>
    public static async Task<ControlPlaneStandIn> StartAsync(params PodNamespace[] inside)
    {
        var plane = new ControlPlaneStandIn([.. inside.Select(Listen)]);
        await plane._server.StartAsync(Patience.Token);
        var bound = new Uri(plane._server.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First(a => a.StartsWith("https://127.0.0.1", StringComparison.Ordinal)));
        plane.Address = new Uri($"https://localhost:{bound.Port}");
        return plane;
    }

    public void Put(Wds.Workload workload) => _addresses.Update([XdsResource.Create(TypeUrls.Address, workload.Uid, new Wds.Address { Workload = workload },
        [.. workload.Addresses.Select(address => $"{workload.Network}/{new IPAddress(address.Span)}")], [ResourceGroups.OfNode(workload.Node), .. workload.Services.Keys.Select(ResourceGroups.Of)])]);

    public void Put(Wds.Service service) => _addresses.Update([XdsResource.Create(TypeUrls.Address, $"{service.Namespace}/{service.Hostname}", new Wds.Address { Service = service },
        [.. service.Addresses.Select(address => $"{address.Network}/{new IPAddress(address.Address.Span)}")])]);

    public void Put(Security.Authorization policy) => Update(_policies, $"{policy.Namespace}/{policy.Name}", policy);
    public void Put(IEnumerable<Security.Authorization> policies) => _policies.Update([.. policies.Select(p => XdsResource.Create(_policies.TypeUrl, $"{p.Namespace}/{p.Name}", p))]);
    public void RemovePolicy(string name) => _policies.Update([], [name]);
    public void RemoveAddress(string name) => _addresses.Update([], [name]);

    public async ValueTask DisposeAsync()
    {
        _discovery.Close();
        await _server.StopAsync(CancellationToken.None);
        await _server.DisposeAsync();
        _discovery.Dispose();
        foreach (var listener in _listeners) listener.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private static Socket Listen(PodNamespace pod) => pod.Namespace.Run(() =>
    {
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 15012));
        listener.Listen();
        return listener;
    });

    private static void Update(ResourceTable table, string name, IMessage body) => table.Update([XdsResource.Create(table.TypeUrl, name, body)]);

    private Task<IstioCertificateResponse> IssueAsync(IstioCertificateRequest request, RpcServerContext context)
    {
        var asked = request.Metadata.Fields["ImpersonatedIdentity"].StringValue;
        lock (_requested) _requested.Add(asked);
        if (CaRefusal is { } refusal) throw refusal;
        if (!SpiffeId.TryParse(asked, out var id) || Authority.Issue(request.Csr, id, TimeSpan.FromSeconds(request.ValidityDuration)) is not IssuanceOutcome.Issued issued)
            throw new RpcException(StatusCode.InvalidArgument, "not issued");
        return Task.FromResult(new IstioCertificateResponse { CertChain = { issued.CertificateChain } });
    }
}
