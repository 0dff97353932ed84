using System.Text.Json.Nodes;
using AmbientMesh.Cli.CommandLine;

namespace AmbientMesh.Cli.Tests;

/// <summary>Tables of <c>ztunnel-config</c> from dumps recorded from the Rust ztunnel.</summary>
public sealed class ZtunnelConfigTests
{
    private static string Dump => Samples.Path("samples/ztunnel/telemetry/config_dump.json");

    [Theory]
    [InlineData("workloads", "NAMESPACE   POD NAME   ADDRESS     NODE   WAYPOINT   PROTOCOL", "default     behindwp   10.98.0.7   n2     10.98.0.4  HBONE")]
    [InlineData("services", "NAMESPACE   SERVICE NAME   SERVICE VIP   WAYPOINT   ENDPOINTS", "default hb 10.198.0.5,fd98:198::5 None 1/1")]
    [InlineData("policies", "NAMESPACE   POLICY NAME   ACTION   SCOPE", "default allow-client Allow WorkloadSelector")]
    [InlineData("certificates", "CERTIFICATE NAME   TYPE   STATUS   VALID CERT   SERIAL NUMBER   NOT AFTER   NOT BEFORE", "spiffe://cluster.local/ns/default/sa/client Leaf Available")]
    public async Task A_kind_has_istioctls_columns(string kind, string header, string row)
    {
        var (code, lines) = await RunAsync(kind, "--file", Dump);
        Assert.Equal(ExitCodes.Fine, code);
        Assert.Equal(Words(header), Words(lines[0]));
        Assert.Contains(lines, line => Words(line).StartsWith(Words(row), StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_singular_means_the_same() => Assert.Equal((await RunAsync("workloads", "--file", Dump)).Lines, (await RunAsync("workload", "--file", Dump)).Lines);

    [Fact]
    public async Task Filters_leave_out_what_was_not_asked_for()
    {
        Assert.Equal(2, (await RunAsync("workloads", "--file", Dump, "--address", "10.98.0.7")).Lines.Length);
        Assert.Single((await RunAsync("workloads", "--file", Dump, "--workload-namespace", "nosuch")).Lines);
        Assert.All((await RunAsync("workloads", "--file", Dump, "--workload-node", "n2")).Lines.Skip(1), line => Assert.Contains(" n2 ", line, StringComparison.Ordinal));
    }

    [Fact]
    public async Task An_identity_without_certificate_is_shown_as_unavailable()
    {
        using var dump = new PartOfDump("certificates", "config_dump-certificates-with-unavailable.json");
        var (_, lines) = await RunAsync("certificates", "--file", dump.Path);
        Assert.Contains(lines, line => Words(line).EndsWith("- Unavailable false - - -", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Open_connections_show_names_and_raw_addresses()
    {
        using var dump = new PartOfDump("workloadState", "config_dump-workloadState-open-connections.json");
        var (_, lines) = await RunAsync("connections", "--file", dump.Path);
        Assert.Equal("WORKLOAD DIRECTION LOCAL REMOTE REMOTE TARGET PROTOCOL", Words(lines[0]));
        Assert.True(lines.Length > 1);
        var (_, inbound) = await RunAsync("connections", "--file", dump.Path, "--raw", "--direction", "inbound");
        Assert.All(inbound.Skip(1), line => Assert.Contains(" Inbound ", line, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Json_is_the_part_of_the_dump_and_all_is_the_whole()
    {
        var (_, workloads) = await RunAsync("workloads", "--file", Dump, "-o", "json");
        Assert.StartsWith("[", workloads[0], StringComparison.Ordinal);
        var (code, all) = await RunAsync("all", "--file", Dump);
        Assert.Equal(ExitCodes.Fine, code);
        Assert.Contains(all, line => line.StartsWith("CERTIFICATE NAME", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Json_is_filtered_as_the_table_is()
    {
        async Task<JsonNode> JsonAsync(params string[] arguments) => JsonNode.Parse(string.Join('\n', (await RunAsync([.. arguments, "--file", Dump, "-o", "json"])).Lines))!;
        Assert.Equal("10.98.0.7", (string?)Assert.Single((await JsonAsync("workloads", "--address", "10.98.0.7")).AsArray())!["workloadIps"]![0]);
        Assert.Empty((await JsonAsync("workloads", "--workload-namespace", "nosuch")).AsArray());
        Assert.All((await JsonAsync("workloads", "--workload-node", "n2")).AsArray(), w => Assert.Equal("n2", (string?)w!["node"]));
        Assert.Empty((await JsonAsync("policies", "--policy-namespace", "nosuch")).AsArray());
        Assert.NotEmpty((await JsonAsync("services", "--service-namespace", "default")).AsArray());
        Assert.Empty((await JsonAsync("connections", "--workload-namespace", "nosuch")).AsObject());
        var inbound = (await JsonAsync("connections", "--direction", "inbound")).AsObject();
        Assert.NotEmpty(inbound);
        Assert.All(inbound, pod => Assert.Equal(["inbound"], pod.Value!["connections"]!.AsObject().Select(c => c.Key)));
    }

    [Fact]
    public async Task One_ztunnel_that_cannot_be_reached_hides_no_other()
    {
        await using var mesh = await FakeMesh.StartAsync();
        await mesh.PodAsync("istio-system", "ztunnel-1", "app=ztunnel", "node-1");
        Task<(int Code, string Output, string Error)> Certificates(params string[] more) => mesh.RunAsync(["ztunnel-config", "certificates", "-o", "json", .. more]);
        mesh.Serve("ztunnel-1", 15000, path => path == "/config_dump" ? File.ReadAllText(Dump) : path.StartsWith("/logging", StringComparison.Ordinal) ? "current log level is info" : null);
        Assert.Equal(["ztunnel-1"], JsonNode.Parse((await Certificates()).Output)!.AsObject().Select(z => z.Key));
        Assert.Equal("Array", JsonNode.Parse((await Certificates("--node", "node-1")).Output)!.GetValueKind().ToString());

        await mesh.PodAsync("istio-system", "ztunnel-2", "app=ztunnel", "node-2");
        var (code, output, error) = await Certificates();
        Assert.Equal(ExitCodes.Failed, code);
        Assert.Equal(["ztunnel-1"], JsonNode.Parse(output)!.AsObject().Select(z => z.Key));
        Assert.Contains("ztunnel-2", error, StringComparison.Ordinal);

        (code, output, error) = await mesh.RunAsync("ztunnel-config", "log");
        Assert.Equal((ExitCodes.Failed, true, true), (code, output.Contains("ztunnel-1   node-1   info", StringComparison.Ordinal), error.Contains("ztunnel-2", StringComparison.Ordinal)));
        var levels = JsonNode.Parse((await mesh.RunAsync("ztunnel-config", "log", "-o", "json")).Output)!.AsArray();
        Assert.Equal([("info", false), (null, true)], levels.Select(z => ((string?)z!["levels"], z["problem"] is not null)));
    }

    [Fact]
    public async Task A_ztunnel_that_refuses_its_dump_is_quoted()
    {
        await using var mesh = await FakeMesh.StartAsync();
        await mesh.PodAsync("istio-system", "ztunnel-1", "app=ztunnel", "node-1");
        mesh.Serve("ztunnel-1", 15000, _ => null);
        var (code, _, error) = await mesh.RunAsync("ztunnel-config", "workloads");
        Assert.Equal(ExitCodes.Failed, code);
        Assert.Contains("answered 404 to /config_dump", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_file_that_is_no_dump_is_refused_by_name()
    {
        var error = new StringWriter();
        var code = await MeshctlCommand.RunAsync(["ztunnel-config", "workloads", "--file", "/etc/hostname"], new Surroundings(new StringWriter(), error, _ => null, TimeProvider.System), Patience.Token);
        Assert.Equal(ExitCodes.Failed, code);
        Assert.Contains("/etc/hostname is not a ztunnel's configuration dump", error.ToString(), StringComparison.Ordinal);
    }

    private static async Task<(int Code, string[] Lines)> RunAsync(params string[] arguments)
    {
        var output = new StringWriter();
        var code = await MeshctlCommand.RunAsync(["ztunnel-config", .. arguments], new Surroundings(output, new StringWriter(), _ => null, TimeProvider.System), Patience.Token);
        return (code, output.ToString().TrimEnd().Split('\n'));
    }

    /// <summary>The recorded dump with one part replaced by another recording of it.</summary>
    private sealed class PartOfDump : IDisposable
    {
        public PartOfDump(string key, string recording)
        {
            var dump = JsonNode.Parse(File.ReadAllText(Dump))!.AsObject();
            dump[key] = JsonNode.Parse(Samples.Text($"samples/ztunnel/telemetry/{recording}"));
            File.WriteAllText(Path, dump.ToJsonString());
        }

        public string Path { get; } = System.IO.Path.GetTempFileName();

        public void Dispose() => File.Delete(Path);
    }

    private static string Words(string line) => string.Join(' ', line.Split(' ', StringSplitOptions.RemoveEmptyEntries));
}
