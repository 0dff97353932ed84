using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>Certificates, intermediates and roots change, and one is revoked, while connections are made and held.</summary>
public sealed class LifecycleCertificateTests(ClusterFixture cluster)
{
    private const string System = "istio-system";

    [Fact]
    [Scenario("L4-147", "L4-148", "L4-149")]
    public async Task Certificates_and_roots_are_rotated_without_loss_and_a_revoked_intermediate_ends_live_tunnels()
    {
        cluster.RequireLab("changing the mesh's root");
        await using var shop = await TestNamespace.CreateAsync(cluster, "lc-ca", ambient: true);
        await shop.DeployShopAsync();
        await shop.EnrolledAsync();
        using var next = new PluggedCa("next root");
        IReadOnlyDictionary<string, string>? good = null;   // what is to be plugged in if the test ends while the intermediate in use is revoked
        try
        {
            await cluster.Run.MustKubectlAsync(Patience.Token, "set", "env", "-n", System, "daemonset/ztunnel", "SECRET_TTL=20s");
            await shop.RolledOutAsync(System, "daemonset/ztunnel");
            var load = await MeshLoad.StartAsync(cluster, shop);

            // 1. The self-signed CA is plugged in as it is, with both roots: everybody learns to trust the next one.
            var own = await SecretAsync("istio-ca-secret");
            var old = own["ca-cert.pem"];
            await PlugInAsync(new Dictionary<string, string> { ["ca-cert.pem"] = old, ["ca-key.pem"] = own["ca-key.pem"], ["cert-chain.pem"] = "", ["root-cert.pem"] = old + next.RootPem });
            await cluster.Run.MustKubectlAsync(Patience.Token, "rollout", "restart", "-n", System, "deployment/istiod");   // it was not plugged in before
            await shop.RolledOutAsync(System, "deployment/istiod");
            await EveryAsync(shop, certificates => certificates.All(c => c.Roots == 2));
            // 2. An intermediate of the next root signs.
            var (files, first) = next.Intermediate("first intermediate", old + next.RootPem);
            await PlugInAsync(files);
            await EveryAsync(shop, certificates => certificates.All(c => c.Issuers.Contains("first intermediate")));
            // 3. The old root goes.
            await PlugInAsync(new Dictionary<string, string>(files) { ["root-cert.pem"] = next.RootPem });
            await EveryAsync(shop, certificates => certificates.All(c => c.Roots == 1));
            await load.MadeAsync(40);
            var rotated = await load.StopAsync();
            LifecycleResults.Write("ca-rotation", "certificates of 20 s, own CA plugged in, intermediate and root exchanged", rotated);
            Assert.True(rotated.IsWithoutLoss, $"{rotated}\n{await load.LossesAsync()}");

            // 4. The intermediate is revoked: tunnels that rest on it end, also while they are in use. (Those of before rest on what was before.)
            load = await MeshLoad.StartAsync(cluster, shop, name: "later");
            var (replacement, _) = next.Intermediate("second intermediate", next.RootPem);
            var list = next.Revoke(first);
            good = new Dictionary<string, string>(replacement) { ["ca-crl.pem"] = list };
            await PlugInAsync(new Dictionary<string, string>(files) { ["root-cert.pem"] = next.RootPem, ["ca-crl.pem"] = list });
            await load.BrokenAsync(10);
            Assert.Contains(await MetricsAsync(), l => l.StartsWith("istio_crl_policy_rejections_total", StringComparison.Ordinal) && !l.EndsWith(" 0", StringComparison.Ordinal));
            foreach (var reporter in (string[])["source", "destination"])
                Assert.Contains(await MetricsAsync(), l => l.Contains("CERT_REVOKED", StringComparison.Ordinal) && l.Contains($"reporter=\"{reporter}\"", StringComparison.Ordinal));
            Assert.Contains(await MetricsAsync(), l => l.StartsWith("istio_crl_untracked_connections_total{reporter=\"destination\"} 0", StringComparison.Ordinal));

            // 5. Another intermediate takes over, and all is well again without a restart.
            await PlugInAsync(good);
            good = null;
            await EveryAsync(shop, certificates => certificates.All(c => c.Issuers.Contains("second intermediate")));
            await load.MadeAsync(40);
            var after = await load.CountsAsync();
            await load.MadeAsync(40);
            var recovered = await load.StopAsync();
            LifecycleResults.Write("revocation", "the intermediate of every certificate in use is revoked, then replaced", recovered);
            Assert.Equal((after.Failed, after.Reset, after.LongLivedBroken), (recovered.Failed, recovered.Reset, recovered.LongLivedBroken));   // nothing is lost any more
        }
        finally
        {
            if (good is not null) await PlugInAsync(good);
            await cluster.Run.MustKubectlAsync(Patience.Token, "set", "env", "-n", System, "daemonset/ztunnel", "SECRET_TTL-");
            await shop.RolledOutAsync(System, "daemonset/ztunnel");
        }
    }

