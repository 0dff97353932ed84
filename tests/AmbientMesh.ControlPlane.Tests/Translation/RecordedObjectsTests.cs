using System.Net;
using AmbientMesh.Kubernetes;
using AmbientMesh.Protocol.Wds;
using Service = AmbientMesh.Kubernetes.Service;

namespace AmbientMesh.ControlPlane.Tests.Translation;

/// <summary>Objects recorded from a real cluster become the resources they should.</summary>
public class RecordedObjectsTests
{
    private const string Folder = "samples/kubernetes/objects/";

    [Fact]
    public void A_pod_of_a_deployment()
    {
        var world = new TranslationWorld().With(KubernetesObjects.OfRecording(Folder + "deployment-family.txt").OfType<Pod>());
        var workload = world.Workload("Kubernetes//Pod/demo/web-69775b98df-qf64x");
        Assert.Equal(("web", "web", WorkloadType.Pod), (workload.WorkloadName, workload.CanonicalName, workload.WorkloadType));
        Assert.Equal(("default", "node-1", WorkloadStatus.Healthy), (workload.ServiceAccount, workload.Node, workload.Status));
        Assert.Equal("10.244.0.58", new IPAddress(Assert.Single(workload.Addresses).Span).ToString());
    }

    [Theory]
    [InlineData("daemonset-family.txt")]
    [InlineData("statefulset-family.txt")]
    public void Pods_of_other_controllers_carry_the_controllers_name(string recording)
    {
        var pod = KubernetesObjects.OfRecording(Folder + recording).OfType<Pod>().First();
        var workload = new TranslationWorld().With(pod).Workload($"Kubernetes//Pod/{pod.Key}");
        Assert.Equal(pod.Metadata.Controller()!.Name, workload.WorkloadName);
    }

    [Fact]
    public void A_completed_jobs_pod_is_no_workload()
    {
        var pods = KubernetesObjects.OfRecording(Folder + "job-family.txt").OfType<Pod>().ToList();
        Assert.Contains(pods, p => p.Status.Phase == "Succeeded");
        Assert.Empty(new TranslationWorld().With(pods).Names);
    }

    [Fact]
    public void Services_of_every_type()
    {
        var objects = KubernetesObjects.OfRecording(Folder + "services.txt").OfType<Service>().DistinctBy(s => s.Key).ToList();
        var world = new TranslationWorld().With(objects);
        Assert.Empty(world.Failures);
        Assert.Equal(
            objects.Where(s => s.Spec.Type != "ExternalName").Select(s => $"{s.Namespace}/{s.Name}.{s.Namespace}.svc.cluster.local").Order(StringComparer.Ordinal), world.Names);

        var headless = world.Mesh.Addresses.Find("life/headless.life.svc.cluster.local")!.Message.Service;
        Assert.Empty(headless.Addresses);
        Assert.Equal(new Port { ServicePort = 80, TargetPort = 0, AppProtocol = AppProtocol.Http2 }, Assert.Single(headless.Ports));

        var balanced = world.Mesh.Addresses.Find("life/lb.life.svc.cluster.local")!.Message.Service;
        Assert.Equal("10.96.194.99", new IPAddress(Assert.Single(balanced.Addresses).Address.Span).ToString());
        Assert.Equal(IPFamilies.Ipv4Only, balanced.IpFamilies);

        var unready = world.Mesh.Addresses.Find("life/notready-published.life.svc.cluster.local")!.Message.Service;
        Assert.Equal(LoadBalancing.Types.HealthPolicy.AllowAll, unready.LoadBalancing.HealthPolicy);
    }

    [Fact]
    public void A_slice_made_by_hand_gives_workloads_that_share_their_address()
    {
        var slices = KubernetesObjects.OfRecording(Folder + "custom-endpointslice.txt").OfType<EndpointSlice>();
        var services = KubernetesObjects.OfRecording(Folder + "services.txt").OfType<Service>();
        var workload = new TranslationWorld().With(slices).With(services).Workload("Kubernetes/discovery.k8s.io/EndpointSlice/life/manual-1/192.0.2.10");
        Assert.Equal((NetworkMode.HostNetwork, WorkloadStatus.Healthy, ""), (workload.NetworkMode, workload.Status, workload.ServiceAccount));
        Assert.Equal(new Port { ServicePort = 80, TargetPort = 8080 }, Assert.Single(workload.Services["life/noselector.life.svc.cluster.local"].Ports));
    }

    [Fact]
    public void Slices_the_cluster_keeps_for_pods_give_no_workloads()
    {
        var objects = KubernetesObjects.OfRecording(Folder + "endpointslices.txt").Concat(KubernetesObjects.OfRecording(Folder + "services.txt"));
        var world = new TranslationWorld().With(objects);
        Assert.True(world.Mesh.EndpointSlices.Count > 5);
        Assert.Equal(0, world.Mesh.EndpointWorkloads.Count);
    }

    [Fact]
    public void A_terminating_pod_is_unhealthy_although_it_still_says_ready()
    {
        var pods = KubernetesObjects.OfRecording(Folder + "terminating-endpoint.txt").OfType<Pod>().Where(p => p.Metadata.DeletionTimestamp is not null).ToList();
        Assert.Contains(pods, p => p.Is("Ready"));
        var world = new TranslationWorld().With(pods);
        Assert.All(world.Names, name => Assert.Equal(WorkloadStatus.Unhealthy, world.Workload(name).Status));
        Assert.NotEmpty(world.Names);
    }
}
