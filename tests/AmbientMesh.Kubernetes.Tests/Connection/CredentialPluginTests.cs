using System.Text.Json;
using System.Text.Json.Nodes;

namespace AmbientMesh.Kubernetes.Tests;

/// <summary>Kubeconfigs whose credentials a program gives; the programs are scripts.</summary>
public sealed class CredentialPluginTests
{
    private static readonly FakeTimeProvider Clock = new(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));

    private const string V1 = "client.authentication.k8s.io/v1";

    private static string Config(string exec, string server = "https://10.0.0.1:6443") => $$$"""
        current-context: x
        clusters: [{name: c, cluster: {server: "{{{server}}}", tls-server-name: kubernetes} }]
        contexts: [{name: x, context: {cluster: c, user: u} }]
        users: [{name: u, user: {exec: { {{{exec}}} } } }]
        """;

    private static void Script(TemporaryFolder folder, string name, string body)
    {
        var path = folder.Write(name, "#!/bin/sh\n" + body + "\n");
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    private static string Answer(string status, string apiVersion = V1) => $$"""{"apiVersion":"{{apiVersion}}","kind":"ExecCredential","status":{{status}}}""";

    private static KubernetesConnection Connect(string path, Func<string, string?>? environment = null, TimeProvider? clock = null) =>
        KubernetesConnection.Find(path, environment ?? (_ => null), clock ?? Clock, runsPlugins: true);

    [Theory]
    [InlineData(V1)]
    [InlineData("client.authentication.k8s.io/v1beta1")]
    public void A_program_beside_the_kubeconfig_is_told_what_it_is_asked_and_its_token_is_used(string version)
    {
        using var folder = new TemporaryFolder();
        Script(folder, "login", $$"""
            printf %s "$KUBERNETES_EXEC_INFO" > "$OUT"
            read line && exit 3   # there is nothing to read
            echo '{{Answer("{\"token\":\"'\"$1-$PROFILE\"'\"}", version)}}'
            """);
        var asked = folder.Write("asked", "");
        var path = folder.Write("config", Config($$"""apiVersion: {{version}}, command: ./login, args: [eks], env: [{name: PROFILE, value: prod}, {name: OUT, value: {{asked}} }], interactiveMode: IfAvailable, provideClusterInfo: true"""));
        var connection = Connect(path);
        Assert.Equal("eks-prod", connection.Token!.Current());
        Assert.Null(connection.ClientCertificate);
        var info = JsonNode.Parse(File.ReadAllText(asked))!;
        Assert.Equal(("ExecCredential", version, false), ((string?)info["kind"], (string?)info["apiVersion"], (bool)info["spec"]!["interactive"]!));
        Assert.Equal(("https://10.0.0.1:6443", "kubernetes"), ((string?)info["spec"]!["cluster"]!["server"], (string?)info["spec"]!["cluster"]!["tls-server-name"]));
    }

    [Fact]
    public void The_program_is_run_again_when_the_token_has_expired_or_was_refused_and_not_before()
    {
        using var folder = new TemporaryFolder();
        Script(folder, "login", $$"""
            echo >> "$RUNS"
            echo '{{Answer("{\"expirationTimestamp\":\"2026-01-01T01:00:00Z\",\"token\":\"'$(wc -l < \"$RUNS\" | tr -d ' ')'\"}")}}'
            """);
        var runs = folder.Write("runs", "");
        var clock = new FakeTimeProvider(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
        var token = Connect(folder.Write("config", Config($$"""apiVersion: {{V1}}, command: ./login, env: [{name: RUNS, value: {{runs}} }]""")), clock: clock).Token!;
        Assert.Equal("1", token.Current());
        Assert.True(token.Refused());
        Assert.Equal(("2", "2"), (token.Current(), token.Current()));
        clock.Advance(TimeSpan.FromHours(1));
        Assert.Equal("3", token.Current());
    }

    [Fact]
    public async Task A_token_that_the_server_refuses_is_asked_for_again()
    {
        using var folder = new TemporaryFolder();
        Script(folder, "login", $$"""
            echo >> "$RUNS"
            echo '{{Answer("{\"token\":\"'$(wc -l < \"$RUNS\" | tr -d ' ')'\"}")}}'
            """);
        var runs = folder.Write("runs", "");
        await using var api = await LoopbackApi.StartAsync((request, http) =>
            request.Headers["Authorization"] == "Bearer 2" ? http.JsonAsync(200, """{"gitVersion":"v1"}""") : http.StatusAsync(401, "Unauthorized", "Unauthorized"));
        using var client = new KubernetesClient(Connect(folder.Write("config", Config($$"""apiVersion: {{V1}}, command: ./login, env: [{name: RUNS, value: {{runs}} }]""", api.Address.ToString()))));
        Assert.Equal("v1", (string?)(await client.GetJsonAsync("/version", Patience.Token))["gitVersion"]);
    }

    [Fact]
    public void A_client_certificate_may_come_from_a_program_in_PATH()
    {
        using var folder = new TemporaryFolder();
        using var authority = new TestAuthority();
        var (certificate, key) = authority.Issue("CN=admin");
        var credential = folder.Write("credential", Answer($$"""{"clientCertificateData":{{JsonSerializer.Serialize(certificate)}},"clientKeyData":{{JsonSerializer.Serialize(key)}}}"""));
        Script(folder, "login", $"cat {credential}");
        var path = folder.Write("config", Config($"apiVersion: {V1}, command: login, interactiveMode: Never"));
        var connection = Connect(path, name => name == "PATH" ? $"/nosuch:{Path.GetDirectoryName(credential)}" : null);
        Assert.Equal(("CN=admin", true), (connection.ClientCertificate!.Subject, connection.ClientCertificate.HasPrivateKey));
        Assert.Null(connection.Token);
    }

    [Theory]
    [InlineData("apiVersion: client.authentication.k8s.io/v1alpha1, command: ./login", "", "client.authentication.k8s.io/v1alpha1")]
    [InlineData("command: ./login", "", "no apiVersion")]
    [InlineData("apiVersion: " + V1, "", "without a command")]
    [InlineData("apiVersion: " + V1 + ", command: ./login, interactiveMode: Always", "", "interactiveMode is Always")]
    [InlineData("apiVersion: " + V1 + ", command: ./nosuch, installHint: get it from the shop", "", "is not installed. get it from the shop")]
    [InlineData("apiVersion: " + V1 + ", command: login", "", "in no folder of PATH")]
    [InlineData("apiVersion: " + V1 + ", command: ./login", "exit 7", "ended with 7")]
    [InlineData("apiVersion: " + V1 + ", command: ./login", "echo nonsense", "cannot be read")]
    [InlineData("apiVersion: " + V1 + ", command: ./login", "echo '[]'", "no ExecCredential")]
    [InlineData("apiVersion: " + V1 + ", command: ./login", """echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","status":{"token":"t"}}'""", "not with client.authentication.k8s.io/v1 as")]
    [InlineData("apiVersion: " + V1 + ", command: ./login", """echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1"}'""", "without a status")]
    [InlineData("apiVersion: " + V1 + ", command: ./login", """echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{}}'""", "neither a token nor a client certificate")]
    [InlineData("apiVersion: " + V1 + ", command: ./login", """echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":7}}'""", "cannot be read")]
    [InlineData("apiVersion: " + V1 + ", command: ./login", """echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"clientKeyData":"k"}}'""", "only one of")]
    [InlineData("apiVersion: " + V1 + ", command: ./login", """echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"t","expirationTimestamp":"soon"}}'""", "'soon', which is no time")]
    public void What_does_not_work_is_told_with_the_file_and_the_program(string exec, string script, string told)
    {
        using var folder = new TemporaryFolder();
        Script(folder, "login", script);
        var path = folder.Write("config", Config(exec));
        var error = Assert.Throws<KubernetesConfigurationException>(() => Connect(path));
        Assert.Contains(told, error.Message, StringComparison.Ordinal);
        Assert.Contains(path, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Nobody_runs_a_program_who_was_not_allowed_to()
    {
        using var folder = new TemporaryFolder();
        var witness = Path.Combine(Path.GetDirectoryName(folder.Write("x", ""))!, "ran");
        Script(folder, "login", $"touch {witness}");
        var path = folder.Write("config", Config($"apiVersion: {V1}, command: ./login"));
        Assert.Contains("'exec'", Assert.Throws<KubernetesConfigurationException>(() => KubernetesConnection.Find(path, _ => null, Clock)).Message, StringComparison.Ordinal);
        Assert.False(File.Exists(witness));
    }
}
