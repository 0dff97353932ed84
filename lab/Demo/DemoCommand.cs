using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using AmbientMesh.Lab.Capture;
using AmbientMesh.Linux;

namespace AmbientMesh.Lab.Demo;

/// <summary>The main job before the user's eyes: a cluster, the mesh by kubectl, a namespace enrolled by a label, every claim observed.</summary>
public sealed class DemoCommand(DemoScreen screen, DemoShell shell, CommandRunner run, MeshWatcher mesh, NetworkNamespace fabric, string repository, string meshctl)
{
    private const string Url = "http://server.shop.svc.cluster.local/";
    private const int Requests = 8;   // enough that both replicas answer: all to one has a chance of 1 in 128, and is then asked again
    private IReadOnlyList<ShopPod> _before = [];

    public async Task<bool> RunAsync(CancellationToken cancellationToken)
    {
        await InstallAsync(cancellationToken);
        await DeployShopAsync(cancellationToken);
        await PlainAsync("before", "Traffic before the mesh", cancellationToken);
        await EnrolAsync(cancellationToken);
        await ProtectedAsync(cancellationToken);
        await IdentitiesAsync(cancellationToken);
        await TelemetryAsync(cancellationToken);
        await new LivePolicyDemo(screen, shell, run, mesh).RunAsync(() => new ExplainDemo(screen, shell, run, mesh, meshctl).RunAsync(_before.First(p => p.App == "client"), cancellationToken), cancellationToken);
        await new UpdateDemo(screen, shell, run).RunAsync(cancellationToken);
        await OutsiderAsync(cancellationToken);
        await LeaveAsync(cancellationToken);
        await PlainAsync("after", "Traffic after leaving the mesh", cancellationToken);
        await NothingLostAsync(cancellationToken);
        screen.Summary();
        return screen.AllHold;
    }

    private async Task InstallAsync(CancellationToken cancellationToken)
    {
        screen.Step("Install the mesh with kubectl");
        await shell.KubectlAsync(cancellationToken, "apply", "-k", Path.Combine(repository, "deploy"));
        await shell.KubectlAsync(cancellationToken, "rollout", "status", "-n", "istio-system", "deployment/istiod", "--timeout=90s");
        await shell.KubectlAsync(cancellationToken, "rollout", "status", "-n", "istio-system", "daemonset/istio-cni-node", "--timeout=90s");
        await shell.KubectlAsync(cancellationToken, "rollout", "status", "-n", "istio-system", "daemonset/ztunnel", "--timeout=90s");
        await shell.KubectlAsync(cancellationToken, "get", "pods", "-n", "istio-system", "-o", "wide");
    }

    private async Task DeployShopAsync(CancellationToken cancellationToken)
    {
        screen.Step("Deploy a client, a server with two replicas, and a client outside the mesh");
        await shell.KubectlAsync(cancellationToken, "apply", "-k", Path.Combine(repository, "deploy", "samples"));
        await shell.KubectlAsync(cancellationToken, "rollout", "status", "-n", "shop", "deployment/server", "--timeout=90s");
        await shell.KubectlAsync(cancellationToken, "rollout", "status", "-n", "shop", "deployment/client", "--timeout=90s");
        await shell.KubectlAsync(cancellationToken, "rollout", "status", "-n", "outside", "deployment/outsider", "--timeout=90s");
        await shell.KubectlAsync(cancellationToken, "get", "pods", "-n", "shop", "-o", "wide");
        _before = await mesh.PodsAsync("shop", cancellationToken);
        var nodes = _before.Where(p => p.App == "server").Select(p => p.Node).Distinct().Count();
        screen.Proof("two replicas on two nodes", nodes == 2, $"the server's pods run on {nodes} nodes");
    }

    private async Task PlainAsync(string marker, string title, CancellationToken cancellationToken)
    {
        screen.Step(title);
        var (recording, answers) = await AskWhileCapturingAsync(marker, cancellationToken);
        var readable = recording.Showing(marker).Where(f => recording.Between(ShopAddresses()).Contains(f)).ToList();
        foreach (var flow in readable.Take(2)) screen.Line($"on the wire between the nodes, {flow}: {recording.Preview(flow, 60)}…");
        screen.Proof($"plaintext {marker} the mesh", answers.Count > 0 && readable.Count > 0, $"{readable.Count} connections between the nodes show the request readable");
    }

