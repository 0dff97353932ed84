using System.Text.Json.Nodes;
using AmbientMesh.Cli.CommandLine;

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>The command line, run in this process against the cluster.</summary>
internal sealed class MeshctlRun(ClusterFixture cluster)
{
    /// <summary>The JSON of a command that must end well.</summary>
    public async Task<JsonNode> MustAsync(params string[] arguments)
    {
        var (code, output, error) = await RunAsync(arguments);
        Assert.True(code == ExitCodes.Fine, $"meshctl {string.Join(' ', arguments)} ended with {code}: {error}\n{output}");
        return JsonNode.Parse(output)!;
    }

    /// <summary>Asks again until the answer holds; what is awaited is configuration on its way to the nodes.</summary>
    public async Task<JsonNode> UntilAsync(IReadOnlyList<string> arguments, Func<JsonNode, bool> holds)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(500));
        var patience = Patience.Token;
        var last = "";
        try
        {
            while (true)
            {
                var (_, output, error) = await RunAsync([.. arguments]);
                last = output + error;
                if (output.Length > 0 && JsonNode.Parse(output) is { } json && holds(json)) return json;
                await timer.WaitForNextTickAsync(patience);
            }
        }
        catch (OperationCanceledException) when (patience.IsCancellationRequested)
        {
            Assert.Fail($"meshctl {string.Join(' ', arguments)} kept saying: {last}");
            throw;
        }
    }

    public async Task<(int Code, string Output, string Error)> RunAsync(params string[] arguments)
    {
        cluster.Require();
        var (output, error) = (new StringWriter(), new StringWriter());
        var code = await MeshctlCommand.RunAsync(arguments, new Surroundings(output, error, name => name == "KUBECONFIG" ? cluster.Kubeconfig : null, TimeProvider.System), Patience.Token);
        return (code, output.ToString(), error.ToString());
    }
}
