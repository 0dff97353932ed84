using System.Net;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>The proxy with addresses on demand, with static resources, and for one workload only.</summary>
public sealed class ConfigurationModeTests(TestMesh mesh) : IClassFixture<TestMesh>
{
    [Fact, Scenario("L4-136", "L4-137")]
    public async Task On_demand_an_address_is_asked_for_when_a_connection_needs_it_and_known_from_then_on()
    {
        await using var node = await TestNode.StartAsync("n6", mesh.Plane, with: settings => settings with { XdsOnDemand = true, DnsProxy = false });
        var client = await mesh.Network.AddPodAsync("demanding");
        await TestMesh.RedirectAsync(client);
        mesh.Plane.Put(TestMesh.WorkloadOf(client, "n6", hbone: true));
        mesh.Plane.Put(DnsMesh.Service("wanted", "10.1.0.80"));
        mesh.Plane.Put(TestMesh.WorkloadOf(mesh.Server, "n2", hbone: true, w => w.Services["default/wanted.default.svc.cluster.local"] = new Protocol.Wds.PortList()));
        Assert.Equal("", await node.Agent.AddAsync(TestMesh.UidOf(client), client));

        // A workload's own address, a service's virtual one, and one that is nobody's: passed through.
        Assert.Equal("ping", await PodClient.CallAsync(client, TestMesh.At(mesh.Neighbour, 8080)));
        await node.Log.LineAsync("connection complete", $"dst.addr={mesh.Neighbour.V4}:15008");
        Assert.Equal("ping", await PodClient.CallAsync(client, IPEndPoint.Parse("10.1.0.80:80")));
        Assert.Equal("ping", await PodClient.CallAsync(client, TestMesh.At(mesh.Stranger, 8080)));
        Assert.Null(node.App.Mesh.Current.FindWorkload(new Model.NetworkAddress("", mesh.Plain.V4)));

        // What was asked for is kept up to date.
        mesh.Plane.Put(DnsMesh.Service("wanted", "10.1.0.80", with: s => s.Ports[0].ServicePort = 81));
        await Patience.Within(node.App.Mesh.WhenAsync(known => known.Services.FirstOrDefault(s => s.Name == "wanted" && s.Ports.Declares(81)), Patience.Token).AsTask());
        Assert.Equal("ping", await PodClient.CallAsync(client, IPEndPoint.Parse("10.1.0.80:81")));
    }

    [Fact]
    public async Task On_demand_an_unknown_client_is_asked_for_so_that_it_has_its_labels()
    {
        await using var node = await TestNode.StartAsync("n7", mesh.Plane, with: settings => settings with { XdsOnDemand = true, DnsProxy = false });
        var pod = await mesh.Network.AddPodAsync("asking");
        await TestMesh.RedirectAsync(pod);
        mesh.Plane.Put(TestMesh.WorkloadOf(pod, "n7", hbone: true));
        mesh.Add(PodServer.Echo(pod, 8080));
        Assert.Equal("", await node.Agent.AddAsync(TestMesh.UidOf(pod), pod));
        Assert.Null(node.App.Mesh.Current.FindWorkload(new Model.NetworkAddress("", mesh.Plain.V4)));

        Assert.Equal("ping", await PodClient.CallAsync(mesh.Plain, TestMesh.At(pod, 8080)));
        await node.Log.LineAsync("connection complete", "direction=\"inbound\"", $"src.addr={mesh.Plain.V4}", "src.workload=\"plain\"");
        await Patience.Within(mesh.Near.App.Mesh.WhenAsync(known => known.FindWorkload("Kubernetes//Pod/default/asking"), Patience.Token).AsTask());
        Assert.Equal("ping", await PodClient.CallAsync(mesh.Client, TestMesh.At(pod, 8080)));
        Assert.Contains("src.identity=\"spiffe://cluster.local/ns/default/sa/client\"", await node.Log.LineAsync("connection complete", "direction=\"inbound\"", $"src.addr={mesh.Client.V4}", "src.workload=\"client\""));

        // Nobody's address: asked for, not found, let in as it is.
        Assert.Equal("ping", await PodClient.CallAsync(mesh.Stranger, TestMesh.At(pod, 8080)));
        Assert.DoesNotContain("src.workload", await node.Log.LineAsync("connection complete", "direction=\"inbound\"", $"src.addr={mesh.Stranger.V4}"));
    }

    [Fact]
    public async Task A_dedicated_proxy_with_static_resources_serves_its_own_namespace()
    {
        var pod = await mesh.Network.AddPodAsync("alone");
        await TestMesh.RedirectAsync(pod);
        await using var process = ZtunnelProcess.Start(pod, new Dictionary<string, string>
        {
            ["PROXY_MODE"] = "dedicated",
            ["PACKET_MARK"] = "1337",
            ["PROXY_WORKLOAD_INFO"] = "default/alone/alone",
            ["XDS_ADDRESS"] = "",
            ["CA_ADDRESS"] = "",
            ["LOCAL_XDS"] = $$$$"""
                workloads:
                - {namespace: default, name: alone, serviceAccount: alone, workloadIps: [{{{{pod.V4}}}}], uid: alone}
                - {namespace: default, name: there, workloadIps: [{{{{mesh.Stranger.V4}}}}], uid: there, services: {default/there.default.svc.cluster.local: {80: 8080}}}
                services:
                - {namespace: default, name: there, hostname: there.default.svc.cluster.local, vips: [/10.1.0.90], ports: {80: 8080}}
                """,
        });
        await Eventually.IsTrueAsync(() => process.HasExited || ReadyAsync(pod).GetAwaiter().GetResult(), "the proxy is ready");
        Assert.False(process.HasExited, process.Output);
        var answer = await DnsClient.UdpLocalAsync(pod, DnsClient.Query("there"));
        Assert.Equal("10.1.0.90", new IPAddress(answer[^4..]).ToString());
        Assert.Equal("ping", await PodClient.CallAsync(pod, IPEndPoint.Parse("10.1.0.90:80")));
        Assert.True(await PodClient.FailsAsync(pod, IPEndPoint.Parse("10.1.0.90:81")));
    }

    private static async Task<bool> ReadyAsync(PodNamespace pod)
    {
        try
        {
            using var client = await PodClient.ConnectAsync(pod, new IPEndPoint(IPAddress.Loopback, 15021));
            var stream = client.GetStream();
            await stream.WriteAsync("GET /healthz/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"u8.ToArray(), Patience.Token);
            using var reader = new StreamReader(stream);
            return (await reader.ReadToEndAsync(Patience.Token)).StartsWith("HTTP/1.1 200", StringComparison.Ordinal);
        }
        catch (System.Net.Sockets.SocketException)
        {
            return false;
        }
    }
}
