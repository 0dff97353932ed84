using AmbientMesh.Cni.Node.Enrollment;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Cni.Node.Ztunnel;
using AmbientMesh.Cni.Tests.Redirection;
using AmbientMesh.Cni.Tests.Ztunnel;
using AmbientMesh.Kubernetes;
using AmbientMesh.Linux;
using AmbientMesh.Linux.Netfilter;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.Cni.Tests.Agent;

/// <summary>A verification whose cache has not heard of what the agent itself wrote last.</summary>
public class StaleCacheTests
{
    [Fact]
    public async Task A_pod_that_the_cache_shows_without_its_annotation_is_asked_itself_before_it_is_called_faulty()
    {
        await using var node = await NodeFixture.CreateAsync();
        node.Namespace("demo", "ambient");
        var pod = await node.PodAsync("demo", "web");
        using var client = new KubernetesClient(node.Connection());
        var (podCache, namespaces) = (await OnceAsync<Pod>(client), await OnceAsync<Namespace>(client));
        using var stop = new CancellationTokenSource();
        var pods = new EnrolledPods(TimeProvider.System);
        var ztunnels = new ZdsServer(pods, TimeProvider.System, NullLogger.Instance);
        using var listener = SeqPacketListener.Bind(node.ZdsSocket);
        var serving = ztunnels.RunAsync(listener, stop.Token);
        using var ztunnel = await FakeZtunnel.ConnectAsync(node.ZdsSocket);
        await ztunnel.TakeSnapshotAsync();

        var settings = node.Settings();
        var redirection = Backends.Redirection("iptables-nft");
        var probes = new IpsetProbeExemptions(node.Host, new Iptables(IptablesVariant.Nft, node.Folder), settings.Redirect);
        await probes.InstallAsync(Patience.Token);
        var search = new PodNamespaceSearch(node.Proc, node.Host.Id);
        var enroller = new PodEnroller(redirection, settings.Redirect, probes, ztunnels, pods, client.Of<Pod>(), new EnrollmentDefaults(true, _ => null), NullLogger.Instance);
        var reconciler = new PodReconciler(
            new EnrollmentRules(settings.Selectors, settings.ExcludedNamespaces, settings.SystemNamespace), podCache, namespaces, pods, enroller, redirection, probes, ztunnels, search,
            new UnenrolledPods((_, _, _, _) => { }, TimeProvider.System), settings.Leaving, TimeProvider.System, NullLogger.Instance);
        await EnrolmentTests.AnswerAllAsync(ztunnel, async () => Assert.True(await reconciler.ReconcileAsync(pod.Key, Patience.Token)));
        Assert.Equal(("enabled", null), (node.Annotation(pod), EnrollmentRules.Annotated(podCache.Get(pod.Key)!)));

        Assert.Empty(await VerifyAsync());

        node.Annotate(pod, EnrollmentRules.RedirectionAnnotation, null);
        await EnrolmentTests.AnswerAllAsync(ztunnel, async () => Assert.Equal(["not annotated"], await VerifyAsync()));
        Assert.Equal("enabled", node.Annotation(pod));

        await stop.CancelAsync();
        await Patience.Within(serving);
        foreach (var enrolled in pods.All) pods.Remove(enrolled.Uid);

        async Task<IReadOnlyList<string>> VerifyAsync() => await reconciler.VerifyAsync(pod.Key, search.Processes(), await probes.ReadAsync(Patience.Token), Patience.Token);
    }

    /// <summary>What is there now, for good.</summary>
    private static async Task<Informer<T>> OnceAsync<T>(KubernetesClient client) where T : KubernetesObject, IResource<T>
    {
        var informer = new Informer<T>(client.Of<T>());
        using var watching = new CancellationTokenSource();
        var running = informer.RunAsync(watching.Token);
        await informer.WaitForSyncAsync(Patience.Token);
        await watching.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Patience.Within(running));
        return informer;
    }
}
