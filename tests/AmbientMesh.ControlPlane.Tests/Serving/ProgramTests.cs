using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace AmbientMesh.ControlPlane.Tests.Serving;

/// <summary>The executable, as a process of its own.</summary>
public class ProgramTests
{
    private const int Terminate = 15;
    private static readonly string[] FreePorts = ["--httpAddr=127.0.0.1:0", "--grpcAddr=127.0.0.1:0", "--secureGRPCAddr=127.0.0.1:0", "--monitoringAddr=127.0.0.1:0"];

    private static Process Start(IEnumerable<string> arguments, params (string Name, string Value)[] environment)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardError = true, RedirectStandardOutput = true };
        start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "controlplane.dll"));
        foreach (var argument in arguments) start.ArgumentList.Add(argument);
        foreach (var (name, value) in environment) start.Environment[name] = value;
        return Process.Start(start)!;
    }

    private static async Task<(int Code, string Errors)> EndAsync(Process process)
    {
        try
        {
            var errors = process.StandardError.ReadToEndAsync(Patience.Token);
            _ = process.StandardOutput.ReadToEndAsync(Patience.Token);
            await process.WaitForExitAsync(Patience.Token);
            return (process.ExitCode, await errors);
        }
        finally
        {
            if (!process.HasExited) process.Kill();
        }
    }

    [Fact]
    public async Task A_missing_kubeconfig_is_named()
    {
        using var process = Start(["--kubeconfig=/nonexistent/kubeconfig"]);
        Assert.Equal((1, "controlplane: The kubeconfig /nonexistent/kubeconfig does not exist.\n"), await EndAsync(process));
    }

    [Fact]
    public async Task Unusable_settings_are_told_together()
    {
        using var process = Start(["--surplus=1"], ("XDS_AUTH", "maybe"));
        Assert.Equal((2, "controlplane: XDS_AUTH is 'maybe'; expected true or false.\ncontrolplane: --surplus is not a flag of this program.\n"), await EndAsync(process));
    }

    [Fact]
    public async Task A_port_in_use_is_one_line()
    {
        await using var cluster = await FakeCluster.StartAsync();
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var port = ((IPEndPoint)taken.LocalEndpoint).Port;
        using var process = Start([$"--kubeconfig={cluster.WriteKubeconfig()}", .. FreePorts[1..], $"--httpAddr=127.0.0.1:{port}"]);
        Assert.Equal((1, $"controlplane: Port {port} (--httpAddr=127.0.0.1:{port}) cannot be opened: it is already in use by another process.\n"), await EndAsync(process));
    }

    [Fact]
    public async Task It_runs_outside_a_cluster_says_when_it_is_ready_and_ends_well_on_SIGTERM()
    {
        await using var cluster = await FakeCluster.StartAsync();
        using var process = Start(FreePorts, ("KUBECONFIG", cluster.WriteKubeconfig()), ("POD_NAME", "istiod-0"));
        try
        {
            while (await process.StandardOutput.ReadLineAsync(Patience.Token) is { } line)
                if (line.Contains("ready: 0 pods, 0 services", StringComparison.Ordinal)) break;
            Assert.Equal(0, Kill(process.Id, Terminate));
            Assert.Equal((0, ""), await EndAsync(process));
        }
        finally
        {
            if (!process.HasExited) process.Kill();
        }
        Assert.Equal("", (string?)cluster.Find("leases", "istio-system", "istio-leader")?["spec"]?["holderIdentity"] ?? "");   // given back
    }

    [DllImport("libc", EntryPoint = "kill")]
    private static extern int Kill(int pid, int signal);
}
