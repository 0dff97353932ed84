using System.Net;
using AmbientMesh.Linux;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>A pod's network namespace on the test's bridge.</summary>
public sealed record PodNamespace(string Name, string NetnsName, NetworkNamespace Namespace, IPAddress V4, IPAddress V6);

/// <summary>Pods joined by a bridge that stands for the wire between nodes; everything is in namespaces of its own and removed at the end.</summary>
public sealed class PodNetwork : IAsyncDisposable
{
    private static int s_networks;

    // Two networks of a run never have the same, and neither do two runs side by side.
    private readonly string _prefix = $"amz{Environment.ProcessId:x}{Interlocked.Increment(ref s_networks):x3}";
    private readonly List<PodNamespace> _pods = [];
    private readonly SemaphoreSlim _gate = new(1, 1);

    private string Fabric => $"{_prefix}f";

    public static async Task<PodNetwork> CreateAsync()
    {
        Assert.SkipUnless(Environment.UserName == "root", "Network namespaces need root.");
        var network = new PodNetwork();
        await ShellAsync($"ip netns add {network.Fabric}; ip -n {network.Fabric} link set lo up; ip -n {network.Fabric} link add br0 type bridge; ip -n {network.Fabric} link set br0 up");
        return network;
    }

    /// <summary>A pod with an address of each family, reachable from every other.</summary>
    public async Task<PodNamespace> AddPodAsync(string name)
    {
        await _gate.WaitAsync(Patience.Token);
        try
        {
            var number = _pods.Count + 1;
            var netns = $"{_prefix}p{number}";
            await ShellAsync(string.Join("; ",
                $"ip netns add {netns}", $"ip -n {netns} link set lo up",
                $"ip -n {Fabric} link add v{number} type veth peer name eth0 netns {netns}", $"ip -n {Fabric} link set v{number} master br0 up",
                $"ip -n {netns} addr add 10.98.0.{number}/24 dev eth0", $"ip -n {netns} addr add fd98::{number:x}/64 dev eth0 nodad",
                $"ip -n {netns} link set eth0 up", $"ip -n {netns} route add default via 10.98.0.254"));
            var pod = new PodNamespace(name, netns, NetworkNamespace.Open($"/var/run/netns/{netns}"), IPAddress.Parse($"10.98.0.{number}"), IPAddress.Parse($"fd98::{number:x}"));
            _pods.Add(pod);
            return pod;
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Runs a command inside a pod.</summary>
    public static async Task InAsync(PodNamespace pod, string command) =>
        (await HostProgram.RunAsync(new ProgramCall("ip", ["netns", "exec", pod.NetnsName, .. command.Split(' ')]), Patience.Token)).Required();

    /// <summary>Starts to record every frame on the wire.</summary>
    public WireCapture Capture()
    {
        using var fabric = NetworkNamespace.Open($"/run/netns/{Fabric}");
        return new WireCapture(fabric);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var pod in _pods)
        {
            pod.Namespace.Dispose();
            await ShellAsync($"ip netns del {pod.NetnsName} || true");
        }
        await ShellAsync($"ip netns del {Fabric} || true");
        _gate.Dispose();
    }

    private static async Task ShellAsync(string script) =>
        (await HostProgram.RunAsync(new ProgramCall("sh", "-ec", script), Patience.Token)).Required();
}
