using System.CommandLine;
using AmbientMesh.Benchmarks.L4;
using AmbientMesh.Benchmarks.Policy;

var seconds = new Option<double>("--seconds") { Description = "time per figure", DefaultValueFactory = _ => 3 };
var rounds = new Option<int>("--rounds") { Description = "how often every way is measured; the best counts", DefaultValueFactory = _ => 2 };
var output = new Option<string>("--out") { Description = "folder for l4.json and l4.svg", DefaultValueFactory = _ => "artifacts/bench" };
var foreign = new Option<string?>("--ztunnel") { Description = "another ztunnel's executable, measured in the same places" };
var own = new Option<string?>("--own") { Description = "our ztunnel's executable; default artifacts/publish/ztunnel/ztunnel" };
var only = new Option<string[]>("--only") { Description = "of direct, ours, haproxy", AllowMultipleArgumentsPerToken = true };
var parts = new Option<MeasuredPart[]>("--measure") { Description = "these parts only", AllowMultipleArgumentsPerToken = true };
var environment = new Option<string[]>("--env") { Description = "NAME=VALUE for our ztunnel's environment", AllowMultipleArgumentsPerToken = true };
var l4 = new Command("l4", "throughput, latency, new connections, processor time and memory: direct, our ztunnel pair, an HAProxy mTLS pair") { seconds, rounds, output, foreign, own, only, parts, environment };
l4.SetAction(async (parsed, cancellationToken) =>
{
    string[] candidates = parsed.GetValue(own) is { } given ? [given] : ["artifacts/publish/ztunnel/ztunnel", "artifacts/bin/AmbientMesh.Ztunnel/release/ztunnel"];
    var program = candidates.FirstOrDefault(File.Exists);
    string?[] problems =
    [
        Environment.IsPrivilegedProcess ? null : "This command makes network namespaces and must run as root.",
        program is null ? $"There is no ztunnel at {string.Join(" or ", candidates)}; build it first (./mesh publish)." : null,
        parsed.GetValue(foreign) is { } path && !File.Exists(path) ? $"--ztunnel names {path}, which is no file." : null,
        parsed.GetValue(seconds) is < 0.2 or > 60 ? "--seconds must be 0.2 to 60." : null,
        parsed.GetValue(rounds) is < 1 or > 20 ? "--rounds must be 1 to 20." : null,
        File.Exists("/usr/sbin/haproxy") ? null : "haproxy is not installed.",
    ];
    foreach (var problem in problems) if (problem is not null) Console.Error.WriteLine(problem);
    if (problems.Any(p => p is not null)) return 2;
    try
    {
        var options = new L4Options(
            Path.GetFullPath(program!), parsed.GetValue(foreign) is { } f ? Path.GetFullPath(f) : null,
            TimeSpan.FromSeconds(parsed.GetValue(seconds)), parsed.GetValue(rounds), parsed.GetValue(output)!, parsed.GetValue(only) ?? [], parsed.GetValue(parts) ?? [],
            (parsed.GetValue(environment) ?? []).Select(e => e.Split('=', 2)).ToDictionary(e => e[0], e => e.ElementAtOrDefault(1) ?? ""));
        await L4Benchmark.RunAsync(options, cancellationToken);
        return 0;
    }
    catch (Exception e) when (e is IOException or InvalidOperationException or TimeoutException)
    {
        Console.Error.WriteLine($"bench l4: {e.Message}");
        return 1;
    }
});
var policy = new Command("policy", "what decisions cost: verdicts over up to 10,000 policies, routes among 50,000 workloads, changes of both");
policy.SetAction(_ => PolicyBenchmark.Run());
return await new RootCommand("Measures AmbientMesh.") { l4, policy }.Parse(args).InvokeAsync();
