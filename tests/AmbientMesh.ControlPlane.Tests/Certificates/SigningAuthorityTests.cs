using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Certificates;
using AmbientMesh.Identity;
using AmbientMesh.Kubernetes;
using AmbientMesh.Kubernetes.Tests;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.ControlPlane.Tests.Certificates;

public sealed class SigningAuthorityTests
{
    private const string SecretPath = "/api/v1/namespaces/istio-system/secrets/istio-ca-secret";
    private readonly FakeTimeProvider _clock = new(new DateTimeOffset(2026, 11, 21, 0, 0, 0, TimeSpan.Zero));

    private static SigningAuthorityOptions Options(string? folder = null) => new() { TrustDomain = "mesh.example", SystemNamespace = "istio-system", PluggedInFolder = folder ?? "/nowhere" };

    private static Task<SigningAuthority> LoadAsync(KubernetesClient client, string? folder = null, CapturedLog? log = null) =>
        SigningAuthority.LoadAsync(Options(folder), client, (Microsoft.Extensions.Logging.ILogger?)log ?? NullLogger.Instance, Patience.Token);

    [Fact]
    public async Task The_first_start_makes_a_root_and_every_later_one_finds_it()
    {
        await using var api = await MemoryApi.StartAsync();
        using var client = api.Client(_clock);
        var first = await LoadAsync(client);
        var secret = api.Find(SecretPath)!;
        Assert.Equal("istio.io/ca-root", (string?)secret["type"]);
        Assert.Equal(["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "key.pem", "root-cert.pem"], secret["data"]!.AsObject().Select(d => d.Key).Order(StringComparer.Ordinal));
        Assert.Contains("RSA PRIVATE KEY", Encoding.UTF8.GetString(Convert.FromBase64String((string)secret["data"]!["ca-key.pem"]!)));
        Assert.Equal("O=mesh.example", first.Current.Certificate.Subject);

        var second = await LoadAsync(client);
        Assert.Equal(first.Current.Roots, second.Current.Roots);
        Assert.Equal(3650, (second.Current.Certificate.NotAfter - second.Current.Certificate.NotBefore).TotalDays, 1);
    }

    [Fact]
    public async Task Replicas_that_start_together_agree_on_one_root()
    {
        await using var api = await MemoryApi.StartAsync();
        using var client = api.Client(_clock);
        var replicas = await Patience.Within(Task.WhenAll(Enumerable.Range(0, 4).Select(_ => LoadAsync(client))));
        Assert.Single(replicas.Select(r => r.Current.Roots).Distinct());
    }

    [Fact]
    public async Task A_secret_of_istiod_itself_is_used()
    {
        await using var api = await MemoryApi.StartAsync();
        using var client = api.Client(_clock);
        var istio = CertificateAuthority.CreateSelfSigned("cluster.local", _clock);
        string Base64(string text) => Convert.ToBase64String(Encoding.UTF8.GetBytes(text));
        api.Put("/api/v1/namespaces/istio-system/secrets", new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = "istio-ca-secret" },
            ["data"] = new JsonObject { ["ca-cert.pem"] = Base64(istio.CertificatePem), ["ca-key.pem"] = Base64(istio.ExportPrivateKeyPem()), ["cert-chain.pem"] = "", ["key.pem"] = "", ["root-cert.pem"] = "" },
        }.ToJsonString());
        Assert.Equal(istio.Roots, (await LoadAsync(client)).Current.Roots);
    }

    [Theory]
    [InlineData("""{"ca-key.pem":"eA=="}""", "no ca-cert.pem")]
    [InlineData("""{"ca-cert.pem":"eA==","ca-key.pem":"eA=="}""", "no certificate")]
    [InlineData("{}", "no ca-cert.pem")]
    public async Task A_secret_that_holds_no_CA_is_named_and_never_replaced(string data, string problem)
    {
        await using var api = await MemoryApi.StartAsync();
        using var client = api.Client(_clock);
        api.Put("/api/v1/namespaces/istio-system/secrets", $$"""{"metadata":{"name":"istio-ca-secret"},"data":{{data}}}""");
        var error = await Assert.ThrowsAsync<FormatException>(() => LoadAsync(client));
        Assert.Contains("istio-system/istio-ca-secret", error.Message);
        Assert.Contains(problem, error.Message);
        Assert.Equal(data, api.Find(SecretPath)!["data"]!.ToJsonString());
    }

