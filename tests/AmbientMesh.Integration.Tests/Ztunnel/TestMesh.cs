using System.Net;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Linux.Netfilter;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel;
using AmbientMesh.Ztunnel.Configuration;
using Google.Protobuf;
using Microsoft.Extensions.Logging;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>A node's proxy with the agent that feeds it.</summary>
public sealed class TestNode : IAsyncDisposable
{
    private readonly ILoggerFactory _loggers;
    private string _before = "";

    private TestNode(string name, ZtunnelApp app, NodeAgentStandIn agent, LogCollector log, ILoggerFactory loggers) =>
        (Name, App, Agent, Log, _loggers) = (name, app, agent, log, loggers);

    public string Name { get; }
    public ZtunnelApp App { get; }
    public NodeAgentStandIn Agent { get; }
    public LogCollector Log { get; }

    /// <summary>Starts a proxy under a control plane; with <paramref name="snapshot"/> it also gets an empty snapshot and is ready.</summary>
    public static async Task<TestNode> StartAsync(string name, ControlPlaneStandIn plane, bool snapshot = true, NodeAgentStandIn? agent = null, Func<ZtunnelSettings, ZtunnelSettings>? with = null, TimeProvider? clock = null)
    {
        agent ??= new NodeAgentStandIn();
        var log = new LogCollector();
        var loggers = LoggerFactory.Create(builder => builder.SetMinimumLevel(LogLevel.Trace).AddProvider(log));
        var settings = new ZtunnelSettings
        {
            NodeName = name,
            XdsAddress = plane.Address,
            CaAddress = plane.Address,
            XdsRootCa = plane.RootFile,
            CaRootCa = plane.RootFile,
            InPodSocket = agent.SocketPath,
            AdminPort = 0,
            StatsPort = 0,
            ReadinessPort = 0,
            TerminationDeadline = TimeSpan.FromMinutes(5),   // a drain ends with its last connection: nobody waits for this by the real clock
        };
        var app = await ZtunnelApp.StartAsync(with?.Invoke(settings) ?? settings, loggers, LogFilter.Parse("trace"), clock ?? TimeProvider.System);
        var node = new TestNode(name, app, agent, log, loggers);
        if (snapshot)
        {
            await agent.AcceptAsync();
            Assert.Equal("", await agent.SnapshotSentAsync());
        }
        return node;
    }

    /// <summary>A test begins: what it awaits of log and metrics is none of what earlier ones left there.</summary>
    public void BeginAnew()
    {
        Log.BeginAnew();
        _before = MetricExposition.Write(App.Metrics);
    }

    /// <summary>The value of a metric sample whose line has all the parts; 0 when there is none.</summary>
    public double Metric(string name, params string[] parts) => Sum(MetricExposition.Write(App.Metrics), name, parts);

    private static double Sum(string exposed, string name, string[] parts) => exposed.Split('\n')
        .Where(line => line.StartsWith(name, StringComparison.Ordinal) && parts.All(part => line.Contains(part, StringComparison.Ordinal)))
        .Sum(line => double.Parse(line[(line.LastIndexOf(' ') + 1)..]));

    /// <summary>Returns once a metric has reached a value.</summary>
    public Task MetricReachesAsync(double value, string name, params string[] parts) => Eventually.IsTrueAsync(() => Metric(name, parts) >= value, $"{name} {string.Join(' ', parts)} >= {value}");

    /// <summary>Returns once a metric is higher than when the test began.</summary>
    public Task MetricGrowsAsync(string name, params string[] parts) => Eventually.IsTrueAsync(() => Metric(name, parts) > Sum(_before, name, parts), $"{name} {string.Join(' ', parts)} grows");

    public async ValueTask DisposeAsync()
    {
        await App.DisposeAsync();
        Agent.Dispose();
        _loggers.Dispose();
    }
}

/// <summary>Waits for a condition that has no event of its own.</summary>
public static class Eventually
{
    public static async Task IsTrueAsync(Func<bool> condition, string what)
    {
        var limit = Patience.Token;
        while (!condition())
        {
            if (limit.IsCancellationRequested) throw new TimeoutException($"never came true: {what}");
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, CancellationToken.None);
        }
    }
}

/// <summary>Two nodes, a control plane and pods on one wire, shared by the tests of a class.</summary>
public sealed class TestMesh : IAsyncLifetime
{
    private readonly List<IDisposable> _servers = [];

    public PodNetwork Network { get; private set; } = null!;
    public ControlPlaneStandIn Plane { get; private set; } = null!;
    public TestNode Near { get; private set; } = null!;
    public TestNode Far { get; private set; } = null!;

    /// <summary>Captured, on the near node.</summary>
    public PodNamespace Client { get; private set; } = null!;

    /// <summary>Captured, on the far node; echoes on 8080.</summary>
    public PodNamespace Server { get; private set; } = null!;

