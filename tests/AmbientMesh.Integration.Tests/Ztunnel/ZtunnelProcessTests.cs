using System.Net;
using System.Net.Sockets;
using System.Text;
using AmbientMesh.Protocol.Zds;
using AmbientMesh.Ztunnel.Connections;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>The program as it runs in its own pod: its ports, its signals, its end.</summary>
public sealed class ZtunnelProcessTests : IAsyncLifetime
{
    private readonly NodeAgentStandIn _agent = new();
    private PodNetwork _network = null!;
    private ControlPlaneStandIn _plane = null!;
    private ZtunnelProcess _ztunnel = null!;
    private PodNamespace _home = null!;
    private PodNamespace _client = null!;
    private PodNamespace _server = null!;
    private PodNamespace _plain = null!;
    private PodServer _app = null!;

    public async ValueTask InitializeAsync()
    {
        _network = await PodNetwork.CreateAsync();
        _home = await _network.AddPodAsync("ztunnel-n1");
        _plane = await ControlPlaneStandIn.StartAsync(_home);
        (_client, _server) = (await _network.AddPodAsync("client"), await _network.AddPodAsync("server"));
        _plain = await _network.AddPodAsync("plain");
        foreach (var pod in (PodNamespace[])[_client, _server])
        {
            await TestMesh.RedirectAsync(pod);
            _plane.Put(TestMesh.WorkloadOf(pod, "n1", hbone: true));
        }
        _plane.Put(TestMesh.WorkloadOf(_home, "n1", hbone: true, w =>
        {
            (w.Namespace, w.ServiceAccount, w.WorkloadName, w.CanonicalName) = ("istio-system", "ztunnel", "ztunnel", "ztunnel");
            w.Addresses.RemoveAt(1);
        }));
        _app = PodServer.Echo(_server, 8080);
        await BeginAsync();
    }

    private async Task BeginAsync(params string[] before)
    {
        _ztunnel = ZtunnelProcess.Start(_home, Settings(), before);
        await _agent.AcceptAsync();
        foreach (var pod in (PodNamespace[])[_client, _server]) Assert.Equal("", await _agent.AddAsync(TestMesh.UidOf(pod), pod));
        Assert.Equal("", await _agent.SnapshotSentAsync());
    }

    public async ValueTask DisposeAsync()
    {
        _app?.Dispose();
        if (_ztunnel is not null) await _ztunnel.DisposeAsync();
        _agent.Dispose();
        if (_plane is not null) await _plane.DisposeAsync();
        if (_network is not null) await _network.DisposeAsync();
    }

    private Dictionary<string, string> Settings() => new()
    {
        ["XDS_ADDRESS"] = "localhost:15012",
        ["CA_ADDRESS"] = "https://localhost:15012",
        ["XDS_ROOT_CA"] = _plane.RootFile,
        ["CA_ROOT_CA"] = _plane.RootFile,
        ["INPOD_UDS"] = _agent.SocketPath,
        ["NODE_NAME"] = "n1",
        ["POD_NAME"] = "ztunnel-n1",
        ["POD_NAMESPACE"] = "istio-system",
        ["SERVICE_ACCOUNT"] = "ztunnel",
        ["INSTANCE_IP"] = _home.V4.ToString(),
        ["TERMINATION_GRACE_PERIOD_SECONDS"] = "4",
    };

    private IPEndPoint Home(int port) => TestMesh.At(_home, port);

    private static Task<string> GetAsync(PodNamespace from, IPEndPoint at, string path) => PodClient.CallAsync(from, at, $"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");

    [Fact, Scenario("L4-081", "L4-082", "L4-086")]
    public async Task Captured_pods_reach_its_public_ports_through_a_tunnel_and_no_other()
    {
        Assert.EndsWith("ready\n", await GetAsync(_client, Home(15021), "/healthz/ready"));
        var metrics = await GetAsync(_client, Home(15020), "/metrics");
        Assert.StartsWith("HTTP/1.1 200 OK", metrics);
        Assert.Contains(metrics.Split('\n'), line => line.StartsWith("istio_tcp_connections_opened_total{reporter=\"destination\"", StringComparison.Ordinal) && line.Contains("destination_workload=\"ztunnel\"") && line.Contains("mutual_tls"));
        await Eventually.IsTrueAsync(() => _ztunnel.Output.Contains($"dst.addr={Home(15008)} dst.hbone_addr={Home(15020)}"), "the access log line of the proxy's own pod");
        foreach (var port in (int[])[15000, 15001, 15006, 15008, 15080]) Assert.True(await PodClient.FailsAsync(_client, Home(port)), $"port {port}");
    }

