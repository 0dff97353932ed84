using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using AmbientMesh.Lab.Network;

namespace AmbientMesh.Lab.Commands;

/// <summary><c>up</c>: checks the machine, cleans what a crashed lab of the name left, starts the daemon and waits for it.</summary>
internal static class LabUp
{
    private const int FirstPort = 36443;
    private const int PortRange = 2000;
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(2);

    public static async Task<int> RunAsync(string name, int nodes, string images, string? ztunnel, string? kubeconfig, AddressFamilies families, CancellationToken cancellationToken)
    {
        if (Problem(name, nodes, ztunnel) is { } problem)
        {
            await Console.Error.WriteLineAsync($"mesh lab up: {problem}");
            return 2;
        }
        var paths = new LabPaths(name);
        if (LabState.Load(paths) is { Daemon.IsAlive: true })
        {
            await Console.Error.WriteLineAsync($"mesh lab up: the lab '{name}' is running already; see 'mesh lab status', or end it with 'mesh lab down --name {name}'.");
            return 1;
        }
        if (Directory.Exists(paths.Directory))
        {
            await Console.Out.WriteLineAsync($"cleaning what an earlier lab '{name}' left");
            await LabCleaning.RemoveAsync(paths, cancellationToken);
        }
        Directory.CreateDirectory(paths.Directory);
        if (!Directory.Exists(images)) await Console.Out.WriteLineAsync($"note: {images} does not exist, so only images host/PROGRAM can run; './mesh publish' makes it");
        var started = Stopwatch.GetTimestamp();
        var target = Path.GetFullPath(kubeconfig ?? paths.Kubeconfig);
        using var daemon = Start(paths, nodes, Path.GetFullPath(images), ztunnel, target, families);
        if (!await FollowAsync(daemon, paths, cancellationToken))
        {
            await Console.Error.WriteLineAsync($"mesh lab up: the lab did not come up: {await LastWordsAsync(paths)}");
            if (!daemon.HasExited) daemon.Kill();
            await LabCleaning.RemoveAsync(paths, CancellationToken.None);
            return 1;
        }
        await Console.Out.WriteLineAsync($"""
            lab '{name}' is up: {nodes} nodes, {LabState.Load(paths)?.ApiServer}, {Stopwatch.GetElapsedTime(started).TotalSeconds:0.0} s

              export KUBECONFIG={target}
              kubectl get nodes -o wide

            'mesh lab status' shows it, 'mesh lab down{(name == "lab" ? "" : $" --name {name}")}' removes it.
            """);
        return 0;
    }

    /// <summary>The first thing that stands in the way; nothing has been changed.</summary>
    private static string? Problem(string name, int nodes, string? ztunnel)
    {
        if (LabPaths.NameProblem(name) is { } wrong) return wrong;
        if (nodes is < 1 or > LabAddresses.MaximumNodes) return $"--nodes is {nodes}; expected 1 to {LabAddresses.MaximumNodes}.";
        if (ztunnel is not null && !Path.Exists(ztunnel)) return $"--ztunnel {ztunnel} does not exist.";
        return LabRequirements.Problem();
    }

    private static Process Start(LabPaths paths, int nodes, string images, string? ztunnel, string kubeconfig, AddressFamilies families)
    {
        List<string> command = ["setsid", "sh", "-c", "exec \"$@\" >\"$0\" 2>&1 </dev/null", paths.Log, Environment.ProcessPath!];
        if (Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet") command.Add(typeof(LabUp).Assembly.Location);
        command.AddRange(["serve", "--name", paths.Name, "--nodes", $"{nodes}", "--images", images, "--kubeconfig", kubeconfig, "--api-port", $"{FreePort(paths.Name)}",
            "--ip-family", LabCommands.NameOf(families)]);
        if (ztunnel is not null) command.AddRange(["--ztunnel", Path.GetFullPath(ztunnel)]);
        File.WriteAllText(paths.Log, "");
        return Process.Start(new ProcessStartInfo(command[0], command.Skip(1))) ?? throw new InvalidOperationException("setsid could not be started");
    }

    /// <summary>The same for the same name, as long as nobody else has it.</summary>
    internal static int FreePort(string name)
    {
        var start = name.Aggregate(17u, (hash, letter) => hash * 31 + letter) % PortRange;
        for (var i = 0; i < PortRange; i++)
        {
            var port = FirstPort + (int)((start + i) % PortRange);
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
                return port;
            }
            catch (SocketException)
            {
                // Taken; the next one.
            }
        }
        throw new InvalidOperationException($"no free port from {FirstPort} to {FirstPort + PortRange} on loopback");
    }

    /// <summary>Shows the daemon's progress; true once the lab is ready.</summary>
    private static async Task<bool> FollowAsync(Process daemon, LabPaths paths, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(s_limit);
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(30));
        using var log = new StreamReader(new FileStream(paths.Log, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete));
        try
        {
            while (true)
            {
                var ended = daemon.HasExited;
                while (await log.ReadLineAsync(limit.Token) is { } line)
                {
                    if (line == "ready") return true;
                    await Console.Out.WriteLineAsync($"  {line}");
                }
                if (ended) return false;
                await timer.WaitForNextTickAsync(limit.Token);
            }
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    private static async Task<string> LastWordsAsync(LabPaths paths)
    {
        var lines = await File.ReadAllLinesAsync(paths.Log);
        return lines.LastOrDefault(l => l.StartsWith("failed: ", StringComparison.Ordinal)) ?? lines.LastOrDefault() ?? "it said nothing";
    }
}
