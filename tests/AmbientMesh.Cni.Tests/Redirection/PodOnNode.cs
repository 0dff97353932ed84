using System.Net;
using System.Net.Sockets;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Linux;
using AmbientMesh.Linux.Netfilter;

namespace AmbientMesh.Cni.Tests.Redirection;

/// <summary>A node and one pod, as two namespaces joined by a veth pair, IPv4 and IPv6; gone with the object.</summary>
internal sealed class PodOnNode : IDisposable
{
    public static readonly IPAddress PodV4 = IPAddress.Parse("10.55.0.2"), NodeV4 = IPAddress.Parse("10.55.0.1");
    public static readonly IPAddress PodV6 = IPAddress.Parse("fd55::2"), NodeV6 = IPAddress.Parse("fd55::1");

    private PodOnNode()
    {
        Node = NetworkNamespace.Create();
        Pod = NetworkNamespace.Create();
    }

    public NetworkNamespace Node { get; }
    public NetworkNamespace Pod { get; }

    public static IPAddress PodAddress(bool v6) => v6 ? PodV6 : PodV4;
    public static IPAddress NodeAddress(bool v6) => v6 ? NodeV6 : NodeV4;

    public static async Task<PodOnNode> CreateAsync()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "Network namespaces need root.");
        var made = new PodOnNode();
        await made.ShAsync(made.Node, $"""
            ip link set lo up; sysctl -qw net.ipv4.ip_forward=1
            ip link add veth0 type veth peer name eth0
            ip addr add 10.55.0.1/24 dev veth0; ip -6 addr add fd55::1/64 dev veth0 nodad; ip link set veth0 up
            ip link set eth0 netns {made.Pod.Path}
            """);
        await made.ShAsync(made.Pod, """
            ip link set lo up
            ip addr add 10.55.0.2/24 dev eth0; ip -6 addr add fd55::2/64 dev eth0 nodad; ip link set eth0 up
            ip route add default via 10.55.0.1; ip -6 route add default via fd55::1
            """);
        return made;
    }

    public async Task<string> ShAsync(NetworkNamespace inside, string script) =>
        (await HostProgram.RunAsync(new ProgramCall("sh", "-ec", script) { Inside = inside }, Patience.Token)).Required().Output;

    /// <summary>A listening socket on every address of the namespace.</summary>
    public static Socket Listen(NetworkNamespace inside, int port) => inside.Run(() =>
    {
        var socket = new Socket(AddressFamily.InterNetworkV6, SocketType.Stream, ProtocolType.Tcp) { DualMode = true };
        socket.Bind(new IPEndPoint(IPAddress.IPv6Any, port));
        socket.Listen();
        return socket;
    });

    /// <summary>Connects from inside a namespace; null when refused.</summary>
    public static async Task<Socket?> ConnectAsync(NetworkNamespace inside, IPAddress address, int port, int mark = 0, IPAddress? from = null)
    {
        var socket = inside.Run(() => new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp));
        if (mark != 0) socket.SetMark(mark);
        if (from is not null)
        {
            socket.SetTransparent(address.AddressFamily);
            inside.Run(() => socket.Bind(new IPEndPoint(from, 0)));
        }
        try
        {
            await socket.ConnectAsync(address, port, Patience.Token);
            return socket;
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused)
        {
            socket.Dispose();
            return null;
        }
    }

    /// <summary>Whether a connection from one namespace reaches a listener made just for it in the other, and nobody else.</summary>
    public static async Task<bool> ReachesAsync(NetworkNamespace from, NetworkNamespace to, IPAddress address, int port)
    {
        using var listener = Listen(to, port);
        using var client = await ConnectAsync(from, address, port);
        using var accepted = client is null ? null : await listener.AcceptAsync(Patience.Token);
        listener.Shutdown(SocketShutdown.Both);   // frees the port also where a program being started holds a copy for a moment
        return client is not null;
    }

    public void Dispose()
    {
        Node.Dispose();
        Pod.Dispose();
    }
}

/// <summary>The three ways of writing rules, by name, so that a test runs for each.</summary>
internal static class Backends
{
    public static readonly TheoryData<string> All = ["iptables-nft", "iptables-legacy", "nftables"];

    public static readonly TheoryData<string, bool> AllWithFamily = new()
    {
        { "iptables-nft", false }, { "iptables-nft", true },
        { "iptables-legacy", false }, { "iptables-legacy", true },
        { "nftables", false }, { "nftables", true },
    };

    public static readonly RedirectSettings Settings = new();
    public static readonly PodRedirectOptions Plain = new(CapturesDns: false, BypassesInbound: false, RerouteInterfaces: []);

    public static IRedirectionBackend Make(string name) => name switch
    {
        "iptables-nft" => new IptablesRedirection(new Iptables(IptablesVariant.Nft, Locks), Settings),
        "iptables-legacy" => new IptablesRedirection(new Iptables(IptablesVariant.Legacy, Locks), Settings),
        _ => new NftablesRedirection(Settings),
    };

    public static PodRedirection Redirection(string name) =>
        new(Make(name), [.. All.Select(row => row.Data).Where(other => other != name).Select(Make)], Settings);

    private static string Locks => RunFolder.Path;
}
