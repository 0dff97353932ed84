using System.Net;
using AmbientMesh.Model.Tests;
using AmbientMesh.Ztunnel.Dns;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.Ztunnel.Tests.Dns;

public sealed class NameResolutionTests
{
    private const ushort A = DnsTypes.A, Aaaa = DnsTypes.Aaaa;

    private static MeshBuilder Mesh => new MeshBuilder().Pod("client", "10.0.0.1,fd00::1", ns: "ns1").Service("productpage", "10.1.0.1", ns: "ns1").Service("example", "10.1.0.2", ns: "ns2");

    private static NameDecision Decide(MeshBuilder mesh, string name, ushort type = A, string? preferred = null, bool ipv6 = true, ushort @class = 1) =>
        NameResolution.Decide(mesh.Mesh, mesh.Find("client", "ns1"), new DnsQuestion(new DnsName(name, IsPlain: true), type, @class), new NameSettings("cluster.local", preferred, ipv6));

    private static NameDecision.Answer Answered(MeshBuilder mesh, string name, string addresses, ushort type = A, string? preferred = null, bool ipv6 = true)
    {
        var answer = Assert.IsType<NameDecision.Answer>(Decide(mesh, name, type, preferred, ipv6));
        Assert.Equal(addresses.Split(',', StringSplitOptions.RemoveEmptyEntries).Order(), answer.Addresses.Select(a => a.ToString()).Order());
        return answer;
    }

    private static void Forwarded(MeshBuilder mesh, string name, ushort type = A, string? preferred = null) => Assert.IsType<NameDecision.Forward>(Decide(mesh, name, type, preferred));

    [Theory]
    [InlineData("productpage"), InlineData("productpage.ns1"), InlineData("productpage.ns1.svc"), InlineData("productpage.ns1.svc.cluster.local")]
    public void A_service_is_known_by_each_of_its_names(string name)
    {
        var answer = Answered(Mesh, name, "10.1.0.1");
        Assert.Equal((name, null), (answer.Owner, answer.Alias));
    }

    [Theory]
    [InlineData("example.ns2"), InlineData("example.ns2.svc"), InlineData("example.ns2.svc.cluster.local")]
    public void A_service_of_another_namespace_is_known_by_names_with_its_namespace(string name) => Answered(Mesh, name, "10.1.0.2");

    [Theory]
    [InlineData("example"), InlineData("example.svc"), InlineData("svc.cluster.local"), InlineData("cluster.local"), InlineData("ns1.svc.cluster.local"), InlineData("local"), InlineData("")]
    public void Other_names_are_forwarded(string name) => Forwarded(Mesh, name);

    [Fact]
    public void Names_of_pods_are_forwarded()
    {
        var mesh = Mesh.Service("hl", ns: "ns1").Pod("web-0", "10.0.0.5", ns: "ns1", with: w => w.Backs("hl", ns: "ns1"));
        Forwarded(mesh, "web-0.hl.ns1.svc.cluster.local");
        Forwarded(mesh, "web-0.hl.ns1.svc");
        Forwarded(mesh, "web-0.hl");
        Forwarded(mesh, "10-0-0-5.ns1.pod.cluster.local");
    }

    [Theory]
    [InlineData("www.google.com.ns1.svc.cluster.local"), InlineData("www.google.com.svc.cluster.local"), InlineData("www.google.com.cluster.local")]
    public void An_entrys_host_with_a_search_domain_is_an_alias(string name)
    {
        var answer = Answered(Mesh.Service("www.google.com", "10.1.0.9", ns: "ns2"), name, "10.1.0.9");
        Assert.Equal(("www.google.com", name), (answer.Owner, answer.Alias));
    }

    [Fact]
    public void Another_namespaces_search_domain_is_not_taken_off() =>
        Forwarded(Mesh.Service("www.google.com", "10.1.0.9", ns: "ns2"), "www.google.com.ns2.svc.cluster.local");

