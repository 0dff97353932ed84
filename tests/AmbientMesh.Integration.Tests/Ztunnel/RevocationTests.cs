using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Identity;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>A revocation list that arrives while tunnels are open.</summary>
public sealed class RevocationTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("amz-crl-").FullName;
    private PodNetwork _network = null!;
    private ControlPlaneStandIn _plane = null!;
    private TestNode _node = null!;
    private PodNamespace _server = null!;
    private PodNamespace _peer = null!;
    private PodServer _app = null!;

    private string ListFile => Path.Combine(_folder, "ca-crl.pem");

    public async ValueTask InitializeAsync()
    {
        _network = await PodNetwork.CreateAsync();
        _plane = await ControlPlaneStandIn.StartAsync();
        _node = await TestNode.StartAsync("n1", _plane, with: settings => settings with { CrlPath = ListFile });
        _server = await _network.AddPodAsync("server");
        _peer = await _network.AddPodAsync("plain");
        await TestMesh.RedirectAsync(_server);
        _plane.Put(TestMesh.WorkloadOf(_server, "n1", hbone: true));
        Assert.Equal("", await _node.Agent.AddAsync("s", _server));
        _app = PodServer.Echo(_server, 8080);
    }

    public async ValueTask DisposeAsync()
    {
        _app?.Dispose();
        if (_node is not null) await _node.DisposeAsync();
        if (_plane is not null) await _plane.DisposeAsync();
        if (_network is not null) await _network.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact, Scenario("L4-149", "T-21")]
    public async Task Tunnels_of_a_revoked_certificate_end_and_new_ones_are_refused_while_others_go_on()
    {
        var bad = _plane.Authority.IssueSvid(HbonePeer.Default);
        await using var revoked = await HbonePeer.ConnectAsync(_plane, _peer, _server, bad);
        await using var good = await HbonePeer.ConnectAsync(_plane, _peer, _server);
        Assert.Equal(200, await HbonePeer.AskAsync(revoked, $"{_server.V4}:8080"));

        await File.WriteAllTextAsync(ListFile, Crl(bad), Patience.Token);
        await Patience.Within(revoked.Completion);
        Assert.Equal(200, await HbonePeer.AskAsync(good, $"{_server.V4}:8080"));
        // With TLS 1.3 the client learns of the refusal by its first read.
        var again = await HbonePeer.ConnectAsync(_plane, _peer, _server, bad);
        await Patience.Within(again.Completion);
        await _node.MetricReachesAsync(1, "istio_crl_policy_rejections_total", "reporter=\"destination\"");

        await File.WriteAllTextAsync(ListFile, "garbage", Patience.Token);
        await _node.Log.LineAsync("the last good list stays in force");
        Assert.Equal(200, await HbonePeer.AskAsync(good, $"{_server.V4}:8080"));
    }

    private string Crl(Svid revoked)
    {
        using var key = RSA.Create();
        key.ImportFromPem(_plane.Authority.ExportPrivateKeyPem());
        var list = new CertificateRevocationListBuilder();
        list.AddEntry(revoked.Leaf);
        var now = TimeProvider.System.GetUtcNow();
        return PemEncoding.WriteString("X509 CRL", list.Build(_plane.Authority.Certificate.CopyWithPrivateKey(key), 1, now.AddDays(1), HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1, now.AddMinutes(-1)));
    }
}
