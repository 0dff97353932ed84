using System.Net;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Linux.Netfilter;
using AmbientMesh.Ztunnel.Dns;
using Google.Protobuf;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>A node with a captured client, two name servers on the wire, and the services of the reference's scenarios.</summary>
public sealed class DnsMesh : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("amz-dns-").FullName;

    public PodNetwork Network { get; private set; } = null!;
    public ControlPlaneStandIn Plane { get; private set; } = null!;
    public TestNode Node { get; private set; } = null!;

    /// <summary>The node's: a name server has all the time it needs, unless a test moves it.</summary>
    public HeldClock Clock { get; private set; } = null!;

    /// <summary>In namespace default; its lookups are captured.</summary>
    public PodNamespace Client { get; private set; } = null!;

    /// <summary>In namespace default; its connections are captured and its lookups are not.</summary>
    public PodNamespace Uncaptured { get; private set; } = null!;
    public PodNamespace FirstPod { get; private set; } = null!;
    public PodNamespace SecondPod { get; private set; } = null!;
    public NameServerStandIn First { get; private set; } = null!;
    public NameServerStandIn Second { get; private set; } = null!;

    public string ResolverFile => Path.Combine(_folder, "resolv.conf");

    /// <summary>An answer with the code of a name that does not exist, recursion available, and an authority record.</summary>
    public static byte[] NoSuchName(byte[] query) => Response(query, 0x8583, authorities: 1, Hex("00 0006 0001 0000012c 0016 016100 016200 00000001 00000002 00000003 00000004 00000005"));

    public static byte[] Hex(string text) => Convert.FromHexString(text.Replace(" ", "", StringComparison.Ordinal));

    public static byte[] Response(byte[] query, ushort flags, int authorities = 0, byte[]? records = null, int answers = 0)
    {
        Assert.True(DnsMessage.TryParse(query, out var parsed, out var reason), reason);
        byte[] head = [query[0], query[1], (byte)(flags >> 8), (byte)flags, 0, 1, 0, (byte)answers, 0, (byte)authorities, 0, 0];
        return [.. head, .. query[12..parsed.QuestionsEnd], .. records ?? []];
    }

    public async ValueTask InitializeAsync()
    {
        Network = await PodNetwork.CreateAsync();
        Plane = await ControlPlaneStandIn.StartAsync();
        Clock = new HeldClock(DnsForwarder.NextTry, DnsForwarder.Patience, QueryAnswering.ClientTimeout);   // not earlier than the root of the mesh is valid
        FirstPod = await Network.AddPodAsync("first");
        SecondPod = await Network.AddPodAsync("second");
        (First, Second) = (NameServerStandIn.Start(FirstPod, (query, _) => NoSuchName(query)), NameServerStandIn.Start(SecondPod, (query, _) => NoSuchName(query)));
        await File.WriteAllTextAsync(ResolverFile, $"nameserver {FirstPod.V4}\nnameserver {SecondPod.V6}\n", Patience.Token);
        Node = await TestNode.StartAsync("n1", Plane, with: settings => settings with { ResolverFile = ResolverFile }, clock: Clock);
        Client = await EnrollAsync("client", capturesDns: true);
        Uncaptured = await EnrollAsync("uncaptured", capturesDns: false);
        foreach (var service in Services()) Plane.Put(service);
        Plane.Put(TestMesh.WorkloadOf(FirstPod, "n1", hbone: false, w => w.Services["default/hl.default.svc.cluster.local"] = new Wds.PortList()));
        Plane.Put(TestMesh.WorkloadOf(SecondPod, "n1", hbone: false, w =>
        {
            w.Services["default/hl.default.svc.cluster.local"] = new Wds.PortList();
            w.Status = Wds.WorkloadStatus.Unhealthy;
        }));
        await Patience.Within(Node.App.Mesh.WhenAsync(mesh => mesh.Workloads.FirstOrDefault(w => w.Name == "second"), Patience.Token).AsTask());
        await Patience.Within(Node.App.Mesh.WhenAsync(mesh => mesh.Services.FirstOrDefault(s => s.Name == "last"), Patience.Token).AsTask());
    }

    /// <summary>What is answered to a query that the proxy waits with for <paramref name="pause"/>; the clock moves by so much and no more.</summary>
    public async Task<byte[]> AfterAsync(TimeSpan pause, Func<Task<byte[]>> ask)
    {
        var asking = ask();
        await Clock.TimersAsync(times => times.Contains(pause), Patience.Token);
        Clock.Advance(pause);
        return await asking;
    }

    public async Task<PodNamespace> EnrollAsync(string name, bool capturesDns, bool known = true)
    {
        var pod = await Network.AddPodAsync(name);
        var settings = new RedirectSettings();
        var iptables = new Iptables(await Iptables.DetectAsync("", null, Patience.Token), Path.GetTempPath());
        await new PodRedirection(new IptablesRedirection(iptables, settings), [], settings).ApplyAsync(pod.Namespace, new PodRedirectOptions(capturesDns, BypassesInbound: false, []), Patience.Token);
        if (known)
        {
            Plane.Put(TestMesh.WorkloadOf(pod, Node.Name, hbone: true));
            await Patience.Within(Node.App.Mesh.WhenAsync(mesh => mesh.FindWorkload(new Model.WorkloadInfo(name, "default", name)), Patience.Token).AsTask());
        }
        Assert.Equal("", await Node.Agent.AddAsync(TestMesh.UidOf(pod), pod));
        return pod;
    }

    private static IEnumerable<Wds.Service> Services() =>
    [
        Service("productpage", "10.1.0.1"), Service("dual", "10.1.0.2,fd01::2"), Service("six", "fd01::6"), Service("hl", ""),
        Service("example", "10.1.0.3", "ns2"), Service("www.google.com", "10.1.0.4", "ns2"), Service("headless.example.com", "", "default"),
        Service("*.wildcard", "10.1.0.20", "ns2"), Service("*.b.wildcard", "10.1.0.21", "ns2"),
        Service("remote", "10.1.0.30", with: s => s.Addresses[0].Network = "elsewhere"),
        Service("shared.com", "10.1.0.40"), Service("shared.com", "10.1.0.41", "ns2", s => s.Canonical = true),
        Service("canonical.com", "10.1.0.42", "ns2", s => s.Canonical = false), Service("canonical.com", "10.1.0.43", "ns3"),
        Service("secret.com", "10.1.0.50", "ns2", s => s.Visibility = Wds.Service.Types.Visibility.Namespace),
        Service("shadow.com", "10.1.0.51", "ns2", s => s.Visibility = Wds.Service.Types.Visibility.Namespace), Service("shadow.com", "10.1.0.52", "ns3", s => s.Canonical = false),
        Service("last", "10.1.0.60"),
    ];

    public static Wds.Service Service(string name, string vips, string ns = "default", Action<Wds.Service>? with = null)
    {
        var service = new Wds.Service { Name = name, Namespace = ns, Hostname = name.Contains('.') ? name : $"{name}.{ns}.svc.cluster.local", Canonical = true, Ports = { new Wds.Port { ServicePort = 80, TargetPort = 8080 } } };
        foreach (var vip in vips.Split(',', StringSplitOptions.RemoveEmptyEntries)) service.Addresses.Add(new Wds.NetworkAddress { Address = ByteString.CopyFrom(IPAddress.Parse(vip).GetAddressBytes()) });
        with?.Invoke(service);
        return service;
    }

    public async ValueTask DisposeAsync()
    {
        First?.Dispose();
        Second?.Dispose();
        if (Node is not null) await Node.DisposeAsync();
        if (Plane is not null) await Plane.DisposeAsync();
        if (Network is not null) await Network.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }
}