    [Fact]
    public void A_family_the_service_does_not_have_is_empty_and_not_forwarded() => Answered(Mesh, "productpage", "", Aaaa);

    [Fact]
    public void Families_are_those_the_service_allows()
    {
        var mesh = Mesh.Service("both", "10.1.0.3,fd00:1::3", ns: "ns1").Service("four", "10.1.0.4,fd00:1::4", ns: "ns1", with: s => s.IpFamilies = Wds.IPFamilies.Ipv4Only)
            .Service("six", "10.1.0.6,fd00:1::6", ns: "ns1", with: s => s.IpFamilies = Wds.IPFamilies.Ipv6Only);
        Answered(mesh, "both", "10.1.0.3");
        Answered(mesh, "both", "fd00:1::3", Aaaa);
        Answered(mesh, "both", "", Aaaa, ipv6: false);
        Answered(mesh, "four", "", Aaaa);
        Answered(mesh, "six", "", A);
        Answered(mesh, "six", "fd00:1::6", Aaaa);
    }

    [Fact]
    public void The_most_specific_wildcard_wins_and_is_no_alias()
    {
        var mesh = Mesh.Service("*.wildcard", "10.1.0.20", ns: "ns2").Service("*.b.wildcard", "10.1.0.21", ns: "ns2").Service("exact.b.wildcard", "10.1.0.22", ns: "ns2");
        Answered(mesh, "a.wildcard", "10.1.0.20");
        Answered(mesh, "a.b.wildcard", "10.1.0.21");
        Answered(mesh, "x.a.b.wildcard", "10.1.0.21");
        Answered(mesh, "exact.b.wildcard", "10.1.0.22");
        Forwarded(mesh, "wildcard");
        var answer = Answered(mesh, "a.b.wildcard.ns1.svc.cluster.local", "10.1.0.21");
        Assert.Equal(("a.b.wildcard.ns1.svc.cluster.local", null), (answer.Owner, answer.Alias));
    }

    [Fact]
    public void A_headless_service_has_one_address_of_each_healthy_pod()
    {
        var mesh = Mesh.Service("hl", ns: "ns1")
            .Pod("a", "10.0.0.5,fd00::5", ns: "ns1", with: w => w.Backs("hl", ns: "ns1")).Pod("b", "10.0.0.6,10.0.0.60", ns: "ns1", with: w => w.Backs("hl", ns: "ns1"))
            .Pod("sick", "10.0.0.7", ns: "ns1", with: w => { w.Backs("hl", ns: "ns1"); w.Status = Wds.WorkloadStatus.Unhealthy; })
            .Pod("far", "10.0.0.8", ns: "ns1", with: w => { w.Backs("hl", ns: "ns1"); w.Network = "elsewhere"; });
        Answered(mesh, "hl", "10.0.0.5,10.0.0.6");
        Answered(mesh, "hl", "fd00::5", Aaaa);
    }

    [Fact]
    public void A_headless_service_without_endpoints_is_known_and_has_no_address() => Answered(Mesh.Service("hl", ns: "ns1"), "hl", "");

    [Fact]
    public void A_headless_entry_outside_the_clusters_domain_is_forwarded()
    {
        Forwarded(Mesh.Service("db.example.com", ns: "ns1").Pod("db", "10.0.0.5", ns: "ns1", with: w => w.Backs("db.example.com", ns: "ns1")), "db.example.com");
        Forwarded(Mesh.Service("svc.cluster.local", ns: "ns1"), "svc.cluster.local");
        Forwarded(Mesh.Service("xsvc.cluster.local", ns: "ns1"), "xsvc.cluster.local");
    }

    [Fact]
    public void An_entry_without_address_does_not_hide_one_with_an_address()
    {
        var mesh = Mesh.Service("db.example.com", ns: "ns1").Service("db.example.com", "10.1.0.7", ns: "ns2");
        Answered(mesh, "db.example.com", "10.1.0.7");
    }

