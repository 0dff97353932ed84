using System.Net;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Ztunnel.Configuration;

namespace AmbientMesh.Ztunnel.Tests.Configuration;

public sealed class StaticResourcesTests
{
    private const string Everything = """
        workloads:
        - uid: cluster1//v1/Pod/default/local
          name: local
          namespace: default
          serviceAccount: default
          trustDomain: example.org
          network: ""
          workloadIps: ["127.0.0.1", "fd00::1"]
          protocol: HBONE
          networkMode: Standard
          workloadName: local
          workloadType: pod
          canonicalName: local
          canonicalRevision: v2
          node: n1
          nativeTunnel: true
          applicationTunnel: {protocol: PROXY, port: 15088}
          authorizationPolicies: [default/deny]
          status: Unhealthy
          clusterId: c1
          locality: {region: r, zone: z, subzone: s}
          capacity: 3
          waypoint: {destination: "/127.0.0.10", hboneMtlsPort: 15009}
          networkGateway: {destination: default/gw.example.com}
          services:
            default/local.default.svc.cluster.local: {80: 8080, 443: 0}
            default/other.default.svc.cluster.local:
        - {namespace: default, name: named, hostname: db.example.com}
        services:
        - name: local
          namespace: default
          hostname: local.default.svc.cluster.local
          vips: ["/127.10.0.1", "net2/10.0.0.1"]
          cidrVips: ["/10.9.0.0/16"]
          ports: {80: 8080}
          subjectAltNames: [spiffe://cluster.local/ns/default/sa/a]
          weightedWaypoints: [{destination: {destination: "/127.0.0.11", hboneMtlsPort: 15008}, weight: 9}]
          loadBalancer: {mode: Failover, healthPolicy: AllowAll, routingPreferences: [Network, Region]}
          ipFamilies: IPv4Only
          canonical: true
          visibility: Namespace
        policies:
        - name: deny
          namespace: default
          scope: WorkloadSelector
          action: Deny
          dryRun: true
          rules:
          - - - principals: [{Exact: spiffe://a}, {Prefix: spiffe://b}, {Suffix: c}, {Presence: []}]
                notNamespaces: [{exact: x}]
                sourceIps: [10.0.0.0/8, "::1"]
                destinationPorts: [80]
                serviceAccounts: [{namespace: default, serviceAccount: web}]
        """;

    [Fact]
    public void Every_field_is_read()
    {
        var read = StaticResources.Read(Everything);
        var workload = read.Workloads[0];
        Assert.Equal(["127.0.0.1", "fd00::1"], workload.Addresses.Select(a => a.ToString()));
        Assert.Equal(("example.org", "c1", 3u), (workload.TrustDomain, workload.ClusterId, workload.Capacity));
        Assert.True(workload is { SpeaksHbone: true, NativeTunnel: true, IsHealthy: false, IsHostNetwork: false, Kind: WorkloadKind.Pod });
        Assert.Equal(new ApplicationTunnel(true, 15088), workload.ApplicationTunnel);
        Assert.Equal(new GatewayAddress.ByAddress(new NetworkAddress("", IPAddress.Parse("127.0.0.10")), 15009), workload.Waypoint);
        Assert.Equal(new GatewayAddress.ByHostname(new ServiceName("default", "gw.example.com"), 15008), workload.NetworkGateway);
        Assert.Equal(["default/local.default.svc.cluster.local 2", "default/other.default.svc.cluster.local 0"], workload.Services.Select(s => $"{s.Service} {s.Ports.All.Count}"));
        Assert.Equal(("db.example.com", "static/default/named"), (read.Workloads[1].Hostname, read.Workloads[1].Uid));

        var service = Assert.Single(read.Services);
        Assert.Equal(["/127.10.0.1", "net2/10.0.0.1"], service.Vips.Select(v => v.ToString()));
        Assert.Equal("/10.9.0.0/16", Assert.Single(service.CidrVips).ToString());
        Assert.True(service is { IsCanonical: true, IsNamespacePrivate: true, IpFamilies: IpFamilies.IPv4Only, LoadBalancing: { Mode: LoadBalancingMode.Failover, AllowsUnhealthy: true, Preference.Length: 2 } });
        Assert.Equal(9u, Assert.Single(service.WeightedWaypoints).Weight);

        var policy = Assert.Single(read.Policies);
        Assert.True(policy is { IsDryRun: true, Action: PolicyAction.Deny, Scope: PolicyScope.WorkloadSelector });
        var match = policy.Rules[0].Clauses[0].Alternatives[0];
        Assert.Equal((4, 1, 2, 1), (match.Principals.Length, match.NotNamespaces.Length, match.SourceIps.Length, match.ServiceAccounts.Length));

        var mesh = new MeshStore();
        read.AddTo(mesh);
        Assert.Equal("local", mesh.Current.FindService(new NetworkAddress("", IPAddress.Parse("127.10.0.1")), "default")?.Name);
        Assert.Single(mesh.Current.Endpoints(service));
    }

    [Theory]
    [InlineData("workloads: [{namespace: a, colour: red}]", "workloads[0].colour is unknown; expected ")]
    [InlineData("workloads: [{name: a}]", "workloads[0].namespace is required")]
    [InlineData("workloads: [{namespace: a, protocol: UDP}]", "workloads[0].protocol is \"UDP\"; expected TCP, HBONE")]
    [InlineData("workloads: [{namespace: a, workloadIps: [x]}]", "workloads[0].workloadIps[0] is \"x\"; expected an IP address")]
    [InlineData("workloads: [{namespace: a, waypoint: {destination: x}}]", "workloads[0].waypoint.destination is \"x\"; expected network/ip or namespace/hostname")]
    [InlineData("workloads: [{namespace: a, services: {noslash: {80: 80}}}]", "workloads[0]: failed to parse namespaced hostname: noslash")]
    [InlineData("workloads: {}", "workloads is no list")]
    [InlineData("services: [{namespace: a, hostname: h, ports: {x: 1}}]", "services[0].ports.x is \"x\"; expected a number from 0 to 65535")]
    [InlineData("services: [{namespace: a, hostname: h, cidrVips: [/10.0.0.0/64]}]", "services[0].cidrVips[0] is \"64\"; expected a number from 0 to 32")]
    [InlineData("policies: [{name: p, rules: [[[{principals: [{Regex: x}]}]]]}]", "policies[0].rules[0][0][0].principals[0].Regex is unknown; expected Exact, Prefix, Suffix or Presence")]
    [InlineData("policies: [{name: p, rules: [{}]}]", "policies[0].rules[0] is no list")]
    [InlineData("workload: []", "workload is unknown; expected policies, services, workloads")]
    [InlineData("workloads: [{namespace: a, namespace: b}]", "\"namespace\" is there twice")]
    [InlineData("a: &x [1]\nb: *x", "is not supported")]
    [InlineData("{", "")]
    public void What_cannot_be_is_refused_and_named(string yaml, string problem) =>
        Assert.Contains(problem, Assert.Throws<FormatException>(() => StaticResources.Read(yaml)).Message, StringComparison.Ordinal);

    [Fact]
    public void Depth_is_bounded() => Assert.Throws<FormatException>(() => StaticResources.Read(new string('[', 100_000)));

    [Theory]
    [InlineData(""), InlineData("# nothing"), InlineData("---\n")]
    public void Nothing_is_nothing(string yaml) => Assert.True(StaticResources.Read(yaml).IsEmpty);
}
