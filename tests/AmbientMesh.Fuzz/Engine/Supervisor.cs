using System.Diagnostics;

namespace AmbientMesh.Fuzz;

/// <summary>Runs a campaign in a process of its own, which hostile input may bring down, and starts it again until the time is used.</summary>
internal static class Supervisor
{
    /// <returns>What the whole campaign came to; crashes count as findings.</returns>
    public static async Task<Progress> RunAsync(FuzzTarget target, string root, TimeSpan time, int seed, CancellationToken cancellationToken)
    {
        var copy = Path.Combine(root, "bin");
        Instrumentation.CopyTo(copy);
        var folder = Path.Combine(root, target.Name);
        Directory.CreateDirectory(folder);
        var all = Progress.None;
        while (all.Seconds < time.TotalSeconds && all.Findings == 0)
        {
            var progress = Path.Combine(folder, "progress");
            File.Delete(progress);
            var remaining = time.TotalSeconds - all.Seconds;
            using var child = Process.Start(new ProcessStartInfo("dotnet", [Path.Combine(copy, "AmbientMesh.Fuzz.dll"), "--child", target.Name, "--seconds", $"{remaining:0.0}", "--seed", $"{seed}", "--out", root]))!;
            try
            {
                await child.WaitForExitAsync(cancellationToken);
            }
            catch (OperationCanceledException)
            {
                child.Kill();
                throw;
            }
            var ran = Progress.Read(progress);
            all = all.Plus(ran with { Seconds = Math.Max(ran.Seconds, 1) });
            if (child.ExitCode is 0 or 1) break;
            var path = Corpus.Keep(Path.Combine(folder, "findings"), Campaign.InputUnderWay(folder), "crash-");
            Console.WriteLine($"{target.Name}: the process ended with code {child.ExitCode}; the input is in {path}");
            all = all with { Findings = all.Findings + 1 };
            seed++;
        }
        return all;
    }
}