    private async Task EnrolAsync(CancellationToken cancellationToken)
    {
        screen.Step("Enrol the namespace by a label");
        await shell.KubectlAsync(cancellationToken, "label", "namespace", "shop", "istio.io/dataplane-mode=ambient");
        await shell.KubectlAsync(cancellationToken, "wait", "pod", "-n", "shop", "--all", "--timeout=60s", @"--for=jsonpath={.metadata.annotations.ambient\.istio\.io/redirection}=enabled");
        await mesh.AllReachByAsync("HBONE", "shop", _before.Select(p => p.Name).ToHashSet(), cancellationToken);
        var now = await mesh.PodsAsync("shop", cancellationToken);
        screen.Proof("enrolled without a restart", now.All(p => p.IsEnrolled) && Same(_before, now), $"{now.Count} pods are captured; uid, restart count and start time of each are as before");
    }

    private async Task ProtectedAsync(CancellationToken cancellationToken)
    {
        screen.Step("The same request, now through the mesh");
        const string marker = "through-the-mesh";
        var (recording, answers) = await AskWhileCapturingAsync(marker, cancellationToken);
        var flows = recording.Between(ShopAddresses()).ToList();
        foreach (var flow in flows.Take(4)) screen.Line($"on the wire between the nodes, {flow}: {recording.Bytes(flow)} bytes, {(recording.IsOnlyTls(flow) ? "TLS records only" : $"not TLS: {recording.Preview(flow, 40)}")}");
        var client = _before.First(p => p.App == "client");
        screen.Proof("the same answers", answers.Count == Requests && answers.Select(a => a.Server).Distinct().Count() == 2, $"{answers.Count} of {Requests} requests answered, by {answers.Select(a => a.Server).Distinct().Count()} replicas");
        screen.Proof("no plaintext on the wire", !recording.Showing(marker).Any(), "the request is readable in no connection that crossed the wire");
        screen.Proof("only TLS between the pods", flows.Count > 0 && flows.All(f => recording.IsOnlyTls(f) && (f.Source.Port == 15008 || f.Destination.Port == 15008)),
            $"{flows.Count} flows, {flows.Sum(recording.Bytes)} bytes, all to or from port 15008, TLS records from the first byte to the last");
        screen.Proof("the server sees its client", answers.All(a => client.Addresses.Contains(IPAddress.Parse(a.Client))), $"it reports {answers.FirstOrDefault()?.Client ?? "nobody"}, the client pod's own address");
    }

    private async Task IdentitiesAsync(CancellationToken cancellationToken)
    {
        screen.Step("Who is who: certificates and SPIFFE identities");
        foreach (var (app, pods) in _before.GroupBy(p => p.App).Select(g => (g.Key, g.ToList())).OrderBy(g => g.Key, StringComparer.Ordinal))
        {
            var ztunnel = (await mesh.ZtunnelsByNodeAsync(cancellationToken))[pods[0].Node];
            var identity = $"spiffe://cluster.local/ns/shop/sa/{app}";
            var certificates = CertificateListing.Parse(await mesh.ZtunnelAsync(ztunnel, 15000, "/config_dump", cancellationToken));
            if (!certificates.TryGetValue(identity, out var chain))
            {
                screen.Proof($"{app} has an identity", false, $"{ztunnel} holds no certificate for {identity}");
                continue;
            }
            screen.Line($"{app} on {pods[0].Node}, held by {ztunnel}:");
            screen.Lines(CertificateListing.Describe(chain).Select(line => "  " + line));
            screen.Proof($"{app} has an identity", ChainsToRoot(chain), $"{identity}, signed by the mesh's root");
        }
    }

    private async Task TelemetryAsync(CancellationToken cancellationToken)
    {
        screen.Step("What both ztunnels tell");
        var both = new HashSet<string>();
        foreach (var (node, ztunnel) in (await mesh.ZtunnelsByNodeAsync(cancellationToken)).OrderBy(z => z.Key, StringComparer.Ordinal))
        {
            var metrics = (await mesh.ZtunnelAsync(ztunnel, 15020, "/metrics", cancellationToken)).Split('\n')
                .Where(l => l.StartsWith("istio_tcp_connections_opened_total{", StringComparison.Ordinal) && l.Contains("mutual_tls", StringComparison.Ordinal)).ToList();
            var log = (await run.MustKubectlAsync(cancellationToken, "logs", "-n", "istio-system", ztunnel)).Split('\n').Where(l => l.Contains("connection complete", StringComparison.Ordinal) && l.Contains("spiffe://", StringComparison.Ordinal)).ToList();
            screen.Line($"{ztunnel} on {node}:");
            screen.Lines(metrics.Take(2).Select(MetricLine.Shorten).Concat(log.TakeLast(1)).Select(l => "  " + l.Replace('\t', ' ')));
            foreach (var reporter in new[] { "source", "destination" })
                if (metrics.Any(l => l.Contains($"reporter=\"{reporter}\"", StringComparison.Ordinal)) && log.Count > 0) both.Add(reporter);
        }
        screen.Proof("both ends report mutual TLS", both.Count == 2, $"istio_tcp_connections_opened_total with connection_security_policy=\"mutual_tls\" as {string.Join(" and ", both.Order(StringComparer.Ordinal))}; access log lines with both identities");
    }