    [Fact]
    public async Task An_API_server_that_cannot_be_reached_is_waited_for_and_one_that_forbids_is_not()
    {
        await using var api = await MemoryApi.StartAsync();
        using var client = api.Client(_clock);
        api.Fault = _ => 503;
        var loading = LoadAsync(client);
        await _clock.TimersAsync(due => due is [var wait] && wait <= TimeSpan.FromSeconds(2), Patience.Token);
        api.Fault = _ => 0;
        _clock.Advance(TimeSpan.FromSeconds(2));
        Assert.NotNull((await Patience.Within(loading)).Current);

        api.Fault = _ => 403;
        Assert.True((await Assert.ThrowsAsync<KubernetesRefusedException>(() => LoadAsync(client))).IsForbidden);
    }

    [Fact]
    public async Task A_plugged_in_CA_is_used_and_no_secret_is_touched()
    {
        using var folder = new PluggedInFolder(_clock);
        await using var api = await MemoryApi.StartAsync();
        using var client = api.Client(_clock);
        var authority = await LoadAsync(client, folder.Path);
        Assert.True(authority.IsPluggedIn);
        Assert.Equal("O=Istio CA intermediate", authority.Current.Certificate.Subject);
        Assert.Equal("O=Root", Assert.Single(authority.Current.Roots.Roots).Subject);
        Assert.Empty(api.Requests);
    }

    [Fact]
    public async Task A_TLS_secret_can_be_plugged_in()
    {
        using var folder = new PluggedInFolder(_clock);
        folder.Write("tls.crt", folder.Read("ca-cert.pem"));
        folder.Write("tls.key", folder.Read("ca-key.pem"));
        folder.Write("ca.crt", folder.Read("root-cert.pem"));
        foreach (var name in (string[])["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"]) folder.Delete(name);
        await using var api = await MemoryApi.StartAsync();
        using var client = api.Client(_clock);
        Assert.Equal("O=Istio CA intermediate", (await LoadAsync(client, folder.Path)).Current.Certificate.Subject);
    }

    [Theory]
    [InlineData("ca-key.pem")]
    [InlineData("root-cert.pem")]
    [InlineData("ca-cert.pem")]
    public async Task A_plugged_in_CA_that_is_not_whole_stops_the_start_and_is_named(string missing)
    {
        using var folder = new PluggedInFolder(_clock);
        folder.Delete(missing);
        await using var api = await MemoryApi.StartAsync();
        using var client = api.Client(_clock);
        var error = await Assert.ThrowsAsync<FormatException>(() => LoadAsync(client, folder.Path));
        Assert.Contains(folder.Path, error.Message);
        Assert.Contains(missing, error.Message);
        Assert.Empty(api.Requests);   // above all, no self-signed root in its place
    }

    [Fact]
    [Scenario("L4-147")]
    public async Task A_renewed_intermediate_signs_from_then_on_and_anything_else_leaves_the_old_one_in_force()
    {
        using var folder = new PluggedInFolder(_clock);
        await using var api = await MemoryApi.StartAsync();
        using var client = api.Client(_clock);
        var log = new CapturedLog();
        var authority = await LoadAsync(client, folder.Path, log);
        var serving = new ServingCertificate(authority, ["istiod.istio-system.svc"]);
        var (before, shown) = (authority.Current, serving.Current());

        folder.Renew(_clock);
        authority.Reload();
        var renewed = authority.Current;
        Assert.NotSame(before, renewed);
        Assert.Equal(before.Roots, renewed.Roots);
        Assert.NotEqual(before.Certificate.Thumbprint, renewed.Certificate.Thumbprint);
        Assert.NotSame(shown, serving.Current());

        folder.Write("ca-key.pem", "garbage");
        authority.Reload();
        Assert.Same(renewed, authority.Current);
        Assert.Contains(log.Lines, l => l.Contains("cannot be used"));

        using var foreign = new PluggedInFolder(_clock);
        foreach (var name in (string[])["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"]) folder.Write(name, foreign.Read(name));
        authority.Reload();
        Assert.Same(renewed, authority.Current);
        Assert.Contains(log.Lines, l => l.Contains("has other roots"));
    }

