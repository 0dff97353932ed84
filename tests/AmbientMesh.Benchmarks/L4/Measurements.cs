using System.Diagnostics;

namespace AmbientMesh.Benchmarks.L4;

/// <summary>What is measured, in the order of the table.</summary>
internal enum Figure
{
    OneStream,
    EightStreams,
    CpuPerGigabyte,
    Requests,
    LatencyP50,
    LatencyP99,
    CpuPerRequest,
    NewConnections,
    NewConnectionsOf16,
    CpuPerConnection,
    AllocatedPerConnection,
    ResidentIdle,
    PrivateIdle,
    ResidentWith1000,
    PrivateWith1000,
    AllocatedPerMegabyte,
}

/// <summary>A figure's name, unit and which direction is better.</summary>
internal sealed record FigureInfo(string Title, string Unit, bool HigherIsBetter)
{
    public static IReadOnlyDictionary<Figure, FigureInfo> All { get; } = new Dictionary<Figure, FigureInfo>
    {
        [Figure.OneStream] = new("throughput, 1 stream", "MB/s", true),
        [Figure.EightStreams] = new("throughput, 8 streams", "MB/s", true),
        [Figure.CpuPerGigabyte] = new("processor time of both proxies per GB", "s", false),
        [Figure.Requests] = new("1 KB request/response, 1 connection", "/s", true),
        [Figure.LatencyP50] = new("latency p50", "µs", false),
        [Figure.LatencyP99] = new("latency p99", "µs", false),
        [Figure.CpuPerRequest] = new("processor time of both proxies per request", "µs", false),
        [Figure.NewConnections] = new("new connections, 1 client", "/s", true),
        [Figure.NewConnectionsOf16] = new("new connections, 16 clients", "/s", true),
        [Figure.CpuPerConnection] = new("processor time of both proxies per new connection", "µs", false),
        [Figure.AllocatedPerConnection] = new("managed memory allocated per new connection", "bytes", false),
        [Figure.ResidentIdle] = new("resident memory of both, idle", "MB", false),
        [Figure.PrivateIdle] = new("of it private, not mapped from files", "MB", false),
        [Figure.ResidentWith1000] = new("resident memory of both, 1,000 connections", "MB", false),
        [Figure.PrivateWith1000] = new("of it private", "MB", false),
        [Figure.AllocatedPerMegabyte] = new("managed memory allocated per MB relayed", "bytes", false),
    };
}

/// <summary>What can be left out of a run.</summary>
internal enum MeasuredPart { Throughput, Latency, Connections, Memory }

/// <summary>Takes the figures of one way across, once.</summary>
/// <param name="parts">Which; none given means all.</param>
internal sealed class Measurements(WayAcross way, LoadServer server, TimeSpan duration, IReadOnlyCollection<MeasuredPart> parts)
{
    private const double Megabyte = 1e6;
    private readonly LoadClient _client = new(way.Nodes.ClientPod, way.Destination);

    public async Task<Dictionary<Figure, double>> TakeAsync(bool memory, CancellationToken cancellationToken)
    {
        var figures = new Dictionary<Figure, double>();
        memory &= way.Proxies.Count > 0 && Has(MeasuredPart.Memory);
        if (memory) TakeMemory(figures, Figure.ResidentIdle, Figure.PrivateIdle);
        if (Has(MeasuredPart.Throughput))
        {
            await ThroughputAsync(figures, cancellationToken);
            figures[Figure.EightStreams] = await Task.Run(() => Flood(8).Rate, cancellationToken);
        }
        if (Has(MeasuredPart.Latency)) await Task.Run(() => Latency(figures), cancellationToken);
        if (Has(MeasuredPart.Connections)) await ConnectionsAsync(figures, cancellationToken);
        if (memory) await Task.Run(() => Hold1000(figures), cancellationToken);
        return figures;
    }

    private bool Has(MeasuredPart part) => parts.Count == 0 || parts.Contains(part);

