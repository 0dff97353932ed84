using AmbientMesh.ControlPlane.Discovery;
using AmbientMesh.Model;
using AmbientMesh.Protocol.Core;
using AmbientMesh.Protocol.Discovery;
using Google.Protobuf.WellKnownTypes;

namespace AmbientMesh.ControlPlane.Tests.Discovery;

public class ClientAdmissionTests
{
    private const string Id = "ztunnel~10.0.0.1~ztunnel-abcde.istio-system~istio-system.svc.cluster.local";
    private static readonly SpiffeId Ztunnel = new("cluster.local", "istio-system", "ztunnel");

    private static Node NodeOf(string id = Id, params (string Key, string Value)[] metadata)
    {
        var node = new Node { Id = id, Metadata = new Struct() };
        foreach (var (key, value) in metadata) node.Metadata.Fields[key] = Value.ForString(value);
        return node;
    }

    private static Admission Decide(Node? node, params SpiffeId[] identities) => ClientAdmission.Decide(node, identities, servesAmbient: true);

    [Fact]
    public void The_recorded_first_request_of_a_ztunnel_is_admitted()
    {
        var request = DeltaDiscoveryRequest.Parser.ParseFrom(Samples.Hex("samples/ztunnel/xds/wildcard/01-c2s-address-first.hex"));
        var client = Assert.IsType<Admission.Admitted>(Decide(request.Node, Ztunnel)).Client;
        Assert.Equal(new DiscoveryClient(request.Node.Id, "ztunnel-abcde", "istio-system", "n1", "Kubernetes"), client);
    }

    [Fact]
    [Scenario("L4-138")]
    public void The_account_of_another_namespace_is_refused_by_name()
    {
        var refused = Assert.IsType<Admission.Refused>(Decide(NodeOf(), new SpiffeId("cluster.local", "shop", "ztunnel")));
        Assert.Equal("authorization failed: no identities ([spiffe://cluster.local/ns/shop/sa/ztunnel]) matched istio-system/", refused.Reason);
    }

    [Fact]
    [Scenario("L4-138")]
    public void Another_account_of_the_same_namespace_is_refused_when_the_node_names_its_own() =>
        Assert.IsType<Admission.Refused>(Decide(NodeOf(metadata: ("SERVICE_ACCOUNT", "ztunnel")), new SpiffeId("cluster.local", "istio-system", "istio-cni")));

    [Fact]
    public void One_matching_identity_among_several_is_enough() =>
        Assert.IsType<Admission.Admitted>(Decide(NodeOf(metadata: ("SERVICE_ACCOUNT", "ztunnel")), new SpiffeId("cluster.local", "shop", "x"), Ztunnel));

    [Fact]
    public void A_caller_without_any_identity_is_refused_where_identities_are_known() => Assert.IsType<Admission.Refused>(Decide(NodeOf()));

    [Fact]
    public void A_listener_without_identities_compares_none() =>
        Assert.IsType<Admission.Admitted>(ClientAdmission.Decide(NodeOf(), identities: null, servesAmbient: true));

    [Fact]
    public void A_node_whose_id_and_metadata_disagree_is_malformed() =>
        Assert.IsType<Admission.Malformed>(Decide(NodeOf(metadata: ("NAMESPACE", "shop")), new SpiffeId("cluster.local", "shop", "x")));

    [Theory]
    [InlineData("")]
    [InlineData("ztunnel")]
    [InlineData("ztunnel~10.0.0.1~ztunnel-abcde.istio-system")]
    [InlineData("ztunnel~10.0.0.1~ztunnel-abcde~x")]
    public void A_node_id_of_another_shape_is_malformed(string id) => Assert.IsType<Admission.Malformed>(Decide(NodeOf(id), Ztunnel));

    [Fact]
    public void A_request_without_a_node_is_malformed() => Assert.IsType<Admission.Malformed>(Decide(null, Ztunnel));

    [Fact]
    public void Other_node_types_are_refused() => Assert.IsType<Admission.Refused>(Decide(NodeOf("sidecar~10.0.0.1~web.istio-system~x"), Ztunnel));

    [Fact]
    public void Without_ambient_a_ztunnel_is_refused() => Assert.IsType<Admission.Refused>(ClientAdmission.Decide(NodeOf(), [Ztunnel], servesAmbient: false));
}
