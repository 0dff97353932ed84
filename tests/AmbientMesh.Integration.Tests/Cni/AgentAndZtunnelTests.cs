using System.Net;
using System.Text;
using AmbientMesh.Cni.Tests.Agent;
using AmbientMesh.Integration.Tests.Ztunnel;

namespace AmbientMesh.Integration.Tests.Cni;

/// <summary>Our agent and our ztunnel on one node, with real rules, namespaces and TLS, and the node's wires captured.</summary>
public sealed class AgentAndZtunnelTests : IAsyncLifetime
{
    private readonly string _secret = $"secret-{Guid.NewGuid():n}";
    private NodeFixture _node = null!;
    private ControlPlaneStandIn _plane = null!;
    private TestNode? _ztunnel;
    private TestPod _client = null!;
    private TestPod _server = null!;
    private PodServer _app = null!;

    public async ValueTask InitializeAsync()
    {
        _node = await NodeFixture.CreateAsync();
        _node.Namespace("shop");
        _client = await _node.PodAsync("shop", "client");
        _server = await _node.PodAsync("shop", "server");
        _app = PodServer.Echo(Place(_server), 8080);
        _plane = await ControlPlaneStandIn.StartAsync();
        foreach (var pod in (TestPod[])[_client, _server])
            _plane.Put(TestMesh.WorkloadOf(Place(pod), NodeFixture.NodeName, hbone: true, workload => (workload.Namespace, workload.ServiceAccount) = ("shop", pod.Key.Name + "-sa")));
    }

    public async ValueTask DisposeAsync()
    {
        _app?.Dispose();
        if (_ztunnel is not null) await _ztunnel.DisposeAsync();
        if (_plane is not null) await _plane.DisposeAsync();
        if (_node is not null) await _node.DisposeAsync();
    }

    [Fact, Scenario("L4-163", "L4-150")]
    public async Task A_label_turns_the_same_pods_plaintext_into_tls_and_back()
    {
        await _node.StartAgentAsync();
        await StartZtunnelAsync();
        Assert.True(await SeenOnTheWireAsync(CallAsync), "before: the capture must see plaintext, else it proves nothing");

        await EnrolAsync();
        Assert.False(await SeenOnTheWireAsync(CallAsync));
        Assert.Contains(_app.Peers, peer => peer.Address.Equals(_client.V4));

        _node.LabelNamespace("shop", null);
        await Task.WhenAll(_node.AnnotatedAsync(_client, null), _node.AnnotatedAsync(_server, null));
        Assert.True(await SeenOnTheWireAsync(CallAsync));
    }

    [Fact, Scenario("L4-170")]
    public async Task Without_ztunnel_enrolled_pods_say_nothing_and_with_a_new_one_they_talk_again()
    {
        await _node.StartAgentAsync();
        await StartZtunnelAsync();
        await EnrolAsync();
        Assert.Equal(_secret, await CallAsync());

        await _ztunnel!.DisposeAsync();
        _ztunnel = null;
        Assert.False(await SeenOnTheWireAsync(async () => Assert.True(await PodClient.FailsAsync(Place(_client), At(_server), _secret)), expectsTraffic: false));
        Assert.True(await PodClient.FailsAsync(Place(_client), new IPEndPoint(_server.V6, 8080), _secret));

        await StartZtunnelAsync();
        await Eventually.IsTrueAsync(() => _node.Agent!.StatusAsync().GetAwaiter().GetResult()["enrolled"]!.AsArray().All(pod => (bool)pod!["acknowledged"]!), "ztunnel has taken both pods");
        Assert.False(await SeenOnTheWireAsync(CallAsync));
    }

    [Fact, Scenario("L4-154")]
    public async Task An_agent_that_ends_and_comes_back_interrupts_no_connection_and_opens_none()
    {
        await _node.StartAgentAsync();
        await StartZtunnelAsync();
        await EnrolAsync();
        using var open = await PodClient.ConnectAsync(Place(_client), At(_server));
        await EchoAsync(open, "before");

        await _node.Agent!.StopAsync();
        Assert.False(await SeenOnTheWireAsync(CallAsync));
        await EchoAsync(open, "while the agent is away");

        await _node.StartAgentAsync();
        await Eventually.IsTrueAsync(() => _node.Agent!.StatusAsync().GetAwaiter().GetResult()["enrolled"]!.AsArray().Count(pod => (bool)pod!["acknowledged"]!) == 2, "ztunnel has taken both pods");
        await EchoAsync(open, "after");
        Assert.False(await SeenOnTheWireAsync(CallAsync));
    }

    private async Task StartZtunnelAsync() =>
        _ztunnel = await TestNode.StartAsync(NodeFixture.NodeName, _plane, snapshot: false, with: settings => settings with { InPodSocket = _node.ZdsSocket });

    private async Task EnrolAsync()
    {
        _node.LabelNamespace("shop", "ambient");
        await Task.WhenAll(_node.AnnotatedAsync(_client, "enabled"), _node.AnnotatedAsync(_server, "enabled"));
    }

    private async Task<string> CallAsync()
    {
        var answer = await PodClient.CallAsync(Place(_client), At(_server), _secret);
        Assert.Equal(_secret, answer);
        return answer;
    }

    private async Task<bool> SeenOnTheWireAsync(Func<Task> work, bool expectsTraffic = true)
    {
        using var capture = new WireCapture(_node.Host);
        await work();
        var wire = capture.Stop();
        Assert.True(wire.Length > 0 || !expectsTraffic, "nothing crossed the wire: the capture proves nothing");
        return wire.AsSpan().IndexOf(Encoding.ASCII.GetBytes(_secret)) >= 0;
    }

    private static async Task EchoAsync(System.Net.Sockets.TcpClient client, string text)
    {
        var stream = client.GetStream();
        var bytes = Encoding.UTF8.GetBytes(text);
        await stream.WriteAsync(bytes, Patience.Token);
        var back = new byte[bytes.Length];
        await stream.ReadExactlyAsync(back, Patience.Token);
        Assert.Equal(text, Encoding.UTF8.GetString(back));
    }

    private static IPEndPoint At(TestPod pod) => new(pod.V4, 8080);

    private static PodNamespace Place(TestPod pod) => new(pod.Key.Name, "", pod.Inside, pod.V4, pod.V6);
}
