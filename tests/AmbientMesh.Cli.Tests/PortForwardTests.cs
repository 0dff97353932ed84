using System.Text;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.Cli.Tests;

/// <summary>Ports inside pods, reached by our client through an API server that speaks the kubelet's channel form.</summary>
public sealed class PortForwardTests
{
    [Fact]
    public async Task A_port_of_a_pods_loopback_answers_http_again_and_again()
    {
        await using var mesh = await FakeMesh.StartAsync();
        await mesh.PodAsync("istio-system", "z", "app=ztunnel", "node-1");
        var large = new string('x', 300_000);
        mesh.Serve("z", 15000, path => path == "/large" ? large : $"you asked {path}");
        var ports = new PodPorts(mesh.Client);
        foreach (var (path, expected) in ((string, string)[])[("/a", "you asked /a"), ("/large", large), ("/b", "you asked /b")])
            Assert.Equal(expected, await GetAsync(ports, "z", 15000, path));
    }

    [Fact]
    public async Task A_port_nobody_listens_on_is_told_in_the_nodes_words()
    {
        await using var mesh = await FakeMesh.StartAsync();
        await mesh.PodAsync("istio-system", "z", "app=ztunnel", "node-1");
        await using var stream = await new PodPorts(mesh.Client).ConnectAsync("istio-system", "z", 15000, Patience.Token);
        var failure = await Assert.ThrowsAsync<IOException>(() => stream.ReadExactlyAsync(new byte[1], Patience.Token).AsTask());
        Assert.Contains("port 15000 of pod istio-system/z", failure.Message, StringComparison.Ordinal);
        Assert.Contains("nobody listens", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_the_right_the_answer_names_verb_and_resource()
    {
        await using var mesh = await FakeMesh.StartAsync();
        await mesh.PodAsync("istio-system", "z", "app=ztunnel", "node-1");
        using var poor = await mesh.ClientOfNobodyAsync();
        var refused = await Assert.ThrowsAsync<KubernetesRefusedException>(() => new PodPorts(poor).ConnectAsync("istio-system", "z", 15000, Patience.Token));
        Assert.True(refused.IsForbidden);
        Assert.Contains("pods/portforward", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_pod_that_does_not_exist_is_not_found()
    {
        await using var mesh = await FakeMesh.StartAsync();
        var refused = await Assert.ThrowsAsync<KubernetesRefusedException>(() => new PodPorts(mesh.Client).ConnectAsync("istio-system", "gone", 15000, Patience.Token));
        Assert.True(refused.IsNotFound);
    }

    private static async Task<string> GetAsync(PodPorts ports, string pod, int port, string path)
    {
        await using var stream = await ports.ConnectAsync("istio-system", pod, port, Patience.Token);
        await stream.WriteAsync(Encoding.ASCII.GetBytes($"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), Patience.Token);
        using var answer = new MemoryStream();
        await stream.CopyToAsync(answer, Patience.Token);
        return Encoding.ASCII.GetString(answer.ToArray()).Split("\r\n\r\n", 2)[1];
    }
}