    private async Task OutsiderAsync(CancellationToken cancellationToken)
    {
        screen.Step("A client outside the mesh is still served");
        var answers = Answers(await shell.KubectlAsync(cancellationToken, "exec", "-n", "outside", "deploy/outsider", "--", "/app/samples", "get", Url + "outsider", "--repeat", "2"));
        var outsider = (await mesh.PodsAsync("outside", cancellationToken))[0];
        screen.Proof("an outsider is served", answers.Count == 2 && answers.All(a => outsider.Addresses.Contains(IPAddress.Parse(a.Client))), $"{answers.Count} of 2 answered, the server saw {answers.FirstOrDefault()?.Client ?? "nobody"}");
    }

    private async Task LeaveAsync(CancellationToken cancellationToken)
    {
        screen.Step("Leave the mesh by removing the label");
        await shell.KubectlAsync(cancellationToken, "label", "namespace", "shop", "istio.io/dataplane-mode-");
        await mesh.AllPodsAsync("shop", pod => pod.Redirection.Length == 0, "released", cancellationToken);
        await mesh.AllReachByAsync("TCP", "shop", _before.Select(p => p.Name).ToHashSet(), cancellationToken);
        var now = await mesh.PodsAsync("shop", cancellationToken);
        screen.Proof("left without a restart", now.All(p => p.Redirection.Length == 0) && Same(_before, now), "no pod is captured; uid, restart count and start time of each are as before");
    }

    private async Task NothingLostAsync(CancellationToken cancellationToken)
    {
        screen.Step("The client that asked all the while");
        var lines = (await run.MustKubectlAsync(cancellationToken, "logs", "-n", "shop", "deploy/client")).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        // The client starts before the server is ready; what counts is the time after the first answer.
        var since = lines.SkipWhile(l => !l.StartsWith("200 ", StringComparison.Ordinal)).ToList();
        var failed = since.Where(l => !l.StartsWith("200 ", StringComparison.Ordinal)).ToList();
        screen.Lines(failed.Take(3));
        screen.Proof("no request lost", since.Count > 0 && failed.Count == 0, $"{since.Count} requests on new connections while the namespace joined and left, {failed.Count} failed");
    }

    private async Task<(WireRecording Recording, IReadOnlyList<Answer> Answers)> AskWhileCapturingAsync(string marker, CancellationToken cancellationToken)
    {
        for (var attempt = 1; ; attempt++)
        {
            using var capture = new WireCapture(fabric);
            var answers = Answers(await shell.KubectlAsync(cancellationToken, "exec", "-n", "shop", "deploy/client", "--", "/app/samples", "get", Url + marker, "--repeat", $"{Requests}"));
            var recording = capture.Stop();
            if (attempt == 3 || answers.Select(a => a.Server).Distinct().Count() == 2) return (recording, answers);
            screen.Line("all requests went to one replica; asking again");
        }
    }

    private HashSet<IPAddress> ShopAddresses() => [.. _before.SelectMany(p => p.Addresses)];

    private static bool Same(IReadOnlyList<ShopPod> before, IReadOnlyList<ShopPod> now) =>
        before.Select(p => (p.Uid, p.Restarts, p.StartedAt)).Order().SequenceEqual(now.Select(p => (p.Uid, p.Restarts, p.StartedAt)).Order());

    private static bool ChainsToRoot(IReadOnlyList<X509Certificate2> certificates)
    {
        using var chain = new X509Chain { ChainPolicy = { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck } };
        chain.ChainPolicy.CustomTrustStore.Add(certificates[^1]);
        chain.ChainPolicy.ExtraStore.AddRange(certificates.Skip(1).ToArray());
        return chain.Build(certificates[0]);
    }

    private static List<Answer> Answers(string output) =>
        [.. output.Split('\n').Where(l => l.StartsWith("200 ", StringComparison.Ordinal)).Select(l => JsonSerializer.Deserialize<Answer>(l[4..], JsonSerializerOptions.Web)!)];

    private sealed record Answer(string Server, string Client, string Path);
}
