using System.Text;

namespace AmbientMesh.Kubernetes.Tests;

public sealed class KubeconfigTests
{
    private static readonly TimeProvider Clock = new FakeTimeProvider();

    private static string Base64(string text) => Convert.ToBase64String(Encoding.UTF8.GetBytes(text));

    private static string Config(string user, string cluster = "server: https://10.0.0.1:6443", string context = "cluster: c, user: u") => $$$"""
        apiVersion: v1
        kind: Config
        current-context: x
        clusters: [{name: c, cluster: { {{{cluster}}} }}]
        contexts: [{name: x, context: { {{{context}}} }}]
        users: [{name: u, user: { {{{user}}} }}]
        """;

    [Fact]
    public void A_file_that_does_not_exist_is_named()
    {
        var error = Assert.Throws<KubernetesConfigurationException>(() => KubernetesConnection.Find("/no/such/kubeconfig", _ => null, Clock));
        Assert.Contains("/no/such/kubeconfig", error.Message);
        Assert.Contains("does not exist", error.Message);
    }

    [Fact]
    public void Embedded_data_and_files_beside_the_config_are_read()
    {
        using var folder = new TemporaryFolder();
        using var authority = new TestAuthority();
        var (certificate, key) = authority.Issue("CN=admin");
        folder.Write("ca.pem", authority.Pem);
        folder.Write("admin.key", key);
        var path = folder.Write("config", Config(
            $"client-certificate-data: {Base64(certificate)}, client-key: admin.key", "server: https://10.0.0.1:6443, certificate-authority: ca.pem, tls-server-name: kubernetes", "cluster: c, user: u, namespace: demo"));
        var connection = KubernetesConnection.Find(path, _ => null, Clock);
        Assert.Equal("https://10.0.0.1:6443/", connection.Server.AbsoluteUri);
        Assert.Equal(authority.Certificate.Thumbprint, Assert.Single(connection.Authorities!).Thumbprint);
        Assert.True(connection.ClientCertificate!.HasPrivateKey);
        Assert.Equal(("kubernetes", "demo"), (connection.TlsServerName, connection.Namespace));
    }

    [Fact]
    public void Of_several_files_the_first_to_say_something_wins_and_missing_ones_are_passed_over()
    {
        using var folder = new TemporaryFolder();
        var first = folder.Write("first", "current-context: x\nusers: [{name: u, user: {token: mine}}]\n");
        var second = folder.Write("second", Config("token: theirs"));
        var connection = KubernetesConnection.Find(null, name => name == "KUBECONFIG" ? $"/no/such:{first}:{second}" : null, Clock);
        Assert.Equal("mine", connection.Token!.Current());
        Assert.Equal("default", connection.Namespace);
    }

    [Theory]
    [InlineData("exec: {command: aws}", "'exec'")]
    [InlineData("auth-provider: {name: gcp}", "'auth-provider'")]
    [InlineData("username: admin, password: x", "'username'")]
    [InlineData("client-certificate-data: eA==", "only one of client-certificate and client-key")]
    [InlineData("client-certificate-data: '!', client-key-data: eA==", "client-certificate which cannot be read")]
    [InlineData("client-certificate: gone.pem, client-key: gone.key", "gone.pem")]
    public void What_cannot_be_used_is_refused_by_name(string user, string named)
    {
        using var folder = new TemporaryFolder();
        var path = folder.Write("config", Config(user));
        var error = Assert.Throws<KubernetesConfigurationException>(() => Kubeconfig.Load([path]).Connect(Clock));
        Assert.Contains(named, error.Message);
        Assert.Contains(path, error.Message);
        Assert.Contains("'u'", error.Message);
    }

    [Theory]
    [InlineData("clusters: []", "no current-context")]
    [InlineData("current-context: y", "no context 'y'")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c}}]", "no cluster 'c'")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: nonsense}}]", "'nonsense'")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: https://a, certificate-authority-data: eA==}}]", "without a certificate")]
    [InlineData("a: [", "cannot be read")]
    [InlineData("- a list", "not a YAML mapping")]
    [InlineData("", "no current-context")]
    public void What_leads_nowhere_is_named(string text, string named)
    {
        using var folder = new TemporaryFolder();
        var path = folder.Write("config", text);
        var error = Assert.Throws<KubernetesConfigurationException>(() => Kubeconfig.Load([path]).Connect(Clock));
        Assert.Contains(named, error.Message);
        Assert.Contains(path, error.Message);
    }

    [Fact]
    public void A_pod_takes_its_address_from_the_environment_and_its_trust_from_its_account()
    {
        using var folder = new TemporaryFolder();
        using var authority = new TestAuthority();
        folder.Write("token", "one\n");
        folder.Write("ca.crt", authority.Pem);
        folder.Write("namespace", "istio-system");
        var environment = new Dictionary<string, string> { ["KUBERNETES_SERVICE_HOST"] = "fd00:10:96::1", ["KUBERNETES_SERVICE_PORT"] = "443" };
        Assert.True(InCluster.IsPresent(environment.GetValueOrDefault));
        var connection = InCluster.Load(environment.GetValueOrDefault, folder.Path, Clock);
        Assert.Equal(("https://[fd00:10:96::1]/", "istio-system", "one"), (connection.Server.AbsoluteUri, connection.Namespace, connection.Token!.Current()));
    }

    [Theory]
    [InlineData("token")]
    [InlineData("ca.crt")]
    public void A_pod_without_its_account_is_told_which_file_is_missing(string missing)
    {
        using var folder = new TemporaryFolder();
        using var authority = new TestAuthority();
        if (missing != "token") folder.Write("token", "one");
        if (missing != "ca.crt") folder.Write("ca.crt", authority.Pem);
        var error = Assert.Throws<KubernetesConfigurationException>(() => InCluster.Load(name => name.EndsWith("HOST") ? "10.96.0.1" : "443", folder.Path, Clock));
        Assert.Contains(System.IO.Path.Combine(folder.Path, missing), error.Message);
    }

    [Fact]
    public void A_token_file_is_read_again_after_a_minute_and_its_last_value_outlives_its_loss()
    {
        using var folder = new TemporaryFolder();
        var clock = new FakeTimeProvider();
        var path = folder.Write("token", "one");
        var token = BearerToken.FromFile(path, clock);
        Assert.Equal("one", token.Current());
        folder.Write("token", "two");
        Assert.Equal("one", token.Current());
        clock.Advance(TimeSpan.FromSeconds(61));
        Assert.Equal("two", token.Current());
        File.Delete(path);
        clock.Advance(TimeSpan.FromSeconds(61));
        Assert.Equal("two", token.Current());
        Assert.DoesNotContain("two", token.ToString());
    }
}