    private async Task<IReadOnlyDictionary<string, string>> SecretAsync(string name)
    {
        using var secret = JsonDocument.Parse(await cluster.Run.MustKubectlAsync(Patience.Token, "get", "secret", "-n", System, name, "-o", "json"));
        return secret.RootElement.GetProperty("data").EnumerateObject().ToDictionary(d => d.Name, d => Encoding.UTF8.GetString(d.Value.GetBytesFromBase64()));
    }

    private async Task PlugInAsync(IReadOnlyDictionary<string, string> files)
    {
        var data = new JsonObject(files.Select(f => KeyValuePair.Create(f.Key, (JsonNode?)Convert.ToBase64String(Encoding.UTF8.GetBytes(f.Value)))));
        var secret = new JsonObject { ["apiVersion"] = "v1", ["kind"] = "Secret", ["metadata"] = new JsonObject { ["name"] = "cacerts", ["namespace"] = System }, ["data"] = data };
        var file = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(file, secret.ToJsonString(), Patience.Token);
            await cluster.Run.MustKubectlAsync(Patience.Token, "apply", "-f", file);
        }
        finally
        {
            File.Delete(file);
        }
    }

    /// <summary>Waits until the certificates of the namespace's pods are as wanted on every node.</summary>
    private async Task EveryAsync(TestNamespace shop, Predicate<IReadOnlyList<HeldCertificate>> isRight)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(120));
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(500));
        foreach (var ztunnel in (await cluster.Mesh.ZtunnelsByNodeAsync(Patience.Token)).Values)
            while (!isRight(Held(await cluster.Mesh.ZtunnelAsync(ztunnel, 15000, "/config_dump", Patience.Token), shop.Name))) await timer.WaitForNextTickAsync(limit.Token);
    }

    private async Task<string[]> MetricsAsync()
    {
        var lines = new List<string>();
        foreach (var ztunnel in (await cluster.Mesh.ZtunnelsByNodeAsync(Patience.Token)).Values) lines.AddRange((await cluster.Mesh.ZtunnelAsync(ztunnel, 15020, "/metrics", Patience.Token)).Split('\n'));
        return [.. lines];
    }

    private static List<HeldCertificate> Held(string dump, string ns)
    {
        using var document = JsonDocument.Parse(dump);
        return [.. document.RootElement.GetProperty("certificates").EnumerateArray()
            .Where(c => c.GetProperty("identity").GetString()!.Contains($"/ns/{ns}/", StringComparison.Ordinal))
            .Select(c => new HeldCertificate(c.GetProperty("rootCerts").GetArrayLength(), string.Join('|', c.GetProperty("certChain").EnumerateArray().Select(Issuer))))];
    }

    private static string Issuer(JsonElement certificate)
    {
        using var parsed = X509Certificate2.CreateFromPem(Encoding.ASCII.GetString(certificate.GetProperty("pem").GetBytesFromBase64()));
        return parsed.Issuer;
    }

    private sealed record HeldCertificate(int Roots, string Issuers);
}
