using System.Diagnostics;
using System.Text;
using System.Text.Json;
using AmbientMesh.Model;
using AmbientMesh.Model.Decoding;
using AmbientMesh.Model.Explanation;
using AmbientMesh.Telemetry;
using AmbientMesh.Testing;
using AmbientMesh.Ztunnel.Admin;
using AmbientMesh.Ztunnel.Certificates;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.Explain;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.Reporting;
using Google.Protobuf;
using Microsoft.Extensions.Logging.Abstractions;
using Wds = AmbientMesh.Protocol.Wds;
using Wire = AmbientMesh.Protocol.Security;

namespace AmbientMesh.Fuzz.Targets;

/// <summary>Requests to ztunnel's pages, as they are after <see cref="AdminHttpTarget"/>: line one is the method and the target, further lines are headers.</summary>
public sealed class AdminPagesTarget : FuzzTarget
{
    private readonly AdminPages _pages;
    private readonly MetricRegistry _metrics = new();
    private readonly LogFilter _levels = LogFilter.Parse("info");
    private readonly Readiness _readiness = new();

    public AdminPagesTarget()
    {
        var clock = new FakeTimeProvider();
        var svids = new SvidStore((id, _) => throw new SvidUnavailableException($"no authority for {id}"), clock, NullLogger.Instance);
        var reports = new ConnectionReports(new TcpMetrics(_metrics), new AccessLog(NullLoggerFactory.Instance), clock);
        var services = new ProxyServices(Mesh(), svids, reports, new ZtunnelSettings { NodeName = "n" }, clock, NullLoggerFactory.Instance);
        var pods = new PodTable(_ => Task.FromException<IPodProxy>(new IOException("none here")), new Readiness(), _metrics, NullLogger.Instance);
        var coverage = new CoveragePage("n", services.Metrics, pods, () => { }, clock);
        _pages = new AdminPages(new ConfigDump(services.Settings, services, pods, "test"), new ConnectionsPage(() => [], reports.Ended, clock), coverage,
            new ExplainPage(services, () => [(new WorkloadInfo("client", "default", "client"), true)], "test"), _levels, () => { });
    }

    public override string Name => "admin-pages";
    public override string Purpose => "paths, queries and headers of ztunnel's pages: an answer of the documented statuses and forms; nothing but POST changes anything; explanations are read as they were written";
    public override int MaxBytes => 2048;

    public override IEnumerable<byte[]> Seeds() => SeedBytes.Words(
        "GET /debug/explain?from=default/client&to=server.default:80", "GET /debug/explain?from=default/client&to=10.96.0.1:80&captured=false",
        "GET /debug/explain?side=inbound&pod=default/server&to=10.0.0.2:80&source=10.0.0.1&identity=spiffe://cluster.local/ns/default/sa/client&address=10.0.0.2",
        "GET /debug/explain?side=inbound&pod=default/server&to=server:80&source=10.0.0.1&identity=spiffe%3A%2F%2Fcluster.local%2Fns%2Fdefault%2Fsa%2Fclient",
        "GET /debug/connections?id=0af7651916cd43dd8448eb211c80319c&state=open&reason=any&limit=10", "GET /debug/coverage?limit=0", "POST /logging?level=info,a::b=debug", "POST /logging?reset", "GET /config_dump",
        "GET /debug/pprof/profile?seconds=1&frequency=5", "GET /metrics\naccept: application/openmetrics-text\naccept-encoding: gzip;q=0.5, br;q=1.0, *;q=0", "GET /healthz/ready", "POST /quitquitquit");

    public override IEnumerable<byte[]> Words() => SeedBytes.Words("/debug/explain?", "/debug/connections?", "/logging?level=", "from=default/client", "&to=", "&side=inbound", "&pod=default/server", "&source=", "::1", "[::1]:1", "&identity=spiffe://", "&address=", "&limit=", "%2f", "%", "+", "=", "&", "\naccept-encoding: ", "gzip;q=", "*", "99999999999", ".default.svc.cluster.local:80", "10.0.0.2:80", "localhost:1");

    public override void Run(byte[] input)
    {
        var lines = Encoding.Latin1.GetString(input).Split('\n');
        if (lines[0].Split(' ') is not [var method, ['/', ..] target]) return;
        var question = target.IndexOf('?');
        var headers = lines.Skip(1).Select(l => l.Split(": ", 2)).Where(l => l.Length == 2).DistinctBy(l => l[0]).ToDictionary(l => l[0], l => l[1]);
        var request = new HttpEndpointRequest(method, question < 0 ? target : target[..question], question < 0 ? "" : target[(question + 1)..], headers, default);
        _levels.Reset();
        CheckAnswer(request, _pages.Answer(request));
        if (method != "POST") Demand.Equal("info", _levels.ToString(), "only POST changes log levels");
        if (method == "POST" && request.Path == "/logging") Demand.Equal(_levels.ToString(), LogFilter.Parse(_levels.ToString()).ToString(), "log levels");
        foreach (var format in Enum.GetValues<MetricFormat>()) Demand.That(StandardEndpoints.Metrics(request, _metrics, format).Status is 200 or 404, "metrics are served or are not there");
        Demand.That(StandardEndpoints.Ready(request, _readiness).Status is 200 or 404 or 405 or 500, "a readiness has its statuses");
    }

