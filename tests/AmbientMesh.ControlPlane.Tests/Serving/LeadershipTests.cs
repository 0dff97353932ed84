using System.Net;
using AmbientMesh.ControlPlane.Certificates;
using AmbientMesh.ControlPlane.Kubernetes;
using AmbientMesh.Kubernetes.Tests;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.ControlPlane.Tests.Serving;

/// <summary>What is left behind by a replica that leads again and again.</summary>
public sealed class LeadershipTests
{
    [Theory]
    [InlineData("roots")]
    [InlineData("taints")]
    [InlineData("addresses")]
    public async Task A_term_that_ends_leaves_no_subscription_behind(string duty)
    {
        await using var api = await MemoryApi.StartAsync();
        using var client = api.Client();
        var never = new TaskCompletionSource();
        using var stop = new CancellationTokenSource();
        var watch = new ClusterWatch(client, "istio-system", NullLoggerFactory.Instance);
        Func<CancellationToken, Task> run = duty switch
        {
            "roots" => new ConfigMapDistribution(client, watch.Namespaces, new DistributedText("map", "key", () => "", () => never.Task), NullLogger.Instance).RunAsync,
            "taints" => new NodeUntainting(client, watch.Nodes, watch.Pods, "istio-system", NullLogger.Instance).RunAsync,
            _ => new AddressAssigning(client, watch.ServiceEntries, IPNetwork.Parse("240.240.0.0/16"), IPNetwork.Parse("2001:2::/48"), NullLogger.Instance).RunAsync,
        };
        int Subscriptions() => watch.Namespaces.Subscriptions + watch.Nodes.Subscriptions + watch.Pods.Subscriptions + watch.ServiceEntries.Subscriptions;
        var watching = watch.RunAsync(stop.Token);
        for (var number = 0; number < 2; number++)
        {
            var patience = Patience.Token;
            using var term = new CancellationTokenSource();
            var running = run(term.Token);
            using (var look = new PeriodicTimer(TimeSpan.FromMilliseconds(5)))
                while (Subscriptions() == 0) await look.WaitForNextTickAsync(patience);
            await term.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Patience.Within(running));
            Assert.Equal(0, Subscriptions());
        }
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Patience.Within(watching));
    }
}
