using System.Text.Json.Nodes;
using AmbientMesh.Cli.CommandLine;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.Cli.Tests;

/// <summary><c>status</c> and <c>version</c> against parts that answer, that lag behind, and that are not there.</summary>
public sealed class StatusTests
{
    private const string Synced = """
        [{"cluster_id":"Kubernetes","proxy":"ztunnel-1.istio-system","connected_at":"2026-11-21T00:00:00Z","types":{
          "type.googleapis.com/istio.workload.Address":{"synced":true,"nonce_sent":"7","nonce_acked":"7","rejected":{}},
          "type.googleapis.com/istio.security.Authorization":{"synced":true,"nonce_sent":"6","nonce_acked":"6","rejected":{}}}}]
        """;

    private const string Certificates = """
        {"plugged_in":false,"signing":{"subject":"O=cluster.local","serial":"5E0C","not_before":"2026-11-21T00:00:00Z","not_after":"2036-11-18T00:00:00Z"},
         "roots":[{"subject":"O=cluster.local","serial":"5E0C"},{"subject":"O=cluster.local","serial":"7A11"}],"rotation":{"next_step":"switch","due":"2035-02-17T00:00:00+00:00"}}
        """;

    [Fact]
    public async Task A_mesh_in_order_is_fine()
    {
        await using var mesh = await InstalledAsync(Synced);
        var (code, output, error) = await mesh.RunAsync("status");
        Assert.True(code == ExitCodes.Fine, output + error);
        Assert.Contains("ztunnel-1.istio-system   node-1   yes     Kubernetes   istiod-1   0.1.0     2 (WADS SYNCED, WDS SYNCED)", output, StringComparison.Ordinal);
        Assert.Contains("self-signed CA O=cluster.local 5E0C signs until 2036-11-18T00:00:00Z, 2 roots are trusted; next step of the root's exchange: switch at 2035-02-17", output, StringComparison.Ordinal);
        var json = JsonNode.Parse((await mesh.RunAsync("proxy-status", "-o", "json")).Output)!;
        Assert.True((bool)json["ztunnels"]![0]!["inSync"]!);
        Assert.Equal("istiod-1", (string?)json["ztunnels"]![0]!["controlPlane"]);
    }

