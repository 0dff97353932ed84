using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace AmbientMesh.Conformance;

/// <summary>Labs that a test process made and cannot take down any more, because it was killed. Their names carry its process id.</summary>
public static class LeftLabs
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    /// <summary>Takes them down; nothing where the tests of <paramref name="assembly"/> make no labs. Never throws: the failure that is reported is the tests'.</summary>
    public static async Task RemoveAsync(string assembly, int processId)
    {
        var lab = Path.Combine(Path.GetDirectoryName(assembly)!, "mesh-lab.dll");
        if (!File.Exists(lab)) return;
        using var limit = new CancellationTokenSource(Limit);
        try
        {
            using var labs = JsonDocument.Parse(await RunAsync(lab, limit.Token, "status", "-o", "json"));
            foreach (var name in labs.RootElement.EnumerateArray().Select(l => l.GetProperty("name").GetString()!).Where(name => IsOf(name, processId)))
                await RunAsync(lab, limit.Token, "down", "--name", name);
        }
        catch (Exception e) when (e is JsonException or OperationCanceledException or IOException)
        {
            await Console.Error.WriteLineAsync($"mesh test: what labs the process {processId} left could not be removed: {e.Message} ./mesh lab down --all removes every lab.");
        }
    }

    /// <summary>Whether a lab of this name was made by the process: <c>e2e-4711</c>, <c>e2e-ipv6-4711</c>, <c>t4711-0a1b2c</c>.</summary>
    private static bool IsOf(string lab, int processId)
    {
        var text = processId.ToString(CultureInfo.InvariantCulture);
        return lab.Split('-') is [var first, .. var rest] && (rest.Contains(text) || first == string.Create(CultureInfo.InvariantCulture, $"t{processId % 100000}"));
    }

    private static async Task<string> RunAsync(string lab, CancellationToken cancellationToken, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo("dotnet", [lab, .. arguments]) { RedirectStandardOutput = true })!;
        var output = await process.StandardOutput.ReadToEndAsync(cancellationToken);
        await process.WaitForExitAsync(cancellationToken);
        return output;
    }
}