    [Fact]
    [Scenario("L4-148")]
    public async Task Roots_are_rotated_in_steps_and_each_is_told()
    {
        using var folder = new PluggedInFolder(_clock);
        using var next = new PluggedInFolder(_clock);
        await using var api = await MemoryApi.StartAsync();
        using var client = api.Client(_clock);
        var authority = await LoadAsync(client, folder.Path);
        var (old, @new) = (folder.Read("root-cert.pem"), next.Read("root-cert.pem"));

        var changed = authority.Changed;
        folder.Write("root-cert.pem", old + @new);   // 1: both are trusted
        authority.Reload();
        await Patience.Within(changed);
        Assert.Equal(2, authority.Current.Roots.Roots.Count);
        foreach (var name in (string[])["ca-cert.pem", "ca-key.pem", "cert-chain.pem"]) folder.Write(name, next.Read(name));
        authority.Reload();                           // 2: the new one signs
        Assert.Equal(next.Read("ca-cert.pem"), authority.Current.CertificatePem);
        folder.Write("root-cert.pem", @new);          // 3: the old one goes
        authority.Reload();
        Assert.Equal(@new, authority.Current.Roots.Pem);
    }

    [Fact]
    public async Task Revocation_lists_are_read_with_the_CA_and_a_broken_one_leaves_all_as_it_was()
    {
        using var folder = new PluggedInFolder(_clock);
        await using var api = await MemoryApi.StartAsync();
        using var client = api.Client(_clock);
        var log = new CapturedLog();
        var authority = await LoadAsync(client, folder.Path, log);
        Assert.Equal("", authority.Revoked);
        var list = folder.Revoke(_clock, [1, 2, 3]);
        authority.Reload();
        Assert.Equal(list, authority.Revoked);
        folder.Write("ca-crl.pem", "garbage");
        authority.Reload();
        Assert.Equal(list, authority.Revoked);
        Assert.Contains(log.Lines, l => l.Contains("ca-crl.pem"));
        authority.Reload();
        Assert.Single(log.Lines, l => l.Contains("ca-crl.pem"));
    }

    [Fact]
    public async Task A_revocation_is_not_held_back_by_what_is_wrong_with_the_rest_of_the_CA()
    {
        using var folder = new PluggedInFolder(_clock);
        await using var api = await MemoryApi.StartAsync();
        using var client = api.Client(_clock);
        var log = new CapturedLog();
        var authority = await LoadAsync(client, folder.Path, log);
        folder.Write("ca-key.pem", "garbage");
        var list = folder.Revoke(_clock, [1, 2, 3]);
        var changed = authority.Changed;
        authority.Reload();
        Assert.Equal(list, authority.Revoked);
        Assert.True(changed.IsCompleted);
        authority.Reload();
        Assert.Single(log.Lines, l => l.Contains("cannot be used"));
        foreach (var name in (string[])["ca-cert.pem", "ca-crl.pem"]) folder.Delete(name);   // nothing mounted says nothing
        authority.Reload();
        Assert.Equal(list, authority.Revoked);
    }

    [Fact]
    public async Task A_revocation_list_that_its_issuer_did_not_sign_is_published_to_nobody()
    {
        using var folder = new PluggedInFolder(_clock);
        await using var api = await MemoryApi.StartAsync();
        using var client = api.Client(_clock);
        var log = new CapturedLog();
        var authority = await LoadAsync(client, folder.Path, log);
        var list = folder.Revoke(_clock, [1, 2, 3]);
        authority.Reload();
        var forged = Tampered(folder.Revoke(_clock, [4]));
        folder.Write("ca-crl.pem", list + "\n" + forged);
        authority.Reload();
        Assert.Equal(list, authority.Revoked);
        Assert.Contains("the list of O=Root is not signed by it", string.Join("\n", log.Lines));
        Assert.Contains("O=Root", (await Assert.ThrowsAsync<FormatException>(() => LoadAsync(client, folder.Path))).Message);

        using var other = new PluggedInFolder(_clock);   // of the same name and another key
        var foreign = other.Revoke(_clock, [5]);
        folder.Write("ca-crl.pem", list + "\n" + foreign);
        authority.Reload();
        Assert.Equal(list + "\n" + foreign, authority.Revoked);
        Assert.Contains(log.Lines, l => l.Contains("could not be checked here"));
    }

    // The signature is the last part of a list.
    private static string Tampered(string pem)
    {
        var der = Convert.FromBase64String(pem[PemEncoding.Find(pem).Base64Data]);
        der[^1] ^= 1;
        return PemEncoding.WriteString("X509 CRL", der);
    }

    [Fact]
    public void The_control_plane_is_known_by_istiods_names()
    {
        Assert.Equal(
            ["istiod.istio-system.svc", "istiod-remote.istio-system.svc", "istio-pilot.istio-system.svc", "istiod-canary.istio-system.svc", "ca.example"],
            ServingCertificate.NamesOf("istio-system", "canary", ["ca.example", "istiod.istio-system.svc"]));
        Assert.DoesNotContain("istiod-default.istio-system.svc", ServingCertificate.NamesOf("istio-system", "default", []));
    }
}
