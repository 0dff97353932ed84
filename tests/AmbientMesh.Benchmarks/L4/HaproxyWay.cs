using System.Net;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Identity;
using AmbientMesh.Model;

namespace AmbientMesh.Benchmarks.L4;

/// <summary>An HAProxy at each end, one mutual TLS 1.3 connection per TCP connection, same certificates, key type and cipher as the mesh, no resumption.</summary>
internal sealed class HaproxyWay(NodePair nodes, CertificateAuthority authority, string folder) : WayAcross("haproxy", nodes)
{
    private const int TlsPort = 20008;
    private const int NearPort = 20001;
    private const string Suite = "TLS_AES_256_GCM_SHA384";
    private readonly List<HostedProcess> _proxies = [];

    public override IReadOnlyList<HostedProcess> Proxies => _proxies;
    public override IPEndPoint Destination => new(Nodes.ClientAddress, NearPort);

    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        var roots = Path.Combine(folder, "haproxy-roots.pem");
        await File.WriteAllTextAsync(roots, authority.Roots.Pem, cancellationToken);
        var near = await WriteCertificateAsync("client", cancellationToken);
        var far = await WriteCertificateAsync("server", cancellationToken);
        var nearConfig = Config(
            $"bind {Nodes.ClientAddress}:{NearPort}",
            $"server far {Nodes.ServerAddress}:{TlsPort} ssl crt {near} ca-file {roots} verify required ciphersuites {Suite} ssl-min-ver TLSv1.3 no-ssl-reuse no-tls-tickets");
        var farConfig = Config(
            $"bind {Nodes.ServerAddress}:{TlsPort} ssl crt {far} ca-file {roots} verify required ciphersuites {Suite} ssl-min-ver TLSv1.3 no-tls-tickets",
            $"server app {Nodes.ServerAddress}:{LoadServer.Port}");
        _proxies.Add(await StartAsync(Nodes.ServerPod, "far", farConfig, cancellationToken));
        _proxies.Add(await StartAsync(Nodes.ClientPod, "near", nearConfig, cancellationToken));
        await Readiness.WaitAsync(Name, _proxies, () => Readiness.Passes(Nodes.ClientPod, Destination), cancellationToken);
    }

    public override async ValueTask DisposeAsync()
    {
        foreach (var proxy in _proxies) proxy.Dispose();
        await base.DisposeAsync();
    }

    private async Task<HostedProcess> StartAsync(Linux.NetworkNamespace inside, string name, string config, CancellationToken cancellationToken)
    {
        var file = Path.Combine(folder, $"haproxy-{name}.cfg");
        await File.WriteAllTextAsync(file, config, cancellationToken);
        return await HostedProcess.StartAsync(inside, Path.Combine(folder, $"haproxy-{name}.log"), new Dictionary<string, string>(), "haproxy", "-db", "-f", file);
    }

    private async Task<string> WriteCertificateAsync(string account, CancellationToken cancellationToken)
    {
        var svid = authority.IssueSvid(new SpiffeId("cluster.local", "bench", account));
        var file = Path.Combine(folder, $"haproxy-{account}.pem");
        await File.WriteAllTextAsync(file, svid.Leaf.ExportCertificatePem() + "\n" + svid.Leaf.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem() + "\n", cancellationToken);
        return file;
    }

    private static string Config(string bind, string server) => $"""
        global
          nbthread {Environment.ProcessorCount}
          maxconn 8000
          tune.bufsize 65536
          tune.ssl.cachesize 0
        defaults
          mode tcp
          timeout connect 10s
          timeout client 1h
          timeout server 1h
        listen tunnel
          {bind}
          {server}

        """;
}
