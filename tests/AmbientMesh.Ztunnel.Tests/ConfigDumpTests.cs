using System.Text.Json.Nodes;
using AmbientMesh.Identity;
using AmbientMesh.Model;
using AmbientMesh.Protocol.Discovery;
using AmbientMesh.Telemetry;
using AmbientMesh.Xds;
using AmbientMesh.Ztunnel.Admin;
using AmbientMesh.Ztunnel.Certificates;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.Reporting;
using AmbientMesh.Ztunnel.State;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.Ztunnel.Tests;

/// <summary>The configuration dump beside the recorded one, for the resources both hold.</summary>
public sealed class ConfigDumpTests
{
    private readonly FakeTimeProvider _clock = new();
    private readonly MeshStore _mesh = new("n1");

    private JsonObject Dump(SvidStore svids)
    {
        var settings = new ZtunnelSettings();
        var registry = new MetricRegistry();
        var services = new ProxyServices(_mesh, svids, new ConnectionReports(new TcpMetrics(registry), new AccessLog(NullLoggerFactory.Instance), _clock), settings, _clock, NullLoggerFactory.Instance);
        var pods = new PodTable(_ => Task.FromException<IPodProxy>(new IOException("none here")), new Readiness(), registry, NullLogger.Instance);
        return JsonNode.Parse(new ConfigDump(settings, services, pods, "test").Write().Span)!.AsObject();
    }

    private void Load(string pattern, IResourceHandler handler)
    {
        foreach (var file in Directory.EnumerateFiles(Samples.Path("samples/ztunnel/xds/resources"), pattern))
        {
            var any = new Any { TypeUrl = handler.TypeUrl, Value = ByteString.CopyFrom(Convert.FromHexString(File.ReadAllText(file).Trim())) };
            Assert.Empty(handler.Apply([new Resource { Name = Path.GetFileName(file), Resource_ = any }], []));
        }
    }

    [Fact]
    public async Task Services_and_policies_read_as_recorded()
    {
        Load("service-*.hex", new AddressHandler(_mesh));
        Load("authorization-*.hex", new AuthorizationHandler(_mesh, NullLogger.Instance));
        await using var svids = Empty();
        var ours = Dump(svids);
        var recorded = Recorded();
        Assert.Equal(recorded.Select(p => p.Key), ours.Select(p => p.Key));
        foreach (var (section, key) in ((string, string)[])[("services", "hostname"), ("policies", "name")])
            foreach (var entry in recorded[section]!.AsArray())
                Assert.Null(Difference(entry!, ours[section]!.AsArray().Single(e => e![key]!.GetValue<string>() == entry![key]!.GetValue<string>())!));
    }

    [Fact]
    public async Task Workloads_read_as_recorded()
    {
        foreach (var entry in Recorded()["workloads"]!.AsArray())
        {
            // A workload was recorded in several versions; one of them was in force at the time of the dump.
            var differences = new List<string?>();
            foreach (var file in Directory.EnumerateFiles(Samples.Path("samples/ztunnel/xds/resources"), $"workload-*_default_{entry!["name"]}*.hex"))
            {
                var mesh = new ConfigDumpTests();
                mesh.Load(Path.GetFileName(file), new AddressHandler(mesh._mesh));
                await using var svids = Empty();
                differences.Add(Difference(entry, mesh.Dump(svids)["workloads"]![0]!));
            }
            Assert.True(differences.Contains(null), $"{entry["uid"]}: {string.Join("; ", differences)}");
        }
    }

    private SvidStore Empty() => new((_, _) => throw new SvidUnavailableException("away"), _clock, NullLogger.Instance);

    private static JsonObject Recorded() => JsonNode.Parse(Samples.Text("samples/ztunnel/telemetry/config_dump.json"))!.AsObject();

    // The recorded order of a workload's services is that of a hash table.
    private static JsonNode? Sorted(JsonNode? node) =>
        node is JsonArray list && list.All(e => e is JsonValue v && v.TryGetValue<string>(out _)) ? new JsonArray([.. list.Select(e => e!.GetValue<string>()).Order(StringComparer.Ordinal)]) : node;

    private static string? Difference(JsonNode recorded, JsonNode ours)
    {
        var names = recorded.AsObject().Select(p => p.Key).Union(ours.AsObject().Select(p => p.Key));
        // Which endpoints a service had depends on the versions of its workloads.
        return names.Where(name => name is not "endpoints" && !JsonNode.DeepEquals(Sorted(recorded[name]), Sorted(ours[name])))
            .Select(name => $"{name} is {ours[name]?.ToJsonString()}, recorded {recorded[name]?.ToJsonString()}").FirstOrDefault();
    }

    [Fact]
    public async Task Certificates_show_their_state_and_no_key()
    {
        var ca = CertificateAuthority.CreateSelfSigned("cluster.local", _clock);
        await using var svids = new SvidStore((id, _) => id.ServiceAccount == "good" ? Task.FromResult(ca.IssueSvid(id)) : throw new SvidUnavailableException("away"), _clock, NullLogger.Instance);
        await svids.GetAsync(new SpiffeId("cluster.local", "default", "good"), Patience.Token);
        await Assert.ThrowsAsync<SvidUnavailableException>(() => svids.GetAsync(new SpiffeId("cluster.local", "default", "bad"), Patience.Token).AsTask());
        var dump = Dump(svids);
        var certificates = dump["certificates"]!.AsArray();
        Assert.Equal("Unavailable: away", certificates[0]!["state"]!.GetValue<string>());
        Assert.Equal("Available", certificates[1]!["state"]!.GetValue<string>());
        var leaf = certificates[1]!["certChain"]![0]!.AsObject();
        Assert.Equal(["expirationTime", "pem", "serialNumber", "validFrom"], leaf.Select(p => p.Key));
        Assert.DoesNotContain("PRIVATE", System.Text.Encoding.ASCII.GetString(Convert.FromBase64String(leaf["pem"]!.GetValue<string>())));
        Assert.DoesNotContain("PRIVATE", dump.ToJsonString());
    }
}
