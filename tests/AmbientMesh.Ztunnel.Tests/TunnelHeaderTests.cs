using System.Net;
using AmbientMesh.Model.Tests;
using AmbientMesh.Ztunnel.Connections;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.Ztunnel.Tests;

public sealed class TunnelHeaderTests
{
    [Fact]
    public void Baggage_of_a_pod_is_the_recorded_one()
    {
        var recorded = Samples.Text("samples/ztunnel/hbone-client/hb-conn3.frames.txt").Split('\n').First(l => l.Contains(" baggage: ")).Split("baggage: ")[1].Trim();
        Assert.Equal(recorded, Baggage.Write(MeshBuilder.PodOf("client", "10.98.0.1")));
    }

    [Fact]
    public void Baggage_names_the_controller_kind_and_the_place_and_leaves_out_what_is_empty()
    {
        var workload = MeshBuilder.PodOf("x", "10.0.0.1", with: w =>
        {
            w.WorkloadType = Wds.WorkloadType.Deployment;
            w.WorkloadName = "web";
            w.CanonicalRevision = "";
            w.In("r", "z");
        });
        Assert.Equal("k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.deployment.name=web,service.name=x,cloud.region=r,cloud.availability_zone=z", Baggage.Write(workload));
    }

    [Fact]
    public void Baggage_never_writes_what_would_break_the_header() =>
        Assert.DoesNotContain("service.name", Baggage.Write(MeshBuilder.PodOf("x", "10.0.0.1", with: w => w.CanonicalName = "a,k8s.namespace.name=kube-system")));

    [Fact]
    public void Of_repeated_members_the_last_wins_over_all_headers()
    {
        var read = Baggage.Parse(["k8s.namespace.name=a,service.name=s", "junk,=,k8s.namespace.name=b, service.version = v2 ", "cloud.region="]);
        Assert.Equal(new Baggage { Namespace = "b", ServiceName = "s", ServiceVersion = "v2" }, read);
    }

    [Fact]
    public void Forwarded_names_the_client_and_the_service()
    {
        Assert.Equal("for=\"10.98.0.1:42858\"", TunnelHeaders.Forwarded(IPEndPoint.Parse("10.98.0.1:42858"), null));
        var header = TunnelHeaders.Forwarded(IPEndPoint.Parse("[fd00::1]:1"), MeshBuilder.ServiceOf("s"));
        Assert.Equal("for=\"[fd00::1]:1\";host=s.default.svc.cluster.local", header);
        Assert.Equal("s.default.svc.cluster.local", TunnelHeaders.ForwardedHost(header));
        Assert.Null(TunnelHeaders.ForwardedHost("for=x"));
        Assert.Null(TunnelHeaders.ForwardedHost(null));
    }
}
