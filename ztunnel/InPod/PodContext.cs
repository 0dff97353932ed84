using AmbientMesh.Hbone;
using AmbientMesh.Model;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Certificates;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.Inbound;
using AmbientMesh.Ztunnel.Outbound;
using AmbientMesh.Ztunnel.Reporting;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.InPod;

/// <summary>What every pod's proxy shares with the others of the process.</summary>
public sealed record ProxyServices(
    MeshStore Mesh, SvidStore Svids, ConnectionReports Reports, ZtunnelSettings Settings, TimeProvider Clock, ILoggerFactory Loggers)
{
    public TcpMetrics Metrics => Reports.Metrics;

    /// <summary>Asks discovery for an address by <c>network/ip</c> and completes when it is there, or with false when there is none; null when everything is told unasked.</summary>
    public Func<string, CancellationToken, Task<bool>>? Demand { get; init; }

    /// <summary>Finds who connects, for labels.</summary>
    public SourceLookup Sources { get; } = new();

    /// <summary>Whom clients did not reach lately.</summary>
    public UnansweredEndpoints Unanswered { get; } = new(Clock);

    /// <summary>Told by listeners that find no descriptors; null where nobody asks.</summary>
    public DescriptorShortage? Shortage { get; init; }

    public HboneOptions Hbone { get; } = new()
    {
        StreamWindowBytes = Settings.Http2StreamWindow,
        ConnectionWindowBytes = Settings.Http2ConnectionWindow,
        MaxFrameBytes = Settings.Http2FrameSize,
    };

    public HbonePoolOptions Pool { get; } = new() { MaxStreamsPerTunnel = Settings.PoolMaxStreamsPerConnection, UnusedRelease = Settings.PoolUnusedReleaseTimeout };
}

/// <summary>What the directions of one pod's proxy have in common.</summary>
public sealed class PodContext(WorkloadInfo info, PodSockets sockets, ProxyServices services)
{
    /// <summary>How long discovery may take to bring the pod's own workload.</summary>
    public static readonly TimeSpan LookupTimeout = TimeSpan.FromSeconds(5);

    private readonly ILogger _log = services.Loggers.CreateLogger("ztunnel::state");
    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(1);   // an address that is late is found then

    private Workload? _bound;   // the version of the workload whose addresses were found in the namespace
    private Misfit? _misfit;

    /// <summary>A version of the workload whose addresses were not found there, and when that was.</summary>
    private sealed record Misfit(Workload Workload, long At);

    public WorkloadInfo Info => info;
    public PodSockets Sockets => sockets;
    public ProxyServices Services => services;
    public ConnectionTable Connections { get; } = new(info, services.Reports.NewTrace);
    public ILogger PolicyLog { get; } = services.Loggers.CreateLogger("ztunnel::rbac");
    public LogSpan Span { get; } = new("proxy", "wl", $"{info.Namespace}/{info.Name}");

    /// <summary>The pod's workload, waiting up to <see cref="LookupTimeout"/> for discovery to bring it; null when it does not.</summary>
    public ValueTask<Workload?> LocalWorkloadAsync(CancellationToken cancellationToken) => LocalWorkloadAsync(LookupTimeout, cancellationToken);

    /// <inheritdoc cref="LocalWorkloadAsync(CancellationToken)"/>
    public async ValueTask<Workload?> LocalWorkloadAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        if (WorkloadIn(services.Mesh.Current) is { } known) return known;
        using var limit = new CancellationTokenSource(timeout, services.Clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            return await services.Mesh.WhenAsync(WorkloadIn, either.Token);
        }
        catch (OperationCanceledException) when (limit.IsCancellationRequested)
        {
            _log.Write(LogLevel.Warning, new LogFields($"timed out waiting for workload '{info}' from xds") { Span = Span });
            return null;
        }
    }

    /// <summary>The pod's workload as <paramref name="mesh"/> has it, when the namespace that the node agent handed over under this name has one of its addresses: a namespace
    /// that was paired with another pod's name must not get that pod's identity (T-24). Null otherwise. The namespace is asked once for each version of the workload, and of one
    /// that did not fit at most once a second.</summary>
    public Workload? WorkloadIn(MeshSnapshot mesh)
    {
        if (mesh.FindWorkload(info) is not { } workload) return null;
        if (ReferenceEquals(_bound, workload)) return workload;
        var known = Volatile.Read(ref _misfit) is { } misfit && ReferenceEquals(misfit.Workload, workload) ? misfit : null;
        if (known is not null && services.Clock.GetElapsedTime(known.At) < LookAgain) return null;
        if (!workload.Addresses.IsEmpty && !sockets.HasAny(workload.Addresses))
        {
            Volatile.Write(ref _misfit, new Misfit(workload, services.Clock.GetTimestamp()));
            if (known is null)
                _log.Write(LogLevel.Error, new LogFields($"the network namespace of '{info}' has none of the workload's addresses {string.Join(", ", workload.Addresses)}: it may be another pod's, and gets no identity") { Span = Span });
            return null;
        }
        _bound = workload;
        return workload;
    }
}