    private static void CheckAnswer(HttpEndpointRequest request, HttpEndpointResponse answer)
    {
        Demand.That(answer.Status is 200 or 400 or 404 or 405 or 501, $"an answer has one of the documented statuses: {answer.Status}");
        Demand.That(answer.Status != 400 || answer.Body.Length > 0, "a refusal has a reason");
        if (answer.ContentType != "application/json" || answer.Status != 200) return;
        if (request.Path != "/debug/explain")
        {
            using var document = JsonDocument.Parse(answer.Body);
            return;
        }
        if (request.QueryValue("side") == "inbound") CheckInbound(JsonSerializer.Deserialize(answer.Body.Span, ExplanationJson.Default.InboundExplanation)!);
        else CheckOutbound(JsonSerializer.Deserialize(answer.Body.Span, ExplanationJson.Default.OutboundExplanation)!, request.QueryValue("captured") == "false");
    }

    private static void CheckOutbound(OutboundExplanation said, bool isDirect)
    {
        Demand.That(said.Routes.Count == 0 || Math.Abs(said.Routes.Sum(r => r.Share) - 1) < 1e-6 || said.HasMoreRoutes, $"the ways together are all: {said.Routes.Sum(r => r.Share)}");
        Demand.That(!isDirect || said.Routes.All(r => r.Kind != RouteKind.Hbone), "a pod that is not captured has no tunnel");
        foreach (var route in said.Routes.Where(r => r.Kind == RouteKind.Hbone)) Demand.That(route.ExpectedIdentities.Count > 0, "behind a tunnel an identity is expected");
    }

    private static void CheckInbound(InboundExplanation said)
    {
        if (said.Refusal is null) Demand.That(said.Peer == "spiffe://cluster.local/ns/default/sa/client" && said.Destination?.EndsWith(":80", StringComparison.Ordinal) == true, $"only whom the policy names is let in: {said.Peer} to {said.Destination}");
    }

    /// <summary>A client, and a server that lets nobody in but the client, on port 80.</summary>
    private static MeshStore Mesh()
    {
        var service = new Wds.Service
        {
            Name = "server",
            Namespace = "default",
            Hostname = "server.default.svc.cluster.local",
            Canonical = true,
            Addresses = { new Wds.NetworkAddress { Address = ByteString.CopyFrom(10, 96, 0, 1) } },
            Ports = { new Wds.Port { ServicePort = 80, TargetPort = 80 } },
        };
        var policy = new Wire.Authorization
        {
            Name = "p",
            Namespace = "default",
            Scope = Wire.Scope.WorkloadSelector,
            Action = Wire.Action.Allow,
            Rules = { new Wire.Rule { Clauses = { new Wire.Clause { Matches = { new Wire.Match { Principals = { new Wire.StringMatch { Exact = "cluster.local/ns/default/sa/client" } }, DestinationPorts = { 80 } } } } } } },
        };
        var store = new MeshStore("n");
        store.Edit(edit =>
        {
            edit.Set(Pod("client", 1, _ => { }));
            edit.Set(Pod("server", 2, pod =>
            {
                pod.AuthorizationPolicies.Add("default/p");
                pod.Services["default/server.default.svc.cluster.local"] = new Wds.PortList { Ports = { service.Ports } };
            }));
            edit.Set(AddressDecoding.TryDecode(service, out MeshService? read, out _) ? read : throw new UnreachableException());
            edit.Set(PolicyDecoding.TryDecode(policy, out var rule, out _) ? rule : throw new UnreachableException());
        });
        return store;
    }

    private static Workload Pod(string name, byte host, Action<Wds.Workload> with)
    {
        var wire = new Wds.Workload { Uid = $"Kubernetes//Pod/default/{name}", Name = name, Namespace = "default", ServiceAccount = name, Node = "n", TunnelProtocol = Wds.TunnelProtocol.Hbone, Addresses = { ByteString.CopyFrom(10, 0, 0, host) } };
        with(wire);
        return AddressDecoding.TryDecode(wire, out Workload? workload, out _) ? workload : throw new UnreachableException();
    }
}
