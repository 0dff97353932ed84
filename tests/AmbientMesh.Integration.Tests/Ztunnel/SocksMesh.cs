using System.Net;
using System.Net.Sockets;
using System.Text;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>A node whose pods are served SOCKS5, a captured client and server on it, and a name server.</summary>
public sealed class SocksMesh : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("amz-socks-").FullName;
    private readonly List<IDisposable> _servers = [];

    public PodNetwork Network { get; private set; } = null!;
    public ControlPlaneStandIn Plane { get; private set; } = null!;
    public TestNode Node { get; private set; } = null!;
    public PodNamespace Client { get; private set; } = null!;

    /// <summary>Captured; echoes on 8080; behind service <c>shop</c> (10.1.0.70:80, fd01::70).</summary>
    public PodNamespace Server { get; private set; } = null!;

    /// <summary>Not captured; echoes on 8080; the name server knows it as <c>outside.test</c>.</summary>
    public PodNamespace Plain { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Network = await PodNetwork.CreateAsync();
        Plane = await ControlPlaneStandIn.StartAsync();
        Plain = await Network.AddPodAsync("plain");
        var names = NameServerStandIn.Start(Plain, Answer);
        _servers.Add(names);
        await File.WriteAllTextAsync(Path.Combine(_folder, "resolv.conf"), $"nameserver {Plain.V4}\n", Patience.Token);
        Node = await TestNode.StartAsync("n1", Plane, with: settings => settings with { Socks5 = true, ResolverFile = Path.Combine(_folder, "resolv.conf") });
        Plane.Put(DnsMesh.Service("shop", "10.1.0.70,fd01::70"));
        Plane.Put(DnsMesh.Service("six", "fd01::71"));
        Plane.Put(DnsMesh.Service("empty", "10.1.0.72"));
        Client = await EnrollAsync("client");
        Server = await EnrollAsync("server", w =>
        {
            foreach (var name in (string[])["shop", "six"]) w.Services[$"default/{name}.default.svc.cluster.local"] = new Wds.PortList();
        });
        foreach (var pod in (PodNamespace[])[Server, Plain]) _servers.Add(PodServer.Echo(pod, 8080));
        await Patience.Within(Node.App.Mesh.WhenAsync(m => m.Services.FirstOrDefault(s => s.Name == "empty"), Patience.Token).AsTask());
    }

    public async Task<PodNamespace> EnrollAsync(string name, Action<Wds.Workload>? with = null, TestNode? node = null)
    {
        node ??= Node;
        var pod = await Network.AddPodAsync(name);
        await TestMesh.RedirectAsync(pod);
        Plane.Put(TestMesh.WorkloadOf(pod, node.Name, hbone: true, with));
        await Patience.Within(node.App.Mesh.WhenAsync(mesh => mesh.FindWorkload(new Model.WorkloadInfo(name, "default", name)), Patience.Token).AsTask());
        Assert.Equal("", await node.Agent.AddAsync(TestMesh.UidOf(pod), pod));
        return pod;
    }

    /// <summary>A: the plain pod for <c>outside.test</c>; no such name otherwise.</summary>
    private byte[] Answer(byte[] query, bool tcp)
    {
        var isKnown = Encoding.ASCII.GetString(query).Contains("outside\u0004test", StringComparison.Ordinal) && query[^3] == DnsClient.A;
        byte[] record = [0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, .. Plain.V4.GetAddressBytes()];
        return isKnown ? DnsMesh.Response(query, 0x8180, records: record, answers: 1) : DnsMesh.NoSuchName(query);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var server in _servers) server.Dispose();
        if (Node is not null) await Node.DisposeAsync();
        if (Plane is not null) await Plane.DisposeAsync();
        if (Network is not null) await Network.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }
}

/// <summary>A SOCKS5 client of an application inside a pod, byte by byte.</summary>
public sealed class SocksClient : IDisposable
{
    private readonly TcpClient _connection;

    private SocksClient(TcpClient connection) => (_connection, Stream) = (connection, connection.GetStream());

    public NetworkStream Stream { get; }

    public static async Task<SocksClient> ConnectAsync(PodNamespace pod) => new(await PodClient.ConnectAsync(pod, new IPEndPoint(IPAddress.Loopback, 15080)));

    /// <summary>Greets without authentication.</summary>
    public static async Task<SocksClient> GreetedAsync(PodNamespace pod)
    {
        var client = await ConnectAsync(pod);
        Assert.Equal("0500", await client.AskAsync([5, 1, 0], 2));
        return client;
    }

    /// <summary>The reply's code to a request for an address or a name; with what follows the request sent in the same packet.</summary>
    public async Task<int> RequestAsync(string host, int port, byte command = 1, string then = "")
    {
        byte[] address = IPAddress.TryParse(host, out var ip) ? [(byte)(ip.AddressFamily == AddressFamily.InterNetwork ? 1 : 4), .. ip.GetAddressBytes()] : [3, (byte)host.Length, .. Encoding.ASCII.GetBytes(host)];
        var reply = await AskAsync([5, command, 0, .. address, (byte)(port >> 8), (byte)port, .. Encoding.UTF8.GetBytes(then)], 10);
        Assert.True(reply.Length == 20 && reply.StartsWith("05", StringComparison.Ordinal), $"\"{reply}\" is no reply");
        return Convert.ToInt32(reply[2..4], 16);
    }

    /// <summary>Sends bytes and returns as many as expected, or all there are before the end.</summary>
    public async Task<string> AskAsync(byte[] bytes, int expected)
    {
        await Stream.WriteAsync(bytes, Patience.Token);
        var answer = new byte[expected];
        var count = await Stream.ReadAtLeastAsync(answer, expected, throwOnEndOfStream: false, Patience.Token);
        return Convert.ToHexString(answer.AsSpan(0, count));
    }

    /// <summary>Sends text, finishes, and returns everything that comes back.</summary>
    public async Task<string> FinishAsync(string text)
    {
        await Stream.WriteAsync(Encoding.UTF8.GetBytes(text), Patience.Token);
        _connection.Client.Shutdown(SocketShutdown.Send);
        using var reader = new StreamReader(Stream);
        return await reader.ReadToEndAsync(Patience.Token);
    }

    /// <summary>Whether the other side has ended.</summary>
    public async Task<bool> IsEndedAsync()
    {
        try
        {
            return await Stream.ReadAsync(new byte[1], Patience.Token) == 0;
        }
        catch (IOException)
        {
            return true;
        }
    }

    public void Dispose() => _connection.Dispose();
}
