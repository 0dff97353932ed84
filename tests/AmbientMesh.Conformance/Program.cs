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

var results = new List<TestResult>();
// A run against a cluster has results of its own: the conformance document speaks of the whole suite.
var folder = Directory.CreateDirectory(options.Cluster ? "artifacts/test-results/cluster" : "artifacts/test-results").FullName;
foreach (var name in RunOptions.Order.Where(n => options.Only.Count == 0 || options.Only.Contains(n, StringComparer.OrdinalIgnoreCase)))
{
    var assembly = Path.GetFullPath($"artifacts/bin/AmbientMesh.{name}.Tests/release/AmbientMesh.{name}.Tests.dll");
    if (!File.Exists(assembly))
    {
        Console.Error.WriteLine($"mesh test: {assembly} is not built.");
        return 2;
    }
    var started = Stopwatch.GetTimestamp();
    var project = new TestProject(assembly);
    var ran = options.FromLastRun ? project.LastRun(folder) : await project.RunAsync(folder);
    results.AddRange(ran);
    Console.WriteLine($"{name,-14} {Count(ran, "Pass"),5} passed {Count(ran, "Fail"),4} failed {Count(ran, "Skip"),4} skipped {Stopwatch.GetElapsedTime(started).TotalSeconds,7:0.0} s");
    foreach (var failed in ran.Where(r => r.Outcome == "Fail")) Console.WriteLine($"  FAILED  {failed.Name}\n          {failed.Detail.ReplaceLineEndings("\n          ")}");
}
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