    private async Task ConnectionsAsync(Dictionary<Figure, double> figures, CancellationToken cancellationToken)
    {
        await Task.Run(() => _client.Connections(1, duration / 4), cancellationToken);   // warm
        var allocated = await way.AllocatedBytesAsync(cancellationToken);
        var asking = await way.AllocatedBytesAsync(cancellationToken) - allocated;
        var cpu = Cpu();
        var (rate, one) = await Task.Run(() => _client.Connections(1, duration), cancellationToken);
        figures[Figure.NewConnections] = rate;
        (rate, var many) = await Task.Run(() => _client.Connections(16, duration), cancellationToken);
        figures[Figure.NewConnectionsOf16] = rate;
        if (way.Proxies.Count > 0) figures[Figure.CpuPerConnection] = (Cpu() - cpu) / (one + many) * 1e6;
        if (await way.AllocatedBytesAsync(cancellationToken) is { } after)
            figures[Figure.AllocatedPerConnection] = Math.Max(0, (after - allocated! - (2 * asking!)).Value / (double)(one + many));
    }

    private async Task ThroughputAsync(Dictionary<Figure, double> figures, CancellationToken cancellationToken)
    {
        await Task.Run(() => Flood(1), cancellationToken);   // warm: code compiled, pools filled
        var allocated = await way.AllocatedBytesAsync(cancellationToken);
        var asking = await way.AllocatedBytesAsync(cancellationToken) - allocated;   // what asking itself costs
        var cpu = Cpu();
        var (rate, bytes) = await Task.Run(() => Flood(1), cancellationToken);
        figures[Figure.OneStream] = rate;
        if (way.Proxies.Count > 0) figures[Figure.CpuPerGigabyte] = (Cpu() - cpu) / (bytes / 1e9);
        if (await way.AllocatedBytesAsync(cancellationToken) is { } after)
            figures[Figure.AllocatedPerMegabyte] = Math.Max(0, (after - allocated! - (2 * asking!)).Value / (bytes / Megabyte));
    }

    /// <summary>Rate in MB/s over the middle of the run, and all bytes that passed.</summary>
    private (double Rate, long Bytes) Flood(int streams)
    {
        double rate = 0;
        var first = server.SunkBytes;
        _client.Flood(streams, () =>
        {
            Pause(duration / 4);
            var began = Stopwatch.GetTimestamp();
            var before = server.SunkBytes;
            Pause(duration);
            rate = (server.SunkBytes - before) / Megabyte / Stopwatch.GetElapsedTime(began).TotalSeconds;
        });
        return (rate, server.SunkBytes - first);
    }

    private void Latency(Dictionary<Figure, double> figures)
    {
        var cpu = Cpu();
        var times = _client.PingPong(duration);
        var spent = Cpu() - cpu;
        Array.Sort(times);
        figures[Figure.Requests] = times.Length / times.Sum() * 1e6;
        figures[Figure.LatencyP50] = times[times.Length / 2];
        figures[Figure.LatencyP99] = times[(int)(times.Length * 0.99)];
        if (way.Proxies.Count > 0) figures[Figure.CpuPerRequest] = spent / times.Length * 1e6;
    }

    private void Hold1000(Dictionary<Figure, double> figures)
    {
        var held = _client.Hold(1000);
        TakeMemory(figures, Figure.ResidentWith1000, Figure.PrivateWith1000);
        foreach (var socket in held) socket.Dispose();
    }

    private void TakeMemory(Dictionary<Figure, double> figures, Figure resident, Figure anonymous)
    {
        var memory = way.Proxies.Select(p => p.Memory()).ToArray();
        figures[resident] = memory.Sum(m => m.Resident) / Megabyte;
        figures[anonymous] = memory.Sum(m => m.Anonymous) / Megabyte;
    }

    private double Cpu() => way.Proxies.Sum(p => p.CpuSeconds());

    /// <summary>Measuring for a time means waiting for it.</summary>
    private static void Pause(TimeSpan time) => Task.Delay(time, TimeProvider.System).Wait();
}
