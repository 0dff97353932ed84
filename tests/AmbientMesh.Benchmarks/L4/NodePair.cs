using System.Net;
using AmbientMesh.Linux;

namespace AmbientMesh.Benchmarks.L4;

/// <summary>Two nodes for one way of carrying bytes: a pod namespace each, joined by one virtual wire, and a namespace each for a node proxy's own ports.
/// Everything is unnamed and goes away with this process.</summary>
internal sealed class NodePair : IDisposable
{
    private NodePair(int index)
    {
        ClientAddress = IPAddress.Parse($"10.97.{index}.1");
        ServerAddress = IPAddress.Parse($"10.97.{index}.2");
    }

    /// <summary>The pod with the load generator.</summary>
    public NetworkNamespace ClientPod { get; } = NetworkNamespace.Create();

    /// <summary>The pod with the load server.</summary>
    public NetworkNamespace ServerPod { get; } = NetworkNamespace.Create();

    public NetworkNamespace ClientNode { get; } = NetworkNamespace.Create();
    public NetworkNamespace ServerNode { get; } = NetworkNamespace.Create();
    public IPAddress ClientAddress { get; }
    public IPAddress ServerAddress { get; }

    /// <exception cref="ProgramFailedException">A system program refused; the message has its words.</exception>
    public static async Task<NodePair> CreateAsync(int index, CancellationToken cancellationToken)
    {
        var pair = new NodePair(index);
        foreach (var space in (NetworkNamespace[])[pair.ClientPod, pair.ServerPod, pair.ClientNode, pair.ServerNode])
            await IpAsync(space, "link set lo up", cancellationToken);
        await IpAsync(pair.ClientPod, $"link add eth0 type veth peer name eth0 netns {pair.ServerPod.Path}", cancellationToken);
        await IpAsync(pair.ClientPod, $"addr add {pair.ClientAddress}/24 dev eth0", cancellationToken);
        await IpAsync(pair.ServerPod, $"addr add {pair.ServerAddress}/24 dev eth0", cancellationToken);
        await IpAsync(pair.ClientPod, "link set eth0 up", cancellationToken);
        await IpAsync(pair.ServerPod, "link set eth0 up", cancellationToken);
        return pair;
    }

    /// <summary>The redirect rules of an enrolled pod, IPv4 without DNS (reference 8.2, 8.3), in both pods.</summary>
    public async Task RedirectAsync(CancellationToken cancellationToken)
    {
        foreach (var pod in (NetworkNamespace[])[ClientPod, ServerPod])
        {
            var rules = new ProgramCall("iptables-restore", "--noflush") { Inside = pod, Input = Rules };
            (await HostProgram.RunAsync(rules, cancellationToken)).Required();
            await IpAsync(pod, "rule add fwmark 0x111/0xfff lookup 100 pref 32764", cancellationToken);
            await IpAsync(pod, "route add local 0.0.0.0/0 dev lo table 100", cancellationToken);
        }
    }

    public void Dispose()
    {
        ClientPod.Dispose();
        ServerPod.Dispose();
        ClientNode.Dispose();
        ServerNode.Dispose();
    }

    private const string Rules = """
        *mangle
        :ISTIO_PRERT - [0:0]
        :ISTIO_OUTPUT - [0:0]
        -A PREROUTING -j ISTIO_PRERT
        -A OUTPUT -j ISTIO_OUTPUT
        -A ISTIO_PRERT -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
        -A ISTIO_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
        COMMIT
        *nat
        :ISTIO_PRERT - [0:0]
        :ISTIO_OUTPUT - [0:0]
        -A PREROUTING -j ISTIO_PRERT
        -A OUTPUT -j ISTIO_OUTPUT
        -A ISTIO_PRERT ! -d 127.0.0.1/32 -p tcp -m tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
        -A ISTIO_OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT
        -A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -j ACCEPT
        -A ISTIO_OUTPUT ! -d 127.0.0.1/32 -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
        COMMIT

        """;

    private static async Task IpAsync(NetworkNamespace inside, string arguments, CancellationToken cancellationToken) =>
        (await HostProgram.RunAsync(new ProgramCall("ip", arguments.Split(' ')) { Inside = inside }, cancellationToken)).Required();
}
