using System.Net;
using System.Text.RegularExpressions;
using Google.Protobuf;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>Calls to the address of a service.</summary>
public sealed partial class ServiceTrafficTests(TestMesh mesh) : IClassFixture<TestMesh>
{
    private const string Balanced = "balanced.default.svc.cluster.local", Empty = "empty.default.svc.cluster.local";

    [Fact, Scenario("L4-020", "L4-040")]
    public async Task Connections_are_spread_over_the_endpoints_and_each_names_its_own()
    {
        var vip = await ServiceAsync(Balanced, "10.1.0.40");
        PodNamespace[] endpoints = [await EndpointAsync("one", mesh.Near), await EndpointAsync("two", mesh.Far)];
        await mesh.KnownAsync(m => m.Workloads.Count(w => w.Name is "one" or "two") == 2 ? m : null);
        for (var i = 0; i < 40; i++) Assert.Equal("ping", await PodClient.CallAsync(mesh.Client, vip));

        var lines = mesh.Near.Log.Lines.Where(l => l.Contains("connection complete", StringComparison.Ordinal) && l.Contains("direction=\"outbound\"", StringComparison.Ordinal) && l.Contains($"dst.service=\"{Balanced}\"", StringComparison.Ordinal));
        Assert.Equal(["one", "two"], lines.Select(l => Destination().Match(l).Groups[1].Value).Distinct().Order());
        Assert.Equal(40, endpoints.Zip((TestNode[])[mesh.Near, mesh.Far]).Sum(e => e.Second.Metric("istio_tcp_connections_opened_total", "reporter=\"destination\"", $"destination_workload=\"{e.First.Name}\"", "source_workload=\"client\"")));
    }

    [Theory, Scenario("L4-041", "L4-042")]
    [InlineData(80)]
    [InlineData(81)]
    public async Task Without_an_endpoint_or_for_a_port_it_does_not_have_a_connection_is_closed_and_the_address_named(int port)
    {
        var vip = await ServiceAsync(Empty, "10.1.0.41");
        Assert.Equal("", await PodClient.AnswerAsync(mesh.Client, new IPEndPoint(vip.Address, port)));
        var line = await mesh.Near.Log.LineAsync("connection failed", $"dst.addr=10.1.0.41:{port}", $"error=\"no healthy upstream: 10.1.0.41:{port}\"");
        Assert.Contains("reason=\"no-healthy-upstream\"", line);
    }

    [Theory]
    [InlineData("10.98.0.201", "10.1.0.43", true)]     // a node without power: nobody answers for the address
    [InlineData("10.98.0.202", "10.1.0.44", false)]
    public async Task An_endpoint_that_is_gone_costs_no_connection(string address, string virtualAddress, bool speaksHbone)
    {
        mesh.BeginAnew();
        var host = $"halved-{speaksHbone}.default.svc.cluster.local".ToLowerInvariant();
        var vip = await ServiceAsync(host, virtualAddress);
        await EndpointAsync($"left{(speaksHbone ? 1 : 2)}", mesh.Far, host);
        var gone = new Wds.Workload
        {
            Uid = $"Kubernetes//Pod/default/gone-{speaksHbone}",
            Name = $"gone-{speaksHbone}".ToLowerInvariant(),
            Namespace = "default",
            ServiceAccount = "gone",
            Node = "n3",
            TunnelProtocol = speaksHbone ? Wds.TunnelProtocol.Hbone : Wds.TunnelProtocol.None,
            Addresses = { ByteString.CopyFrom(IPAddress.Parse(address).GetAddressBytes()) },
        };
        gone.Services[$"default/{host}"] = new Wds.PortList { Ports = { new Wds.Port { ServicePort = 80, TargetPort = 8080 } } };
        mesh.Plane.Put(gone);
        await mesh.KnownAsync(m => m.FindWorkload(gone.Uid));
        for (var i = 0; i < 10 || mesh.Near.Metric("ambientmesh_connections_moved_total") == 0; i++) Assert.Equal("ping", await PodClient.CallAsync(mesh.Client, vip));

        var line = await mesh.Near.Log.LineAsync("endpoint not reached, trying", $"dst.addr={address}", $"dst.service=\"{host}\"");
        Assert.Contains("connection.id=", line, StringComparison.Ordinal);
        await mesh.Near.MetricGrowsAsync("istio_tcp_connections_failed_total", $"destination_service=\"{host}\"");
        Assert.DoesNotContain(mesh.Near.Log.Lines, l => l.Contains("connection failed", StringComparison.Ordinal) && l.Contains(host, StringComparison.Ordinal));
    }

    private async Task<IPEndPoint> ServiceAsync(string host, string address)
    {
        mesh.Plane.Put(new Wds.Service
        {
            Name = host.Split('.')[0],
            Namespace = "default",
            Hostname = host,
            Addresses = { new Wds.NetworkAddress { Address = ByteString.CopyFrom(IPAddress.Parse(address).GetAddressBytes()) } },
            Ports = { new Wds.Port { ServicePort = 80, TargetPort = 8080 } },
        });
        await mesh.KnownAsync(m => m.Services.FirstOrDefault(s => s.Hostname == host));
        return new IPEndPoint(IPAddress.Parse(address), 80);
    }

    private async Task<PodNamespace> EndpointAsync(string name, TestNode node, string service = Balanced)
    {
        var pod = await mesh.EnrollAsync(name, node, w => w.Services[$"default/{service}"] = new Wds.PortList { Ports = { new Wds.Port { ServicePort = 80, TargetPort = 8080 } } });
        mesh.Add(PodServer.Echo(pod, 8080));
        return pod;
    }

    [GeneratedRegex("dst\\.workload=\"([a-z]+)\"")]
    private static partial Regex Destination();
}