    /// <summary>Captured, on the near node; echoes on 8080.</summary>
    public PodNamespace Neighbour { get; private set; } = null!;

    /// <summary>Known to the mesh, not captured; echoes on 8080.</summary>
    public PodNamespace Plain { get; private set; } = null!;

    /// <summary>Unknown to the mesh; echoes on 8080.</summary>
    public PodNamespace Stranger { get; private set; } = null!;

    public PodServer ServerApp { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Network = await PodNetwork.CreateAsync();
        Plane = await ControlPlaneStandIn.StartAsync();
        (Near, Far) = (await TestNode.StartAsync("n1", Plane), await TestNode.StartAsync("n2", Plane));
        Client = await EnrollAsync("client", Near);
        Server = await EnrollAsync("server", Far);
        Neighbour = await EnrollAsync("neighbour", Near);
        Plain = await Network.AddPodAsync("plain");
        Stranger = await Network.AddPodAsync("stranger");
        Plane.Put(WorkloadOf(Plain, "n2", hbone: false));
        ServerApp = Add(PodServer.Echo(Server, 8080));
        foreach (var pod in (PodNamespace[])[Neighbour, Plain, Stranger]) Add(PodServer.Echo(pod, 8080));
        await KnownAsync(mesh => mesh.Workloads.FirstOrDefault(w => w.Name == "plain"));
    }

    /// <summary>Keeps an application until the end of the class.</summary>
    public PodServer Add(PodServer server)
    {
        _servers.Add(server);
        return server;
    }

    /// <summary>A new captured pod: redirect rules, discovery, node proxy.</summary>
    public async Task<PodNamespace> EnrollAsync(string name, TestNode node, Action<Wds.Workload>? with = null, bool nftables = false)
    {
        var pod = await Network.AddPodAsync(name);
        await RedirectAsync(pod, nftables);
        Plane.Put(WorkloadOf(pod, node.Name, hbone: true, with));
        await KnownAsync(mesh => mesh.FindWorkload(new Model.WorkloadInfo(name, "default", name)));
        Assert.Equal("", await node.Agent.AddAsync(UidOf(pod), pod));
        return pod;
    }

    /// <summary>Returns once both nodes know it.</summary>
    public async Task KnownAsync<T>(Func<Model.MeshSnapshot, T?> find) where T : class
    {
        foreach (var node in (TestNode[])[Near, Far]) await Patience.Within(node.App.Mesh.WhenAsync(find, Patience.Token).AsTask());
    }

    /// <summary>The redirect rules of the CNI agent, with iptables or with nftables.</summary>
    public static async Task RedirectAsync(PodNamespace pod, bool nftables = false)
    {
        var settings = new RedirectSettings();
        IRedirectionBackend backend = nftables
            ? new NftablesRedirection(settings)
            : new IptablesRedirection(new Iptables(await Iptables.DetectAsync("", null, Patience.Token), RunFolder.Path), settings);
        var redirection = new PodRedirection(backend, [], settings);
        await redirection.ApplyAsync(pod.Namespace, new PodRedirectOptions(CapturesDns: false, BypassesInbound: false, []), Patience.Token);
    }

    /// <summary>The pod UID the agent uses.</summary>
    public static string UidOf(PodNamespace pod) => $"uid-{pod.Name}";

    public static Wds.Workload WorkloadOf(PodNamespace pod, string node, bool hbone, Action<Wds.Workload>? with = null)
    {
        var workload = new Wds.Workload
        {
            Uid = $"Kubernetes//Pod/default/{pod.Name}",
            Name = pod.Name,
            Namespace = "default",
            ServiceAccount = pod.Name,
            Node = node,
            TunnelProtocol = hbone ? Wds.TunnelProtocol.Hbone : Wds.TunnelProtocol.None,
            WorkloadName = pod.Name,
            WorkloadType = Wds.WorkloadType.Pod,
            CanonicalName = pod.Name,
            CanonicalRevision = "v1",
            ClusterId = "Kubernetes",
            Addresses = { ByteString.CopyFrom(pod.V4.GetAddressBytes()), ByteString.CopyFrom(pod.V6.GetAddressBytes()) },
        };
        with?.Invoke(workload);
        return workload;
    }

    /// <summary>See <see cref="TestNode.BeginAnew"/>.</summary>
    public void BeginAnew()
    {
        Near.BeginAnew();
        Far.BeginAnew();
    }

    public static IPEndPoint At(PodNamespace pod, int port) => new(pod.V4, port);

    public async ValueTask DisposeAsync()
    {
        foreach (var server in _servers) server.Dispose();
        if (Near is not null) await Near.DisposeAsync();
        if (Far is not null) await Far.DisposeAsync();
        if (Plane is not null) await Plane.DisposeAsync();
        if (Network is not null) await Network.DisposeAsync();
    }
}
