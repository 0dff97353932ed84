using AmbientMesh.Lab.Commands;
using AmbientMesh.Linux;
using Spectre.Console;

namespace AmbientMesh.Lab.Demo;

/// <summary><c>mesh demo</c>: a lab of its own, the demo in it, and the lab's end.</summary>
internal static class DemoRun
{
    private const string Lab = "demo";

    /// <summary>0 when every proof holds, 1 when one fails or the demo could not go on.</summary>
    public static async Task<int> RunAsync(bool keep, string images, CancellationToken cancellationToken)
    {
        var paths = new LabPaths(Lab);
        var screen = new DemoScreen(Console());
        var holds = false;
        screen.Step("A cluster of two nodes");
        try
        {
            screen.Command($"mesh lab up --name {Lab}");
            await CommandRunner.LabAsync(cancellationToken, "up", "--name", Lab, "--nodes", "2", "--images", images);
            using var fabric = NetworkNamespace.Open($"/proc/{LabState.Load(paths)!.Fabric!.Pid}/ns/net");
            var run = new CommandRunner(paths.Kubeconfig);
            holds = await new DemoCommand(screen, new DemoShell(screen, run), run, new MeshWatcher(run, TimeProvider.System), fabric, Path.GetFullPath("."), Path.GetFullPath(Path.Combine(images, "meshctl", "meshctl"))).RunAsync(cancellationToken);
        }
        catch (CommandFailedException failure)
        {
            screen.Failed(failure.Message);
        }
        finally
        {
            if (keep) screen.LookAround(Lab, paths.Kubeconfig);
            else await CommandRunner.LabAsync(CancellationToken.None, "down", "--name", Lab);
        }
        return holds ? 0 : 1;
    }

    /// <summary>A person's terminal decides itself; a file or a pipe gets plain text in lines that are not broken at 80 columns.</summary>
    private static IAnsiConsole Console()
    {
        if (!global::System.Console.IsOutputRedirected) return AnsiConsole.Console;
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Ansi = AnsiSupport.No, ColorSystem = ColorSystemSupport.NoColors });
        console.Profile.Width = 400;
        return console;
    }
}
