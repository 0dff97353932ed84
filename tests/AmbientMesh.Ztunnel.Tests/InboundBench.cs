using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Hbone;
using AmbientMesh.Identity;
using AmbientMesh.Model;
using AmbientMesh.Model.Tests;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Certificates;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.Inbound;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.Reporting;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.Ztunnel.Tests;

/// <summary>The inbound proxy of one pod over loopback: real sockets, TLS and tunnels, a CA of the test's own, and a clock that the test moves.</summary>
internal sealed class InboundBench : IAsyncDisposable
{
    private readonly List<IDisposable> _sockets = [];

    public InboundBench(FetchSvid? fetch = null, Func<ZtunnelSettings, ZtunnelSettings>? with = null, TimeProvider? clock = null, Func<MeshBuilder, MeshBuilder>? mesh = null)
    {
        var time = clock ?? Clock;
        Authority = CertificateAuthority.CreateSelfSigned("cluster.local", time);
        Mesh = (mesh ?? (m => m))(new MeshBuilder("n1").Pod("server", "127.0.0.1"));
        Svids = new SvidStore(fetch ?? ((id, _) => Task.FromResult(Authority.IssueSvid(id, TimeSpan.FromHours(24)))), time, NullLogger.Instance);
        var settings = new ZtunnelSettings { NodeName = "n1", IPv6Enabled = false };
        Reports = new ConnectionReports(new TcpMetrics(Registry), new AccessLog(NullLoggerFactory.Instance), time);
        var services = new ProxyServices(Mesh.Store, Svids, Reports, with?.Invoke(settings) ?? settings, time, NullLoggerFactory.Instance);
        Pod = new PodContext(new WorkloadInfo("server", "default", "server"), new PodSockets(null, services.Settings), services);
        Proxy = new HboneProxy(Pod);
    }

    public static SpiffeId Id(string account) => new("cluster.local", "default", account);

    public FakeTimeProvider Clock { get; } = new();
    public CertificateAuthority Authority { get; }
    public MeshBuilder Mesh { get; }
    public SvidStore Svids { get; }
    public MetricRegistry Registry { get; } = new();
    public ConnectionReports Reports { get; }
    public PodContext Pod { get; }
    public HboneProxy Proxy { get; }

    /// <summary>Reasons of the connections that were refused or failed, oldest first.</summary>
    public IReadOnlyList<Reason> Refusals => [.. Reports.Ended.Newest(100, c => c.Reason is not null).Reverse().Select(c => c.Reason!.Reason)];

    /// <summary>A TCP connection to the pod's port 15008; the task is the proxy's serving of it. When this returns, the proxy waits for something.</summary>
    public async Task<(Socket Client, Task Serving)> DialAsync()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen();
        var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        var accepting = listener.AcceptAsync(Patience.Token).AsTask();
        await client.ConnectAsync(listener.LocalEndPoint!, Patience.Token);
        var accepted = await accepting;
        _sockets.AddRange([client, accepted]);
        return (client, Proxy.ServeAsync(accepted));
    }

    /// <summary>A tunnel of the peer's over a dialled connection.</summary>
    public async Task<HboneClientConnection> TunnelAsync(Socket client, Svid own)
    {
        var credentials = new TlsCredentials(own, new SvidVerifier(own.Roots, SvidRules.Strict, Clock));
        var tls = await TlsHandshake.ConnectAsync(new SocketTransport(client), credentials, [Id("server")], Patience.Token);
        return HboneClientConnection.Start(tls, new HboneOptions(), tls.Peer, Clock);
    }

    /// <summary>A revocation list of the CA that names one certificate.</summary>
    public RevocationList Revoking(Svid svid)
    {
        using var key = RSA.Create();
        key.ImportFromPem(Authority.ExportPrivateKeyPem());
        var list = new CertificateRevocationListBuilder();
        list.AddEntry(svid.Leaf, Clock.GetUtcNow());
        return RevocationList.Parse(list.Build(Authority.Certificate.CopyWithPrivateKey(key), 1, Clock.GetUtcNow().AddDays(1), HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1, Clock.GetUtcNow().AddMinutes(-1)));
    }

    /// <summary>An application of the pod that sends back what it gets.</summary>
    public IPEndPoint Echo()
    {
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen();
        _sockets.Add(listener);
        _ = AcceptAsync();
        return (IPEndPoint)listener.LocalEndPoint!;

        async Task AcceptAsync()
        {
            try
            {
                while (true) _ = EchoAsync(await listener.AcceptAsync(CancellationToken.None));
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // The bench is over.
            }
        }

        static async Task EchoAsync(Socket client)
        {
            using var stream = new NetworkStream(client, ownsSocket: true);
            try
            {
                await stream.CopyToAsync(stream, CancellationToken.None);
            }
            catch (IOException)
            {
                // The proxy ended it.
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        Pod.Connections.CloseAll(Connections.CloseReason.Drain);
        foreach (var socket in _sockets) socket.Dispose();
        await Svids.DisposeAsync();
    }
}