    [Fact]
    public void Addresses_of_other_networks_are_left_out() =>
        Answered(Mesh.Service("remote", "10.1.0.8", ns: "ns1", with: s => s.Addresses[0].Network = "elsewhere"), "remote", "");

    [Fact]
    public void The_clients_namespace_goes_before_the_canonical_and_the_canonical_before_the_preferred()
    {
        static SharedHost Host(params (string Ns, bool Canonical)[] owners) => new(owners);
        Answered(Host(("ns1", false), ("ns3", true), ("ns4", false)).Built, "www.shared.com", "10.2.0.1", preferred: "ns4");
        Answered(Host(("ns2", false), ("ns3", true), ("ns4", false)).Built, "www.shared.com", "10.2.0.3", preferred: "ns4");
        Answered(Host(("ns2", false), ("ns4", false)).Built, "www.shared.com", "10.2.0.4", preferred: "ns4");
        Answered(Host(("ns2", false), ("ns4", false)).Built, "www.shared.com", "10.2.0.2");
    }

    private sealed class SharedHost((string Ns, bool Canonical)[] owners)
    {
        public MeshBuilder Built
        {
            get
            {
                var mesh = NameResolutionTests.Mesh;
                foreach (var (ns, canonical) in owners) mesh.Service("www.shared.com", $"10.2.0.{ns[2..]}", ns: ns, with: s => s.Canonical = canonical);
                return mesh;
            }
        }
    }

    [Fact]
    public void A_service_visible_in_its_namespace_only_is_forwarded_elsewhere_and_hides_nothing()
    {
        void Private(Wds.Service s) => s.Visibility = Wds.Service.Types.Visibility.Namespace;
        Forwarded(NameResolutionTests.Mesh.Service("secret.com", "10.1.0.5", ns: "ns2", with: Private), "secret.com");
        Answered(NameResolutionTests.Mesh.Service("secret.com", "10.1.0.5", ns: "ns1", with: Private), "secret.com", "10.1.0.5");
        Answered(NameResolutionTests.Mesh.Service("secret.com", "10.1.0.5", ns: "ns2", with: Private).Service("secret.com", "10.1.0.6", ns: "ns3", with: s => s.Canonical = false), "secret.com", "10.1.0.6");
    }

    [Theory]
    [InlineData(15), InlineData(33), InlineData(16), InlineData(255), InlineData(65)]
    public void Other_types_are_forwarded_also_of_known_names(int type) => Forwarded(NameResolutionTests.Mesh, "productpage", (ushort)type);

    [Fact]
    public void Another_class_and_names_that_are_no_host_names_are_forwarded()
    {
        Assert.IsType<NameDecision.Forward>(Decide(NameResolutionTests.Mesh, "productpage", @class: 3));
        var odd = new DnsQuestion(new DnsName("productpage", IsPlain: false), A, 1);
        Assert.IsType<NameDecision.Forward>(NameResolution.Decide(NameResolutionTests.Mesh.Mesh, NameResolutionTests.Mesh.Find("client", "ns1"), odd, new NameSettings("cluster.local", null, true)));
    }

    [Fact]
    public void Nothing_is_told_or_forwarded_for_an_unknown_client() =>
        Assert.IsType<NameDecision.UnknownClient>(NameResolution.Decide(NameResolutionTests.Mesh.Mesh, null, new DnsQuestion(new DnsName("productpage", true), A, 1), new NameSettings("cluster.local", null, true)));

    [Fact]
    public void Loopback_addresses_follow_the_setting()
    {
        Assert.Equal(["127.0.0.1:15053", "[::1]:15053"], DnsProxy.AddressesOf("localhost", 15053, ipv6: true).Select(a => a.ToString()));
        Assert.Equal([new IPEndPoint(IPAddress.Loopback, 53)], DnsProxy.AddressesOf("localhost", 53, ipv6: false));
        Assert.Equal([IPEndPoint.Parse("[fd00::1]:53")], DnsProxy.AddressesOf("fd00::1", 53, ipv6: true));
    }
}
