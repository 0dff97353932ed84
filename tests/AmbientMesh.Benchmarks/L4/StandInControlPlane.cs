using System.Net;
using System.Net.Sockets;
using AmbientMesh.Identity;
using AmbientMesh.Linux;
using AmbientMesh.Model;
using AmbientMesh.Protocol.Ca;
using AmbientMesh.Protocol.Wds;
using AmbientMesh.Rpc;
using AmbientMesh.Xds;
using Google.Protobuf;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;

namespace AmbientMesh.Benchmarks.L4;

/// <summary>Discovery and CA for two node proxies, in this process: the two pods as HBONE workloads, a certificate for whatever identity is asked.</summary>
internal sealed class StandInControlPlane : IAsyncDisposable
{
    public const int Port = 15012;
    private static readonly TimeSpan CertificateLifetime = TimeSpan.FromHours(24);

    private readonly WebApplication _app;
    private readonly DeltaDiscoveryServer _server;
    private readonly List<Socket> _listeners;

    private StandInControlPlane(WebApplication app, DeltaDiscoveryServer server, List<Socket> listeners)
    {
        _app = app;
        _server = server;
        _listeners = listeners;
    }

    /// <summary>Serves on localhost inside both node namespaces.</summary>
    public static async Task<StandInControlPlane> StartAsync(NodePair nodes, CertificateAuthority authority, CancellationToken cancellationToken)
    {
        var addresses = new ResourceTable(TypeUrls.Address);
        addresses.Update([Pod("client", nodes.ClientAddress, "node-a"), Pod("server", nodes.ServerAddress, "node-b")]);
        var server = new DeltaDiscoveryServer([new ResourceTable(TypeUrls.Authorization), addresses]);
        var certificate = authority.IssueServerCertificate(["localhost"], [IPAddress.Loopback], CertificateLifetime);
        List<Socket> listeners = [Listen(nodes.ClientNode), Listen(nodes.ServerNode)];
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddRouting();
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.UseRpcLimits();
            foreach (var listener in listeners) kestrel.ListenHandle((ulong)listener.Handle, listen => listen.UseRpcTls(() => certificate));
        });
        var app = builder.Build();
        app.UseRouting();
        app.MapDeltaDiscovery(server);
        app.MapRpcUnary(MeshMethods.CreateCertificate, (request, _) => Task.FromResult(Sign(authority, request)));
        app.MapRpcUnknown();
        await app.StartAsync(cancellationToken);
        return new StandInControlPlane(app, server, listeners);
    }

    public async ValueTask DisposeAsync()
    {
        _server.Close();
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
        _server.Dispose();
        foreach (var listener in _listeners) listener.Dispose();
    }

    private static Socket Listen(NetworkNamespace inside) => inside.Run(() =>
    {
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, Port));
        listener.Listen();
        return listener;
    });

    private static XdsResource Pod(string name, IPAddress address, string node)
    {
        var workload = new Protocol.Wds.Workload
        {
            Uid = $"Kubernetes//Pod/bench/{name}",
            Name = name,
            Namespace = "bench",
            ServiceAccount = name,
            Node = node,
            ClusterId = "Kubernetes",
            CanonicalName = name,
            CanonicalRevision = "v1",
            WorkloadName = name,
            WorkloadType = Protocol.Wds.WorkloadType.Pod,
            TunnelProtocol = Protocol.Wds.TunnelProtocol.Hbone,
            Status = Protocol.Wds.WorkloadStatus.Healthy,
            Addresses = { ByteString.CopyFrom(address.GetAddressBytes()) },
        };
        return XdsResource.Create(TypeUrls.Address, workload.Uid, new Address { Workload = workload }, [$"/{address}"]);
    }

    private static IstioCertificateResponse Sign(CertificateAuthority authority, IstioCertificateRequest request)
    {
        var asked = request.Metadata.Fields["ImpersonatedIdentity"].StringValue;
        if (!SpiffeId.TryParse(asked, out var id, out var reason)) throw new RpcException(StatusCode.InvalidArgument, reason);
        return authority.Issue(request.Csr, id, CertificateLifetime) is IssuanceOutcome.Issued issued
            ? new IstioCertificateResponse { CertChain = { issued.CertificateChain } }
            : throw new RpcException(StatusCode.InvalidArgument, $"no certificate for {id}");
    }
}
