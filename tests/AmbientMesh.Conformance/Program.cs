using System.Diagnostics;
using AmbientMesh.Conformance;

RunOptions options;
try
{
    options = RunOptions.Parse(args);
}
catch (ArgumentException wrong)
{
    Console.Error.WriteLine($"mesh test: {wrong.Message}");
    return 2;
}
if (options.Cluster)
{
    Environment.SetEnvironmentVariable("AMBIENTMESH_KUBECONFIG", options.Kubeconfig);
    Environment.SetEnvironmentVariable("AMBIENTMESH_INSTALLED", options.Installed ? "1" : null);
    Environment.SetEnvironmentVariable("AMBIENTMESH_KEEP", options.Keep ? "1" : null);
}

// A run against a cluster has results of its own: the conformance document speaks of the whole suite.
var folder = Directory.CreateDirectory(options.Cluster ? "artifacts/test-results/cluster" : "artifacts/test-results").FullName;
var lanes = TestRing.Lanes(options.Only, shared: options.Cluster);
foreach (var ring in lanes.SelectMany(lane => lane))
{
    if (File.Exists(Assembly(ring))) continue;
    Console.Error.WriteLine($"mesh test: {Assembly(ring)} is not built.");
    return 2;
}
var results = (await Task.WhenAll(lanes.Select(LaneAsync))).SelectMany(r => r).ToList();
foreach (var group in results.Where(r => r.Outcome == "Skip").GroupBy(r => r.Detail)) Console.WriteLine($"  skipped {group.Count()}: {group.Key}");

if (options.Only.Count == 0)
{
    var document = ConformanceDocument.Render(ScenarioCatalog.Read("tests/AmbientMesh.Conformance/scenarios.txt"), results);
    if (options.Write) await File.WriteAllTextAsync("docs/CONFORMANCE.md", document);
    else if (!File.Exists("docs/CONFORMANCE.md") || await File.ReadAllTextAsync("docs/CONFORMANCE.md") != document)
        Console.WriteLine("docs/CONFORMANCE.md differs from this run; ./mesh test --write-conformance brings it up to date.");
}

Console.WriteLine();
Console.WriteLine($"{Count(results, "Pass")} passed, {Count(results, "Fail")} failed, {Count(results, "Skip")} skipped");
return results.Any(r => r.Outcome == "Fail") || results.Count == 0 ? 1 : 0;

static int Count(IEnumerable<TestResult> results, string outcome) => results.Count(r => r.Outcome == outcome);

static string Assembly(TestRing ring) => Path.GetFullPath($"artifacts/bin/AmbientMesh.{ring.Project}.Tests/release/AmbientMesh.{ring.Project}.Tests.dll");

async Task<List<TestResult>> LaneAsync(IReadOnlyList<TestRing> lane)
{
    var found = new List<TestResult>();
    foreach (var ring in lane)
    {
        var started = Stopwatch.GetTimestamp();
        var project = new TestProject(Assembly(ring), ring);
        var ran = options.FromLastRun ? project.LastRun(folder) : await project.RunAsync(folder);
        found.AddRange(ran);
        Console.WriteLine(Report(ring, ran, Stopwatch.GetElapsedTime(started)));
    }
    return found;
}

// One text, written at once: lanes report beside each other.
static string Report(TestRing ring, IReadOnlyList<TestResult> ran, TimeSpan took) => string.Join(Environment.NewLine,
    ran.Where(r => r.Outcome == "Fail").Select(failed => $"  FAILED  {failed.Name}{Environment.NewLine}          {failed.Detail.ReplaceLineEndings("\n          ")}")
        .Prepend($"{ring.Name,-14} {Count(ran, "Pass"),5} passed {Count(ran, "Fail"),4} failed {Count(ran, "Skip"),4} skipped {took.TotalSeconds,7:0.0} s"));
