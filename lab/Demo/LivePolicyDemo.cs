namespace AmbientMesh.Lab.Demo;

/// <summary>A policy is applied while a connection that it forbids is open: the connection ends, others do not.</summary>
public sealed class LivePolicyDemo(DemoScreen screen, DemoShell shell, CommandRunner run, MeshWatcher mesh)
{
    private const string Echo = "server.shop.svc.cluster.local:9090";
    private const string Deny = """
        apiVersion: security.istio.io/v1
        kind: AuthorizationPolicy
        metadata: {name: no-echo, namespace: shop}
        spec:
          action: DENY
          rules:
          - from: [{source: {principals: [cluster.local/ns/shop/sa/client]}}]
            to: [{operation: {ports: ["9090"]}}]
        """;

    /// <param name="whileDenied">Runs while the policy is in force.</param>
    public async Task RunAsync(Func<Task> whileDenied, CancellationToken cancellationToken)
    {
        screen.Step("A policy changes under a live connection");
        var load = new DemoLoad(run, TimeProvider.System);
        screen.Line($"the client holds 2 connections to {Echo} and exchanges messages on them");
        await load.StartAsync(Echo, rate: 0, longLived: 2, cancellationToken);
        await shell.ApplyAsync(Deny, cancellationToken);
        var cut = await load.UntilAsync(counts => counts.LongLivedBroken >= 2, "both connections ended", cancellationToken);
        screen.Line($"the load tells: {cut}");
        var log = await LogAsync("connection closed due to policy change", cancellationToken);
        screen.Lines(log.TakeLast(1));
        screen.Proof("a new policy ends what it forbids", cut.LongLivedBroken >= 2 && log.Count >= 2, $"2 open connections ended when the DENY came, and those tried instead are refused; {log.Count} access log lines say why");
        var other = await shell.KubectlAsync(cancellationToken, "exec", "-n", "shop", "deploy/client", "--", "/app/samples", "get", "http://server.shop.svc.cluster.local/still-allowed");
        screen.Proof("and nothing else", other.StartsWith("200 ", StringComparison.Ordinal), "port 80 of the same server still answers the same client");

        await whileDenied();

        await load.StopAsync(cancellationToken);
        await shell.KubectlAsync(cancellationToken, "delete", "authorizationpolicy", "-n", "shop", "no-echo");
    }

    private async Task<List<string>> LogAsync(string words, CancellationToken cancellationToken)
    {
        var found = new List<string>();
        foreach (var ztunnel in (await mesh.ZtunnelsByNodeAsync(cancellationToken)).Values)
            found.AddRange((await run.MustKubectlAsync(cancellationToken, "logs", "-n", "istio-system", ztunnel)).Split('\n')
                .Where(line => line.Contains(words, StringComparison.Ordinal) && line.Contains("direction=\"inbound\"", StringComparison.Ordinal)).Select(line => line.Replace('\t', ' ')));
        return found;
    }
}
