using System.Diagnostics;
using AmbientMesh.Conformance;

var only = Array.Empty<string>();
var write = false;
var last = false;
for (var i = 0; i < args.Length; i++)
{
    switch (args[i])
    {
        case "--write-conformance": write = true; break;
        case "--from-last-run": last = true; break;
        case "--only" when i + 1 < args.Length: only = args[++i].Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries); break;
        default:
            Console.Error.WriteLine($"mesh test: unknown option \"{args[i]}\"; known are --only NAMES, --write-conformance and --from-last-run.");
            return 2;
    }
}
if (write && only.Length > 0)
{
    Console.Error.WriteLine("mesh test: --write-conformance needs the whole run; leave --only away.");
    return 2;
}

// The rings, innermost first: a fault shows in the cheapest test that can find it.
string[] order = ["Model", "Identity", "Telemetry", "Rpc", "Xds", "Hbone", "Kubernetes", "Linux", "ControlPlane", "Ztunnel", "Cni", "Lab", "Integration", "EndToEnd"];
foreach (var unknown in only.Except(order, StringComparer.OrdinalIgnoreCase))
{
    Console.Error.WriteLine($"mesh test: there is no test project \"{unknown}\"; known are {string.Join(", ", order)}.");
    return 2;
}

var results = new List<TestResult>();
var folder = Directory.CreateDirectory("artifacts/test-results").FullName;
foreach (var name in order.Where(n => only.Length == 0 || only.Contains(n, StringComparer.OrdinalIgnoreCase)))
{
    var assembly = Path.GetFullPath($"artifacts/bin/AmbientMesh.{name}.Tests/release/AmbientMesh.{name}.Tests.dll");
    if (!File.Exists(assembly))
    {
        Console.Error.WriteLine($"mesh test: {assembly} is not built.");
        return 2;
    }
    var started = Stopwatch.GetTimestamp();
    var project = new TestProject(assembly);
    var ran = last ? project.LastRun(folder) : await project.RunAsync(folder);
    results.AddRange(ran);
    Console.WriteLine($"{name,-14} {Count(ran, "Pass"),5} passed {Count(ran, "Fail"),4} failed {Count(ran, "Skip"),4} skipped {Stopwatch.GetElapsedTime(started).TotalSeconds,7:0.0} s");
    foreach (var failed in ran.Where(r => r.Outcome == "Fail")) Console.WriteLine($"  FAILED  {failed.Name}\n          {failed.Detail.ReplaceLineEndings("\n          ")}");
}
foreach (var group in results.Where(r => r.Outcome == "Skip").GroupBy(r => r.Detail)) Console.WriteLine($"  skipped {group.Count()}: {group.Key}");

var catalog = ScenarioCatalog.Read("tests/AmbientMesh.Conformance/scenarios.txt");
var document = ConformanceDocument.Render(catalog, results);
if (write) await File.WriteAllTextAsync("docs/CONFORMANCE.md", document);
else if (only.Length == 0 && (!File.Exists("docs/CONFORMANCE.md") || await File.ReadAllTextAsync("docs/CONFORMANCE.md") != document))
    Console.WriteLine("docs/CONFORMANCE.md differs from this run; ./mesh test --write-conformance brings it up to date.");

Console.WriteLine();
Console.WriteLine($"{Count(results, "Pass")} passed, {Count(results, "Fail")} failed, {Count(results, "Skip")} skipped");
return results.Any(r => r.Outcome == "Fail") || results.Count == 0 ? 1 : 0;

static int Count(IEnumerable<TestResult> results, string outcome) => results.Count(r => r.Outcome == outcome);