    [Fact, Scenario("L4-084", "T-39")]
    public async Task Pods_outside_the_mesh_reach_its_public_ports_plainly_and_no_other()
    {
        Assert.EndsWith("ready\n", await GetAsync(_plain, Home(15021), "/healthz/ready"));
        Assert.StartsWith("HTTP/1.1 200 OK", await GetAsync(_plain, Home(15020), "/metrics"));
        foreach (var port in (int[])[15000, 15001, 15006]) await Assert.ThrowsAsync<SocketException>(() => PodClient.CallAsync(_plain, Home(port)));
        using var client = await PodClient.ConnectAsync(_plain, Home(15008));
        var stream = client.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes("GET / HTTP/1.1\r\n\r\n"), Patience.Token);
        Assert.True(await stream.ReadAsync(new byte[100], Patience.Token) is 0 or 7);
    }

    [Fact, Scenario("L4-159")]
    public async Task Sigterm_drains_and_ends_with_success()
    {
        Assert.Equal("ping", await PodClient.CallAsync(_client, TestMesh.At(_server, 8080)));
        await _ztunnel.SignalAsync("TERM");
        Assert.Equal(0, await _ztunnel.ExitedAsync());
        Assert.Contains("Shutdown completed gracefully", _ztunnel.Output);
    }

    [Fact, Scenario("L4-151")]
    public async Task A_broken_agent_ends_it_with_failure()
    {
        Assert.Contains("workload_info is required", await _agent.SendAsync(new WorkloadRequest { Add = new AddWorkload { Uid = "x" } }, _server.Namespace.Handle));
        Assert.Equal(1, await _ztunnel.ExitedAsync());
        Assert.Contains("WorkloadProxyManager run error: protocol error \"workload_info is required but not present\"", _ztunnel.Output);
    }

    [Fact]
    public async Task Killed_in_the_middle_it_leaves_its_pods_closed_and_not_plain()
    {
        var secret = $"secret-{Guid.NewGuid():n}";
        using var open = await PodClient.ConnectAsync(_client, TestMesh.At(_server, 8080));
        var stream = open.GetStream();
        await stream.WriteAsync("x"u8.ToArray(), Patience.Token);
        Assert.Equal(1, await stream.ReadAsync(new byte[1], Patience.Token));
        using var capture = _network.Capture();
        await _ztunnel.SignalAsync("KILL");
        await _ztunnel.ExitedAsync();
        for (var i = 0; i < 5; i++)
        {
            // A captured pod has no way out, and an outsider no way in.
            foreach (var from in (PodNamespace[])[_client, _plain])
                await Assert.ThrowsAnyAsync<Exception>(() => PodClient.CallAsync(from, TestMesh.At(_server, 8080), secret));
        }
        await Assert.ThrowsAnyAsync<IOException>(async () =>
        {
            await stream.WriteAsync(Encoding.ASCII.GetBytes(secret), Patience.Token);
            if (await stream.ReadAsync(new byte[1], Patience.Token) == 0) throw new IOException("closed");
        });
        Assert.Equal(-1, (capture.Stop()).AsSpan().IndexOf(Encoding.ASCII.GetBytes(secret)));
    }

    [Fact]
    public async Task A_second_one_names_the_port_that_is_taken_and_leaves_the_first_alone()
    {
        await using var second = ZtunnelProcess.Start(_home, Settings());
        Assert.Equal(1, await second.ExitedAsync());
        Assert.Contains("The readiness port [::]:15021 cannot be opened: Address already in use", second.Output);
        Assert.Equal("ping", await PodClient.CallAsync(_client, TestMesh.At(_server, 8080)));
    }

    [Fact]
    public async Task Without_file_descriptors_open_connections_go_on_new_ones_wait_and_all_is_well_when_there_are_some()
    {
        Assert.Equal("ping", await PodClient.CallAsync(_client, TestMesh.At(_server, 8080)));
        using var open = await PodClient.ConnectAsync(_client, TestMesh.At(_server, 8080));
        await PingAsync(open);
        var used = Directory.EnumerateFileSystemEntries($"/proc/{_ztunnel.Id}/fd").Count();
        (await Linux.HostProgram.RunAsync(new Linux.ProgramCall("prlimit", $"--pid={_ztunnel.Id}", $"--nofile={used + (DescriptorShortage.Reserve / 2)}:"), Patience.Token)).Required();

        List<TcpClient> waiting = [];
        for (var i = 0; i < 20; i++) waiting.Add(await PodClient.ConnectAsync(_client, TestMesh.At(_server, 8080)));
        await Eventually.IsTrueAsync(() => _ztunnel.Output.Contains("no file descriptors are left"), "the shortage is told");
        await PingAsync(open);
        foreach (var client in waiting) client.Dispose();

        (await Linux.HostProgram.RunAsync(new Linux.ProgramCall("prlimit", $"--pid={_ztunnel.Id}", "--nofile=4096:"), Patience.Token)).Required();
        await Eventually.IsTrueAsync(() => _ztunnel.Output.Contains("file descriptors are free again"), "its end is told");
        Assert.Equal("ping", await PodClient.CallAsync(_client, TestMesh.At(_server, 8080)));
        await PingAsync(open);
        Assert.EndsWith("ready\n", await GetAsync(_plain, Home(15021), "/healthz/ready"));
        Assert.Single(_ztunnel.Output.Split('\n'), line => line.Contains("no file descriptors are left"));
    }

    [Fact]
    public async Task With_a_full_disk_for_its_log_traffic_goes_on_lost_lines_are_counted_and_it_writes_again_when_there_is_room()
    {
        await _ztunnel.DisposeAsync();
        var disk = Directory.CreateTempSubdirectory("amz-disk-").FullName;   // 64 KiB, mounted for the program alone
        try
        {
            await BeginAsync("unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=64k none \"$0\" && exec \"$@\" > \"$0/log\" 2>&1", disk);
            string seen = $"/proc/{_ztunnel.Id}/root{disk}", log = $"{seen}/log", filler = $"{seen}/filler";
            await Eventually.IsTrueAsync(() => File.Exists(log) && new FileInfo(log).Length > 0, "the log is written to the small disk");
            Assert.ThrowsAny<IOException>(() => File.WriteAllBytes(filler, new byte[128 * 1024]));

            for (var i = 0; i < 40; i++) Assert.Equal("ping", await PodClient.CallAsync(_client, TestMesh.At(_server, 8080)));
            var limit = Patience.Token;
            while (await LostLinesAsync() == 0)
            {
                limit.ThrowIfCancellationRequested();
                Assert.Equal("ping", await PodClient.CallAsync(_client, TestMesh.At(_server, 8080)));
            }
            Assert.EndsWith("ready\n", await GetAsync(_plain, Home(15021), "/healthz/ready"));

            File.Delete(filler);
            Assert.Equal("ping", await PodClient.CallAsync(_client, TestMesh.At(_server, 8080)));
            await Eventually.IsTrueAsync(() => ReadShared(log).Contains("log lines were lost: the log was not read, or could not be written", StringComparison.Ordinal), "the loss is told in the log");
        }
        finally
        {
            await _ztunnel.DisposeAsync();
            Directory.Delete(disk);
        }
    }

    private async Task<double> LostLinesAsync() =>
        (await GetAsync(_plain, Home(15020), "/metrics")).Split('\n').Where(l => l.StartsWith("ambientmesh_log_lines_dropped_total ", StringComparison.Ordinal)).Sum(l => double.Parse(l.Split(' ')[1]));

    private static string ReadShared(string file)
    {
        using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }

    private static async Task PingAsync(TcpClient client)
    {
        await client.GetStream().WriteAsync("x"u8.ToArray(), Patience.Token);
        Assert.Equal(1, await client.GetStream().ReadAsync(new byte[1], Patience.Token));
    }

    [Fact]
    public async Task Without_the_rights_it_needs_it_says_so_and_changes_nothing()
    {
        await using var powerless = ZtunnelProcess.Start(_home, Settings(), "setpriv", "--bounding-set=-sys_admin");
        Assert.Equal(1, await powerless.ExitedAsync());
        Assert.Equal("The capability SYS_ADMIN is missing; it is needed to open sockets in pods' network namespaces. Run as root with it added.", powerless.Output.Trim());
    }
}
