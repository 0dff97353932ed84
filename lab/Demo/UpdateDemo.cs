namespace AmbientMesh.Lab.Demo;

/// <summary>Every ztunnel is replaced while connections are made and held.</summary>
public sealed class UpdateDemo(DemoScreen screen, DemoShell shell, CommandRunner run)
{
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        screen.Step("Update ztunnel under load");
        var load = new DemoLoad(run, TimeProvider.System);
        screen.Line("the client makes 20 new connections a second and holds 5");
        await load.StartAsync("server.shop.svc.cluster.local:9090", rate: 20, longLived: 5, cancellationToken);
        await shell.KubectlAsync(cancellationToken, "rollout", "restart", "-n", "istio-system", "daemonset/ztunnel");
        await shell.KubectlAsync(cancellationToken, "rollout", "status", "-n", "istio-system", "daemonset/ztunnel", "--timeout=120s");
        var atEnd = await load.UntilAsync(counts => counts.LongLivedOpen == 5, "5 long-lived connections open again", cancellationToken);
        await load.UntilAsync(counts => counts.Made >= atEnd.Made + 20, "more new connections", cancellationToken);
        var counts = await load.StopAsync(cancellationToken);
        screen.Line($"the load tells: {counts}");
        screen.Proof("an update refuses no new connection", counts is { Failed: 0, Reset: 0 } && counts.Made > 0, $"{counts.Made} made, {counts.Failed} failed, {counts.Reset} reset while both nodes' ztunnels were replaced");
        screen.Line($"long-lived connections run on in the old ztunnel until its drain deadline: {counts.LongLivedBroken} of {counts.LongLivedOpened} were still open then and were made anew");
    }
}
