using AmbientMesh.Model;
using AmbientMesh.Ztunnel.Configuration;

namespace AmbientMesh.Ztunnel.Tests.Configuration;

public sealed class ProxyConfigTests
{
    private static ZtunnelSettings Read(out IReadOnlyList<string> problems, string? mesh = null, params (string Name, string Value)[] environment) =>
        SettingsReader.Read(environment.ToDictionary(e => e.Name, e => e.Value), _ => true, out problems, path => path.EndsWith("config/mesh", StringComparison.Ordinal) ? mesh : path == "/static" ? "workloads: [{namespace: a, name: b}]" : null, processors: 8);

    private static ZtunnelSettings Usable(string? mesh = null, params (string, string)[] environment)
    {
        var settings = Read(out var problems, mesh, environment);
        Assert.Empty(problems);
        return settings;
    }

    private static void Refused(string expected, params (string, string)[] environment)
    {
        Read(out var problems, null, environment);
        Assert.Contains(problems, problem => problem.Contains(expected, StringComparison.Ordinal));
    }

    private const string Mesh = """
        accessLogFile: /dev/stdout
        defaultConfig:
          discoveryAddress: istiod.mesh:15012
          proxyAdminPort: 15100
          statsPort: 15120
          concurrency: 3
          tracing: {}
          proxyMetadata: {A: mesh, ISTIO_META_B: mesh, DNS_PROXY_ADDR: "127.0.0.1:5353"}
        trustDomain: cluster.local
        """;

    [Fact]
    public void The_mesh_file_the_proxys_own_configuration_and_the_environment_count_in_this_order()
    {
        var mesh = Usable(Mesh);
        Assert.Equal(("https://istiod.mesh:15012/", 15100, 15120, 3), (mesh.XdsAddress!.ToString(), mesh.AdminPort, mesh.StatsPort, mesh.WorkerThreads));
        Assert.Equal(("127.0.0.1", (ushort)5353, true), (mesh.DnsProxyHost, mesh.DnsProxyPort, mesh.DnsProxy));

        var own = Usable(Mesh, ("PROXY_CONFIG", "{discoveryAddress: 'istiod.own:15012', concurrency: 0, proxyMetadata: {B: own, DNS_CAPTURE: 'false'}}"), ("ISTIO_META_B", "environment"));
        Assert.Equal(("https://istiod.own:15012/", 15100, 8, false), (own.XdsAddress!.ToString(), own.AdminPort, own.WorkerThreads, own.DnsProxy));
        Assert.Equal(("mesh", "environment"), (own.Metadata["A"], own.Metadata["B"]));

        Assert.Equal("https://istiod.env:15012/", Usable(Mesh, ("XDS_ADDRESS", "istiod.env:15012")).XdsAddress!.ToString());
        Assert.Equal("https://localhost:15012/", Usable(Mesh).CaAddress!.ToString());
    }

    [Fact]
    public void What_cannot_be_read_is_named()
    {
        Refused("PROXY_CONFIG cannot be read: statsPort is \"many\"", ("PROXY_CONFIG", "statsPort: many"));
        Refused("DNS_PROXY_ADDR of the proxy's metadata is \"nowhere\"", ("ISTIO_META_DNS_PROXY_ADDR", "nowhere"));
        Read(out var problems, "defaultConfig: [");
        Assert.Contains(problems, problem => problem.StartsWith("./etc/istio/config/mesh cannot be read", StringComparison.Ordinal));
    }

    [Fact]
    public void Static_resources_come_from_a_variable_or_a_file()
    {
        Assert.Single(Usable(null, ("LOCAL_XDS", "services: [{namespace: a, hostname: b}]")).Static.Services);
        Assert.Equal("b", Assert.Single(Usable(null, ("LOCAL_XDS_PATH", "/static")).Static.Workloads).Name);
        Refused("set one of them", ("LOCAL_XDS", "{}"), ("LOCAL_XDS_PATH", "/static"));
        Refused("LOCAL_XDS_PATH names /nowhere", ("LOCAL_XDS_PATH", "/nowhere"));
        Refused("LOCAL_XDS cannot be read: workloads[0].x is unknown", ("LOCAL_XDS", "workloads: [{namespace: a, x: 1}]"));
    }

    [Fact]
    public void A_dedicated_proxy_is_told_its_workload()
    {
        Assert.Equal(new WorkloadInfo("web", "shop", "web-sa"), Usable(null, ("PROXY_MODE", "dedicated"), ("PROXY_WORKLOAD_INFO", "shop/web/web-sa")).DedicatedWorkload);
        Assert.Null(Usable(null, ("PROXY_WORKLOAD_INFO", "shop/web/web-sa")).DedicatedWorkload);
        Refused("PROXY_WORKLOAD_INFO is \"shop/web\"", ("PROXY_MODE", "dedicated"), ("PROXY_WORKLOAD_INFO", "shop/web"));
        Refused("PROXY_WORKLOAD_INFO is \"\"", ("PROXY_MODE", "dedicated"));
        Refused("PROXY_MODE is \"both\"", ("PROXY_MODE", "both"));
    }

    [Fact]
    public void Addresses_on_demand_and_the_dns_proxy_exclude_each_other()
    {
        Refused("DNS proxy", ("XDS_ON_DEMAND", "true"));
        Assert.True(Usable(null, ("XDS_ON_DEMAND", "true"), ("ISTIO_META_DNS_CAPTURE", "false")) is { XdsOnDemand: true, DnsProxy: false });
        Assert.True(Usable(null, ("ISTIO_META_DNS_CAPTURE", "TRUE")).DnsProxy);
    }

    [Theory]
    [InlineData(null, null, null, null, 8, 2)]
    [InlineData(null, null, null, null, 64, 16)]
    [InlineData(null, null, null, 5, 8, 5)]
    [InlineData(null, null, 4, 2, 8, 4)]
    [InlineData(null, null, 1, 3, 8, 3)]
    [InlineData(null, 6, 1, null, 8, 6)]
    [InlineData(null, 0, 1, null, 8, 8)]
    [InlineData("0", 6, 1, null, 8, 8)]
    [InlineData("3", 6, 1, null, 8, 3)]
    [InlineData("50%", null, null, null, 5, 3)]
    [InlineData("1%", null, null, null, 2, 1)]
    public void Threads_follow_the_explicit_number_then_the_configuration_then_the_containers_share(string? asked, int? concurrency, int? limit, int? request, int processors, int expected) =>
        Assert.Equal(expected, WorkerThreads.Count(asked, concurrency, limit, request, processors));

    [Theory]
    [InlineData("many"), InlineData("-1"), InlineData("101%"), InlineData("%")]
    public void Other_numbers_of_threads_are_refused(string asked) => Refused($"ZTUNNEL_WORKER_THREADS is \"{asked}\"", ("ZTUNNEL_WORKER_THREADS", asked));
}
