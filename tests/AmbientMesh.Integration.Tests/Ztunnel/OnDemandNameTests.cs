using System.Net;
using AmbientMesh.Ztunnel.Dns;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>Connections to workloads that are known by a host name: looked up, kept as long as the answer lives, refused when there is none.</summary>
public sealed class OnDemandNameTests : IAsyncLifetime
{
    private readonly string _resolver = Path.GetTempFileName();
    private readonly IPAddress _nameServer = new([127, 88, (byte)Random.Shared.Next(1, 255), (byte)Random.Shared.Next(1, 255)]);
    private readonly TestMesh _mesh = new();
    private NameServerStandIn _names = null!;
    private HeldClock _clock = null!;
    private TestNode _node = null!;
    private PodNamespace _client = null!;

    public async ValueTask InitializeAsync()
    {
        await _mesh.InitializeAsync();
        _clock = new HeldClock(DnsForwarder.NextTry, DnsForwarder.Patience);   // not earlier than the root of the mesh is valid
        _names = NameServerStandIn.StartOnLoopback(_nameServer, (query, _) => DnsMesh.NoSuchName(query));
        await File.WriteAllTextAsync(_resolver, $"nameserver {_nameServer}\n", Patience.Token);
        _node = await TestNode.StartAsync("n9", _mesh.Plane, with: settings => settings with { ResolverFile = _resolver }, clock: _clock);
        _client = await _mesh.Network.AddPodAsync("asker");
        await TestMesh.RedirectAsync(_client);
        _mesh.Plane.Put(TestMesh.WorkloadOf(_client, "n9", hbone: true));
        _mesh.Plane.Put(DnsMesh.Service("db.example.com", "10.1.0.70,fd98::7070"));
        _mesh.Plane.Put(External("db", hbone: false, account: "db"));
        await Patience.Within(_node.App.Mesh.WhenAsync(known => known.FindWorkload(new Model.WorkloadInfo("asker", "default", "asker")), Patience.Token).AsTask());
        await Patience.Within(_node.App.Mesh.WhenAsync(known => known.FindWorkload("Kubernetes/networking.istio.io/ServiceEntry/default/db"), Patience.Token).AsTask());
        Assert.Equal("", await _node.Agent.AddAsync(TestMesh.UidOf(_client), _client));
    }

    public async ValueTask DisposeAsync()
    {
        await _node.DisposeAsync();
        _names.Dispose();
        await _mesh.DisposeAsync();
        File.Delete(_resolver);
    }

    private static Wds.Workload External(string name, bool hbone, string account) => new()
    {
        Uid = $"Kubernetes/networking.istio.io/ServiceEntry/default/{name}",
        Name = name,
        Namespace = "default",
        ServiceAccount = account,
        Hostname = $"{name}.backend.test",
        TunnelProtocol = hbone ? Wds.TunnelProtocol.Hbone : Wds.TunnelProtocol.None,
        Services = { ["default/db.example.com"] = new Wds.PortList() },
    };

    private void Serve(PodNamespace pod, uint ttl, bool v4 = true, bool v6 = false) => _names.Answer = (query, _) =>
    {
        Assert.True(DnsQuery.TryParse(query, out var asked, out string _));
        var is6 = asked.Question.Type == DnsClient.Aaaa;
        if (is6 ? !v6 : !v4) return DnsMesh.Response(query, 0x8180);
        var data = (is6 ? pod.V6 : pod.V4).GetAddressBytes();
        return DnsMesh.Response(query, 0x8180, records: [.. DnsMesh.Hex($"c00c {asked.Question.Type:x4} 0001 {ttl:x8} {data.Length:x4}"), .. data], answers: 1);
    };

    private Task<string> CallAsync(string vip = "10.1.0.70") => PodClient.CallAsync(_client, new IPEndPoint(IPAddress.Parse(vip), 80));

    private double OnDemand() => _node.Metric("istio_on_demand_dns_total", "source_workload=\"asker\"", "source_principal=\"spiffe://cluster.local/ns/default/sa/asker\"", "hostname=\"db.backend.test\"");

    [Fact, Scenario("L4-059")]
    public async Task A_workload_without_addresses_is_looked_up_once_while_the_answer_lives()
    {
        Serve(_mesh.Plain, ttl: 300);
        Assert.Equal("ping", await CallAsync());
        var asked = _names.Seen.Count;
        Assert.Equal(2, asked);   // one of each family
        for (var i = 0; i < 5; i++) Assert.Equal("ping", await CallAsync());
        Assert.Equal(asked, _names.Seen.Count);
        Assert.Equal(6, OnDemand());
    }

    [Fact, Scenario("L4-059", "L4-177")]
    public async Task The_family_asked_for_is_preferred_and_the_other_one_used_where_it_is_the_only_one()
    {
        Serve(_mesh.Plain, ttl: 300, v4: true, v6: true);
        Assert.Equal("ping", await CallAsync("fd98::7070"));
        await _node.Log.LineAsync("connection complete", $"[{_mesh.Plain.V6}]:8080");
        Assert.Equal("ping", await CallAsync());
        await _node.Log.LineAsync("connection complete", $"{_mesh.Plain.V4}:8080");
    }

    [Fact, Scenario("L4-059")]
    public async Task A_name_that_is_not_there_fails_the_connection_with_the_reason_and_works_once_it_is()
    {
        Assert.True(await PodClient.FailsAsync(_client, IPEndPoint.Parse("10.1.0.70:80")));
        await _node.Log.LineAsync("connection failed", "no ip addresses were resolved for workload db: db.backend.test: no such name", "reason=", "name-unresolved");
        Assert.Equal(1, OnDemand());

        Serve(_mesh.Plain, ttl: 0, v4: false, v6: false);
        _clock.Advance(HostNames.FailureLife);
        Assert.True(await PodClient.FailsAsync(_client, IPEndPoint.Parse("10.1.0.70:80")));
        await _node.Log.LineAsync("connection failed", "no A/AAAA records");

        Serve(_mesh.Plain, ttl: 0);
        _clock.Advance(HostNames.FailureLife);
        Assert.Equal("ping", await CallAsync());
    }

    [Fact]
    public async Task A_changed_address_is_followed_when_the_answers_life_ends()
    {
        Serve(_mesh.Stranger, ttl: 1);
        Assert.Equal("ping", await CallAsync());
        Serve(_mesh.Plain, ttl: 1);
        _clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal("ping", await CallAsync());
        await _node.Log.LineAsync("connection complete", $"dst.addr={_mesh.Plain.V4}:8080");
    }

    [Fact]
    public async Task Behind_a_name_only_the_expected_identity_is_accepted()
    {
        _mesh.Plane.Put(External("db", hbone: true, account: "server"));
        await Patience.Within(_node.App.Mesh.WhenAsync(known => known.FindWorkload("Kubernetes/networking.istio.io/ServiceEntry/default/db") is { SpeaksHbone: true } found ? found : null, Patience.Token).AsTask());
        Serve(_mesh.Server, ttl: 1);
        Assert.Equal("ping", await CallAsync());
        Serve(_mesh.Neighbour, ttl: 300);   // speaks HBONE, and is somebody else
        _clock.Advance(TimeSpan.FromSeconds(1));
        Assert.True(await PodClient.FailsAsync(_client, IPEndPoint.Parse("10.1.0.70:80")));
    }
}
