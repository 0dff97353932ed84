using AmbientMesh.Model.Decoding;
using Google.Protobuf;
using Wds = AmbientMesh.Protocol.Wds;
using Wire = AmbientMesh.Protocol.Security;

namespace AmbientMesh.Model.Tests;

public sealed class DecodingTests
{
    private static string Refusal(Action<Wds.Workload> with)
    {
        var wire = new Wds.Workload { Uid = "u", Name = "n", Namespace = "ns" };
        with(wire);
        Assert.False(AddressDecoding.TryDecode(wire, out _, out var reason));
        return reason;
    }

    private static string Refusal(Action<Wds.Service> with)
    {
        var wire = new Wds.Service { Name = "n", Namespace = "ns", Hostname = "h" };
        with(wire);
        Assert.False(AddressDecoding.TryDecode(wire, out MeshService? _, out var reason));
        return reason;
    }

    [Fact, Scenario("L4-132")]
    public void Reasons_for_refused_resources_read_as_recorded()
    {
        Assert.Equal("failed to parse address, had 3 bytes", Refusal((Wds.Workload w) => w.Addresses.Add(ByteString.CopyFrom(1, 2, 3))));
        Assert.Equal("decode error: unknown enumeration value 99", Refusal((Wds.Workload w) => w.TunnelProtocol = (Wds.TunnelProtocol)99));
        Assert.Equal("unknown enum: unsupported tunnel protocol: legacy istio mtls", Refusal((Wds.Workload w) => w.TunnelProtocol = Wds.TunnelProtocol.LegacyIstioMtls));
        Assert.False(PolicyDecoding.TryDecode(new Wire.Authorization { Action = (Wire.Action)9 }, out _, out var reason));
        Assert.Equal("decode error: unknown enumeration value 9", reason);
    }

    [Fact]
    public void What_could_be_misread_is_refused()
    {
        Assert.Contains("without destination", Refusal((Wds.Workload w) => w.Waypoint = new Wds.GatewayAddress { HboneMtlsPort = 15008 }));
        Assert.Contains("namespaced hostname: nohost", Refusal((Wds.Workload w) => w.Services["nohost"] = new Wds.PortList()));
        Assert.Contains("policy name: p", Refusal((Wds.Workload w) => w.AuthorizationPolicies.Add("p")));
        Assert.Contains("port 70000", Refusal((Wds.Workload w) => w.ApplicationTunnel = new Wds.ApplicationTunnel { Port = 70000 }));
        Assert.Contains("value 7", Refusal((Wds.Workload w) => w.Status = (Wds.WorkloadStatus)7));
        Assert.Contains("prefix length 33", Refusal((Wds.Service s) => s.Addresses.Add(new Wds.NetworkAddress { Address = MeshBuilder.Bytes("10.0.0.0"), Length = 33 })));
        Assert.Contains("without destination", Refusal((Wds.Service s) => s.WeightedWaypoints.Add(new Wds.WeightedWaypoint { Weight = 1 })));
        Assert.Contains("value 12", Refusal((Wds.Service s) => s.LoadBalancing = new Wds.LoadBalancing { Mode = (Wds.LoadBalancing.Types.Mode)12 }));
    }

    [Fact]
    public void A_policy_that_asks_nothing_understandable_is_refused()
    {
        var wire = new Wire.Authorization { Name = "p", Namespace = "ns" };
        wire.Rules.Add(new Wire.Rule { Clauses = { new Wire.Clause { Matches = { new Wire.Match { Principals = { new Wire.StringMatch() } } } } } });
        Assert.False(PolicyDecoding.TryDecode(wire, out _, out var reason));
        Assert.Equal("unknown string match", reason);
    }

    [Fact]
    public void Empty_strings_mean_the_documented_defaults()
    {
        Assert.True(AddressDecoding.TryDecode(new Wds.Workload { Uid = "u" }, out Workload? workload, out _));
        Assert.Equal(new SpiffeId("cluster.local", "", "default"), workload.Identity);
        Assert.Equal("Kubernetes", workload.ClusterId);
        Assert.Equal(1u, workload.Capacity);
        Assert.True(workload.IsHealthy);
        Assert.False(workload.SpeaksHbone);
    }

    [Fact]
    public void Every_recorded_resource_is_understood()
    {
        var folder = Samples.Path("samples/ztunnel/xds/resources");
        var read = 0;
        foreach (var file in Directory.EnumerateFiles(folder, "*.hex"))
        {
            var bytes = Convert.FromHexString(File.ReadAllText(file).Trim());
            string? reason;
            var usable = Path.GetFileName(file).StartsWith("authorization", StringComparison.Ordinal)
                ? PolicyDecoding.TryDecode(Wire.Authorization.Parser.ParseFrom(bytes), out _, out reason)
                : Wds.Address.Parser.ParseFrom(bytes) is { TypeCase: Wds.Address.TypeOneofCase.Workload } address
                    ? AddressDecoding.TryDecode(address.Workload, out Workload? _, out reason)
                    : AddressDecoding.TryDecode(Wds.Address.Parser.ParseFrom(bytes).Service, out MeshService? _, out reason);
            Assert.True(usable, $"{file}: {reason}");
            read++;
        }
        Assert.True(read > 25, $"only {read} recordings found");
    }

    [Theory]
    [InlineData("10s", 10_000)]
    [InlineData("1m30s", 90_000)]
    [InlineData("1.5h", 5_400_000)]
    [InlineData("250ms", 250)]
    [InlineData("0", 0)]
    [InlineData("0s", 0)]
    public void Go_durations_are_read(string text, long milliseconds)
    {
        Assert.True(GoDuration.TryParse(text, out var duration));
        Assert.Equal(TimeSpan.FromMilliseconds(milliseconds), duration);
    }

    [Theory]
    [InlineData("")]
    [InlineData("10")]
    [InlineData("-1s")]
    [InlineData("s")]
    [InlineData("1d")]
    [InlineData("1s2")]
    [InlineData("1..2s")]
    [InlineData("99999999999h")]
    public void Other_durations_are_refused(string text) => Assert.False(GoDuration.TryParse(text, out _));
}