    [Fact]
    public async Task A_ztunnel_that_refuses_a_resource_is_shown_with_its_words()
    {
        await using var mesh = await InstalledAsync(Synced.Replace("\"nonce_acked\":\"6\",\"rejected\":{}", "\"nonce_acked\":\"6\",\"rejected\":{\"shop/bad\":\"unknown enum\"}", StringComparison.Ordinal));
        var (code, output, _) = await mesh.RunAsync("status");
        Assert.Equal(ExitCodes.NotFine, code);
        Assert.Contains("WADS NACK (1)", output, StringComparison.Ordinal);
        Assert.Contains("ztunnel-1 refuses WADS shop/bad: unknown enum", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_ztunnel_without_a_control_plane_is_not_connected()
    {
        await using var mesh = await InstalledAsync("[]");
        var (code, output, _) = await mesh.RunAsync("status");
        Assert.Equal(ExitCodes.NotFine, code);
        Assert.Contains("NOT CONNECTED", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("istiod")]
    [InlineData("ztunnel")]
    [InlineData("istio-cni-node")]
    public async Task A_part_that_is_missing_altogether_is_not_fine(string part)
    {
        await using var mesh = await InstalledAsync(Synced);
        if (part == "istiod") await mesh.Client.Of(Deployment.Type).DeleteAsync("istio-system", part, null, Patience.Token);
        else await mesh.Client.Of(DaemonSet.Type).DeleteAsync("istio-system", part, null, Patience.Token);
        var (code, output, _) = await mesh.RunAsync("status");
        Assert.Equal(ExitCodes.NotFine, code);
        Assert.Contains(output.Split('\n'), line => line.StartsWith(part, StringComparison.Ordinal) && line.Contains("0/0", StringComparison.Ordinal));
        Assert.False((bool)JsonNode.Parse((await mesh.RunAsync("status", "-o", "json")).Output)!["fine"]!);
    }

    [Fact]
    public async Task An_agent_without_a_ztunnel_is_not_fine()
    {
        await using var mesh = await InstalledAsync(Synced);
        mesh.Serve("agent-1", 8000, _ => """{"version":"0.1.0","ready":true,"ztunnels":0,"enrolled":[],"notEnrolled":[],"problems":[]}""");
        var (code, output, _) = await mesh.RunAsync("status");
        Assert.Equal(ExitCodes.NotFine, code);
        Assert.Contains("NOT CONNECTED", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_page_that_is_refused_is_no_version()
    {
        await using var mesh = await InstalledAsync(Synced);
        mesh.Serve("istiod-1", 15014, _ => null);
        var (code, output, _) = await mesh.RunAsync("version");
        Assert.Equal(ExitCodes.NotFine, code);
        Assert.Contains("answered 404 to /version", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[]")]
    [InlineData("null")]
    [InlineData("nonsense")]
    [InlineData("{}")]
    [InlineData("""{"pods":null,"traffic":{},"lastHour":{}}""")]
    [InlineData("""{"pods":{"expected":"many"},"traffic":{},"lastHour":{}}""")]
    [InlineData("""{"pods":{},"traffic":{},"lastHour":{},"nodes":[null]}""")]
    public async Task Coverage_in_another_versions_form_is_told_with_both_versions(string page)
    {
        await using var mesh = await InstalledAsync(Synced);
        mesh.Serve("istiod-1", 8080, path => path.StartsWith("/debug/coverage", StringComparison.Ordinal) ? page : path == "/debug/syncz" ? Synced : null);
        foreach (var format in (string[])["short", "json"])
        {
            var (code, output, error) = await mesh.RunAsync("coverage", "-o", format);
            Assert.True(code == ExitCodes.Failed, output + error);
            Assert.Contains("istiod-1 (version 0.1.0) tells coverage in a form that meshctl", error, StringComparison.Ordinal);
        }
        Assert.Contains("istiod-1", (await mesh.RunAsync("status")).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Versions_come_from_the_parts_themselves()
    {
        await using var mesh = await InstalledAsync(Synced);
        var json = JsonNode.Parse((await mesh.RunAsync("version", "-o", "json")).Output)!;
        Assert.Equal(["istiod 0.1.0", "ztunnel 0.1.0", "istio-cni-node 0.1.0"], json["parts"]!.AsArray().Select(p => $"{p!["part"]} {p["version"]}"));
        Assert.StartsWith("client: ", (await mesh.RunAsync("version", "--client")).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_a_mesh_the_namespace_and_the_way_out_are_named()
    {
        await using var mesh = await FakeMesh.StartAsync();
        var (code, _, error) = await mesh.RunAsync("status", "--mesh-namespace", "elsewhere");
        Assert.Equal(ExitCodes.Failed, code);
        Assert.Contains("not installed in namespace elsewhere", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_wrong_context_a_missing_file_and_a_dead_server_say_what_to_check()
    {
        await using var mesh = await FakeMesh.StartAsync();
        Assert.Contains("has no context 'nosuch'", (await mesh.RunAsync("status", "--context", "nosuch")).Error, StringComparison.Ordinal);
        Assert.Contains("/nosuch does not exist", (await mesh.RunAsync("status", "--kubeconfig", "/nosuch")).Error, StringComparison.Ordinal);
        var dead = Path.GetTempFileName();
        await File.WriteAllTextAsync(dead, "{clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], contexts: [{name: x, context: {cluster: c}}], current-context: x}", Patience.Token);
        Assert.Contains("The cluster cannot be reached", (await mesh.RunAsync("status", "--kubeconfig", dead)).Error, StringComparison.Ordinal);
        File.Delete(dead);
    }

    [Fact]
    public async Task Credentials_may_come_from_the_program_that_the_kubeconfig_names()
    {
        await using var mesh = await FakeMesh.StartAsync();
        using var nobody = await mesh.ClientOfNobodyAsync();
        var folder = Directory.CreateTempSubdirectory("plugin-").FullName;
        var credential = $$"""{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"{{nobody.Connection.Token!.Current()}}"} }""";
        await File.WriteAllTextAsync(Path.Combine(folder, "login"), $"#!/bin/sh\necho '{credential}'\n", Patience.Token);
        File.SetUnixFileMode(Path.Combine(folder, "login"), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var authorities = Convert.ToBase64String(System.Text.Encoding.ASCII.GetBytes(mesh.Client.Connection.Authorities!.ExportCertificatePems()));
        await File.WriteAllTextAsync(Path.Combine(folder, "config"), $$"""
            current-context: x
            clusters: [{name: c, cluster: {server: "{{mesh.Client.Connection.Server}}", certificate-authority-data: {{authorities}} } }]
            contexts: [{name: x, context: {cluster: c, user: u} }]
            users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: ./login, interactiveMode: Never} } }]
            """, Patience.Token);
        var (code, _, error) = await mesh.RunAsync("status", "--kubeconfig", Path.Combine(folder, "config"));
        Assert.Equal(ExitCodes.Failed, code);
        Assert.Contains("system:serviceaccount:poor:nobody", error, StringComparison.Ordinal);   // who may do nothing, but is known
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task Help_has_examples_and_a_wrong_option_is_a_usage_error()
    {
        await using var mesh = await FakeMesh.StartAsync();
        var (code, help, _) = await mesh.RunAsync("status", "--help");
        Assert.Equal(ExitCodes.Fine, code);
        Assert.Contains("Examples:\n  meshctl status", help, StringComparison.Ordinal);
        Assert.Equal(ExitCodes.Usage, (await mesh.RunAsync("status", "--nosuch")).Code);
        Assert.Equal(ExitCodes.Usage, (await mesh.RunAsync("status", "-o", "xml")).Code);
        Assert.Contains("ztunnel-config", (await mesh.RunAsync("[suggest:2]", "zt")).Output, StringComparison.Ordinal);
    }

    private static async Task<FakeMesh> InstalledAsync(string syncz)
    {
        var mesh = await FakeMesh.StartAsync();
        await mesh.PodAsync("istio-system", "istiod-1", "app=istiod", "node-1");
        await mesh.PodAsync("istio-system", "ztunnel-1", "app=ztunnel", "node-1");
        await mesh.PodAsync("istio-system", "agent-1", "k8s-app=istio-cni-node", "node-1");
        await mesh.ObjectAsync(Deployment.Type, Workload("Deployment", "istiod", """{"replicas":1,"readyReplicas":1}"""));
        await mesh.ObjectAsync(DaemonSet.Type, Workload("DaemonSet", "ztunnel", """{"desiredNumberScheduled":1,"numberReady":1,"currentNumberScheduled":1,"numberMisscheduled":0}"""));
        await mesh.ObjectAsync(DaemonSet.Type, Workload("DaemonSet", "istio-cni-node", """{"desiredNumberScheduled":1,"numberReady":1,"currentNumberScheduled":1,"numberMisscheduled":0}"""));
        mesh.Serve("istiod-1", 15014, path => path == "/version" ? "0.1.0\n" : null);
        mesh.Serve("istiod-1", 8080, path => path switch { "/debug/syncz" => syncz, "/debug/certificates" => Certificates, _ => null });
        mesh.Serve("ztunnel-1", 15020, _ => "istio_build{component=\"ztunnel\",tag=\"0.1.0\"} 1\n");
        mesh.Serve("agent-1", 8000, _ => """{"version":"0.1.0","ready":true,"ztunnels":1,"enrolled":[],"notEnrolled":[],"problems":[]}""");
        return mesh;
    }

    private static JsonObject Workload(string kind, string name, string status) => JsonNode.Parse($$$$$"""
        {"apiVersion":"apps/v1","kind":"{{{{{kind}}}}}","metadata":{"namespace":"istio-system","name":"{{{{{name}}}}}","labels":{"app":"{{{{{name}}}}}"}},
         "spec":{"selector":{"matchLabels":{"app":"{{{{{name}}}}}"}},"template":{"metadata":{"labels":{"app":"{{{{{name}}}}}"}},"spec":{"containers":[{"name":"c","image":"i"}]}}},
         "status":{{{{{status}}}}}}
        """)!.AsObject();
}
