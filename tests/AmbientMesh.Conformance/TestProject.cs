using System.Diagnostics;
using System.Globalization;
using System.Xml.Linq;

namespace AmbientMesh.Conformance;

/// <summary>One test as it ended: <paramref name="Outcome"/> is Pass, Fail or Skip; <paramref name="Detail"/> is the failure text or the skip reason.</summary>
public sealed record TestResult(string Project, string Name, string Outcome, string Detail, IReadOnlyList<string> Scenarios);

/// <summary>One compiled test project, an executable of its own, and the ring of it that is run.</summary>
public sealed class TestProject(string assembly, TestRing ring)
{
    public string Name { get; } = Path.GetFileNameWithoutExtension(assembly);

    // The results of a ring that is part of a project lie beside those of the others.
    private string FileName => ring.Name == ring.Project ? Name : $"{Name}.{ring.Name}";

    /// <summary>The results that the last run of the project left in <paramref name="resultsFolder"/>.</summary>
    public IReadOnlyList<TestResult> LastRun(string resultsFolder)
    {
        var xml = Path.Combine(resultsFolder, FileName + ".xml");
        return File.Exists(xml) ? Read(xml) : [Broken("has left no results; run the tests first")];
    }

    /// <summary>Runs all tests of the project; a crash or a run over the limit is itself a failed result, so that it cannot pass unseen.</summary>
    public async Task<IReadOnlyList<TestResult>> RunAsync(string resultsFolder)
    {
        var xml = Path.Combine(resultsFolder, FileName + ".xml");
        File.Delete(xml);
        var log = Path.Combine(resultsFolder, FileName + ".log");
        using var process = Process.Start(new ProcessStartInfo("dotnet", [assembly, "-noLogo", "-noColor", "-xml", xml, .. ring.Filter])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        })!;
        process.StandardInput.Close();
        using var limit = new CancellationTokenSource(ring.Limit);
        var output = process.StandardOutput.ReadToEndAsync(CancellationToken.None);
        var errors = process.StandardError.ReadToEndAsync(CancellationToken.None);
        try
        {
            await process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            await LeftLabs.RemoveAsync(assembly, process.Id);   // first: they may hold the output open
            await File.WriteAllTextAsync(log, await output + await errors, CancellationToken.None);
            return [Broken($"did not end within {ring.Limit.TotalMinutes:0} minutes; output in {log}")];
        }
        await File.WriteAllTextAsync(log, await output + await errors, CancellationToken.None);
        if (!File.Exists(xml)) return [Broken($"ended with code {process.ExitCode} and wrote no results; output in {log}")];
        var results = Read(xml);
        return process.ExitCode != 0 && results.All(r => r.Outcome != "Fail") ? [.. results, Broken($"ended with code {process.ExitCode}; output in {log}")] : results;
    }

    private TestResult Broken(string why) => new(Name, Name, "Fail", $"{Name} {why}", []);

    private List<TestResult> Read(string xml) =>
        [.. XDocument.Load(xml).Descendants("test").Select(test => new TestResult(
            Name,
            (string?)test.Attribute("name") ?? "?",
            (string?)test.Attribute("result") ?? "Fail",
            (string?)test.Element("reason") ?? (string?)test.Element("failure")?.Element("message") ?? "",
            [.. test.Descendants("trait").Where(t => (string?)t.Attribute("name") == "Scenario").Select(t => (string?)t.Attribute("value") ?? "")])),
         .. XDocument.Load(xml).Descendants("error").Select(error => Broken(
            string.Create(CultureInfo.InvariantCulture, $"{(string?)error.Attribute("type")}: {(string?)error.Element("failure")?.Element("message")}")))];
}
