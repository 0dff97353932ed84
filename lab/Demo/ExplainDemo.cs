using System.Text.RegularExpressions;

namespace AmbientMesh.Lab.Demo;

/// <summary><c>meshctl explain</c>: why a connection is refused, before it is made and after it was.</summary>
public sealed partial class ExplainDemo(DemoScreen screen, DemoShell shell, CommandRunner run, MeshWatcher mesh, string meshctl)
{
    private const string Echo = "server.shop.svc.cluster.local:9090";

    /// <param name="client">The pod whose connections the policy <c>shop/no-echo</c> denies.</param>
    public async Task RunAsync(ShopPod client, CancellationToken cancellationToken)
    {
        screen.Step("A denial explains itself");
        var ahead = await shell.MeshctlAsync(meshctl, cancellationToken, "explain", "--from", $"shop/{client.Name}", "--to", Echo);
        screen.Proof("explained ahead", Names(ahead), "meshctl explain names the policy shop/no-echo, its kind and generation, before a byte is sent");

        await shell.KubectlAsync(cancellationToken, "exec", "-n", "shop", "deploy/client", "--", "/app/samples", "tcp", Echo, "hello");
        var line = await DeniedLineAsync(cancellationToken);
        if (line is null || ConnectionId().Match(line) is not { Success: true } id)
        {
            screen.Proof("explained afterwards", false, "no access log line tells of a connection that a policy denied");
            return;
        }
        screen.Line(line.Replace('\t', ' '));
        var afterwards = await shell.MeshctlAsync(meshctl, cancellationToken, "explain", "--connection", id.Groups[1].Value);
        screen.Proof("explained afterwards", Names(afterwards), "the id of the access log line is enough to find the connection at both ends, and the object that decided");
    }

    private static bool Names(string explanation) => explanation.Contains("no-echo", StringComparison.Ordinal) && explanation.Contains("AuthorizationPolicy", StringComparison.Ordinal);

    private async Task<string?> DeniedLineAsync(CancellationToken cancellationToken)
    {
        foreach (var ztunnel in (await mesh.ZtunnelsByNodeAsync(cancellationToken)).Values)
            if ((await run.MustKubectlAsync(cancellationToken, "logs", "-n", "istio-system", ztunnel)).Split('\n').LastOrDefault(l => l.Contains("explicitly denied by: shop/no-echo", StringComparison.Ordinal)) is { } line)
                return line;
        return null;
    }

    [GeneratedRegex("connection\\.id=\"?([0-9a-f]{32})", RegexOptions.NonBacktracking)]
    private static partial Regex ConnectionId();
}
