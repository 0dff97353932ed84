using System.Net;
using System.Net.Sockets;
using AmbientMesh.Cni.Node.Installation;
using AmbientMesh.Linux;

namespace AmbientMesh.Cni.Tests.Agent;

/// <summary>The agent as a process on a machine that lacks something: one line that names it, and nothing changed.</summary>
public sealed class AgentProcessTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("cni-process-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_missing_setting_is_named()
    {
        var (exit, errors) = await RunAsync([], ("NODE_NAME", ""), ("AMBIENT_IPV6", "perhaps"));
        Assert.Equal(2, exit);
        Assert.Equal(["cni-node: NODE_NAME is not set.", "cni-node: AMBIENT_IPV6 is 'perhaps': expected true or false"], errors);
    }

    [Fact]
    public async Task A_kubeconfig_that_does_not_exist_is_named()
    {
        var (exit, errors) = await RunAsync([], ("KUBECONFIG", "/nowhere/kubeconfig"));
        Assert.Equal(1, exit);
        Assert.Contains("/nowhere/kubeconfig", Assert.Single(errors));
    }

    [Fact]
    public async Task A_missing_capability_is_named_before_anything_is_changed()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "Taking rights away needs root.");
        var (exit, errors) = await RunAsync(["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]);
        Assert.Equal(1, exit);
        Assert.Contains("CAP_NET_ADMIN", Assert.Single(errors));
        Assert.Empty(Directory.EnumerateFiles(Path.Combine(_folder, "run")));
    }

    [Fact]
    public async Task A_port_in_use_is_named_before_anything_is_changed()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "The agent needs root.");
        using var taken = new Socket(AddressFamily.InterNetworkV6, SocketType.Stream, ProtocolType.Tcp) { DualMode = true };
        taken.Bind(new IPEndPoint(IPAddress.IPv6Any, 0));
        taken.Listen();
        var port = ((IPEndPoint)taken.LocalEndPoint!).Port;
        var (exit, errors) = await RunAsync([], ("HEALTH_PORT", $"{port}"));
        Assert.Equal(1, exit);
        Assert.Contains($"{port}", Assert.Single(errors));
        Assert.Empty(Directory.EnumerateFiles(Path.Combine(_folder, "run")));
    }

    [Fact]
    public async Task A_socket_another_agent_listens_on_is_named()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "The agent needs root.");
        var path = Path.Combine(_folder, "ztunnel.sock");
        using var other = SeqPacketListener.Bind(path);
        var (exit, errors) = await RunAsync([], ("ZTUNNEL_UDS_ADDRESS", path));
        Assert.Equal(1, exit);
        Assert.Contains(path, Assert.Single(errors));
    }

    private async Task<(int ExitCode, string[] Errors)> RunAsync(string[] before, params (string Name, string Value)[] environment)
    {
        var run = Path.Combine(_folder, "run");
        Directory.CreateDirectory(run);
        var kubeconfig = Path.Combine(_folder, "kubeconfig");
        await File.WriteAllTextAsync(kubeconfig, PluginKubeconfig.For(new Uri("https://127.0.0.1:1"), null, "token"), Patience.Token);
        var variables = new Dictionary<string, string>
        {
            ["NODE_NAME"] = "n",
            ["KUBECONFIG"] = kubeconfig,
            ["HEALTH_PORT"] = "0",
            ["MONITORING_PORT"] = "0",
            ["CNI_AGENT_RUN_DIR"] = run,
            ["ZTUNNEL_UDS_ADDRESS"] = Path.Combine(_folder, "zds.sock"),
            ["HOST_PROC"] = "/proc",
        };
        foreach (var (name, value) in environment) variables[name] = value;
        string[] command = [.. before, Path.Combine(AppContext.BaseDirectory, "cni-node")];
        var result = await HostProgram.RunAsync(new ProgramCall(command[0], command[1..]) { Environment = variables }, Patience.Token);
        return (result.ExitCode, result.Errors.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }
}
