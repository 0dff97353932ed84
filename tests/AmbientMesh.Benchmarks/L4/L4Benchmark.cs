using System.Diagnostics;
using System.Text.Json;
using AmbientMesh.Identity;

namespace AmbientMesh.Benchmarks.L4;

/// <summary>What to run.</summary>
/// <param name="OwnZtunnel">Our executable.</param>
/// <param name="Parts">What to measure; empty for everything.</param>
/// <param name="Environment">Added to our ztunnel's environment, for trying settings of the runtime.</param>
/// <param name="ForeignZtunnel">Another ztunnel's executable, run in the same places; null for none.</param>
internal sealed record L4Options(string OwnZtunnel, string? ForeignZtunnel, TimeSpan Duration, int Rounds, string OutputFolder, IReadOnlyList<string> Only,
    IReadOnlyList<MeasuredPart> Parts, IReadOnlyDictionary<string, string> Environment);

/// <summary>The L4 comparison: every way across measured in turn, round by round, on one machine in one run.</summary>
internal static class L4Benchmark
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    /// <exception cref="IOException">A way did not come up or broke; the message names it.</exception>
    public static async Task RunAsync(L4Options options, CancellationToken cancellationToken)
    {
        var folder = Directory.CreateTempSubdirectory("mesh-bench-").FullName;
        var ways = new List<WayAcross>();
        var servers = new List<LoadServer>();
        ThreadPool.SetMinThreads(128, 128);
        try
        {
            await StartAsync(options, folder, ways, servers, cancellationToken);
            var report = new Report([.. ways.Select(w => w.Name)]);
            for (var round = 1; round <= options.Rounds; round++)
            {
                for (var i = 0; i < ways.Count; i++)
                {
                    Console.Error.WriteLine($"round {round} of {options.Rounds}: {ways[i].Name}");
                    report.Add(ways[i].Name, await MeasureAsync(ways[i], servers[i], options, memory: round == 1, cancellationToken));
                }
            }
            Write(report, options);
        }
        finally
        {
            foreach (var server in servers) server.Dispose();
            foreach (var way in ways) await way.DisposeAsync();
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task StartAsync(L4Options options, string folder, List<WayAcross> ways, List<LoadServer> servers, CancellationToken cancellationToken)
    {
        var authority = CertificateAuthority.CreateSelfSigned("cluster.local", TimeProvider.System);
        (string Name, Func<NodePair, WayAcross> Make)[] all =
        [
            ("direct", nodes => new DirectWay(nodes)),
            ("ours", nodes => new ZtunnelWay("ours", nodes, authority, options.OwnZtunnel, folder, options.Environment)),
            ("haproxy", nodes => new HaproxyWay(nodes, authority, folder)),
            ("foreign", nodes => new ZtunnelWay("foreign", nodes, authority, options.ForeignZtunnel!, folder, new Dictionary<string, string>())),
        ];
        foreach (var (name, make) in all)
        {
            if (name == "foreign" ? options.ForeignZtunnel is null : options.Only.Count > 0 && !options.Only.Contains(name)) continue;
            var way = make(await NodePair.CreateAsync(ways.Count + 1, cancellationToken));
            ways.Add(way);
            servers.Add(new LoadServer(way.Nodes.ServerPod));
            var began = Stopwatch.GetTimestamp();
            await way.StartAsync(cancellationToken);
            Console.Error.WriteLine($"{name}: up after {Stopwatch.GetElapsedTime(began).TotalSeconds:0.0} s");
        }
    }

    private static async Task<Dictionary<Figure, double>> MeasureAsync(WayAcross way, LoadServer server, L4Options options, bool memory, CancellationToken cancellationToken)
    {
        try
        {
            return await new Measurements(way, server, options.Duration, options.Parts).TakeAsync(memory, cancellationToken);
        }
        catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException)
        {
            throw new IOException($"{way.Name}: {e.Message}\n{string.Join("\n--\n", way.Proxies.Select(p => string.Join('\n', p.Log.Split('\n').TakeLast(20))))}", e);
        }
    }

    private static void Write(Report report, L4Options options)
    {
        Directory.CreateDirectory(options.OutputFolder);
        Console.WriteLine(report.Table());
        var json = report.Json($"{Environment.ProcessorCount} processors, {File.ReadLines("/proc/cpuinfo").FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[1].Trim()}", options.Duration.TotalSeconds, options.Rounds);
        File.WriteAllText(Path.Combine(options.OutputFolder, "l4.json"), json.ToJsonString(Indented) + "\n");
        File.WriteAllText(Path.Combine(options.OutputFolder, "l4.svg"), report.Svg());
        Console.WriteLine($"written: {Path.Combine(options.OutputFolder, "l4.json")}, {Path.Combine(options.OutputFolder, "l4.svg")}");
    }
}
