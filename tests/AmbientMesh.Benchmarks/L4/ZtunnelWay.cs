using System.Globalization;
using AmbientMesh.Identity;
using AmbientMesh.Linux;

namespace AmbientMesh.Benchmarks.L4;

/// <summary>A ztunnel at each end, ours or a foreign one: same environment, same pods, same control plane, same redirect rules.</summary>
internal sealed class ZtunnelWay(string name, NodePair nodes, CertificateAuthority authority, string program, string folder, IReadOnlyDictionary<string, string> environment) : WayAcross(name, nodes)
{
    private const int ReadinessPort = 15021;
    private const int MetricsPort = 15020;
    private readonly List<HostedProcess> _proxies = [];
    private readonly List<StandInNodeAgent> _agents = [];
    private StandInControlPlane? _controlPlane;

    public override IReadOnlyList<HostedProcess> Proxies => _proxies;

    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        await Nodes.RedirectAsync(cancellationToken);
        _controlPlane = await StandInControlPlane.StartAsync(Nodes, authority, cancellationToken);
        await Task.WhenAll(
            StartAsync("a", Nodes.ClientNode, Nodes.ClientPod, "client", cancellationToken),
            StartAsync("b", Nodes.ServerNode, Nodes.ServerPod, "server", cancellationToken));
        await Readiness.WaitAsync(Name, _proxies, () => IsReady(Nodes.ClientNode) && IsReady(Nodes.ServerNode), cancellationToken);
        await Readiness.WaitAsync(Name, _proxies, () => Readiness.Passes(Nodes.ClientPod, Destination), cancellationToken);
    }

    public override async Task<long?> AllocatedBytesAsync(CancellationToken cancellationToken)
    {
        await Task.Yield();
        return Allocated(Nodes.ClientNode) + Allocated(Nodes.ServerNode);
    }

    public override async ValueTask DisposeAsync()
    {
        foreach (var proxy in _proxies) proxy.Dispose();
        foreach (var agent in _agents) agent.Dispose();
        if (_controlPlane is not null) await _controlPlane.DisposeAsync();
        await base.DisposeAsync();
    }

    private async Task StartAsync(string node, NetworkNamespace own, NetworkNamespace pod, string account, CancellationToken cancellationToken)
    {
        var socket = Path.Combine(folder, $"{Name}-{node}.sock");
        var roots = Path.Combine(folder, $"{Name}-roots-{node}.pem");
        var token = Path.Combine(folder, $"{Name}-token-{node}");
        await File.WriteAllTextAsync(roots, authority.Roots.Pem, cancellationToken);
        await File.WriteAllTextAsync(token, "bench", cancellationToken);
        var agent = new StandInNodeAgent(socket, account, pod);
        lock (_agents) _agents.Add(agent);
        var proxy = await HostedProcess.StartAsync(own, Path.Combine(folder, $"{Name}-{node}.log"), new Dictionary<string, string>(environment)
        {
            ["XDS_ADDRESS"] = $"https://localhost:{StandInControlPlane.Port}",
            ["CA_ADDRESS"] = $"https://localhost:{StandInControlPlane.Port}",
            ["XDS_ROOT_CA"] = roots,
            ["CA_ROOT_CA"] = roots,
            ["AUTH_TOKEN"] = token,
            ["INPOD_UDS"] = socket,
            ["NODE_NAME"] = $"node-{node}",
            ["POD_NAME"] = $"ztunnel-{node}",
            ["POD_NAMESPACE"] = "istio-system",
            ["SERVICE_ACCOUNT"] = "ztunnel",
            ["INSTANCE_IP"] = "127.0.0.1",
            ["CLUSTER_ID"] = "Kubernetes",
            ["RUST_LOG"] = "error",
            ["PROXY_MODE"] = "shared",
        }, program, "proxy", "ztunnel");
        lock (_proxies) _proxies.Add(proxy);
        await agent.HandOverAsync(cancellationToken).WaitAsync(TimeSpan.FromSeconds(30), cancellationToken);
    }

    private static bool IsReady(NetworkNamespace node) => Readiness.Get(node, ReadinessPort, "/healthz/ready") is (200, _);

    private static long? Allocated(NetworkNamespace node)
    {
        const string metric = "dotnet_gc_allocated_bytes_total ";
        var line = Readiness.Get(node, MetricsPort, "/metrics")?.Body.Split('\n').FirstOrDefault(l => l.StartsWith(metric, StringComparison.Ordinal));
        return line is not null && double.TryParse(line.AsSpan(metric.Length), CultureInfo.InvariantCulture, out var bytes) ? (long)bytes : null;
    }
}
