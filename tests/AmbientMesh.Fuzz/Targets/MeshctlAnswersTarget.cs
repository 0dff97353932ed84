extern alias meshctl;

using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Kubernetes;
using AmbientMesh.Model.Explanation;
using meshctl::AmbientMesh.Cli.CommandLine;
using meshctl::AmbientMesh.Cli.Coverage;
using meshctl::AmbientMesh.Cli.Explain;
using meshctl::AmbientMesh.Cli.Output;
using meshctl::AmbientMesh.Cli.Reaching;
using meshctl::AmbientMesh.Cli.Status;
using meshctl::AmbientMesh.Cli.ZtunnelConfig;

namespace AmbientMesh.Fuzz.Targets;

/// <summary>What parts of any version and vendor answer to meshctl, and dumps in files. The first byte chooses the page.</summary>
public sealed class MeshctlAnswersTarget : FuzzTarget
{
    private static readonly DateTimeOffset Now = DateTimeOffset.UnixEpoch.AddYears(56);
    private static readonly Pod Asked = new()
    {
        Metadata = new ObjectMeta { Name = "p", Namespace = "ns", Uid = "u" },
        Status = new PodStatus { Phase = "Running", PodIP = "10.0.0.1", PodIPs = [new PodAddress { Ip = "10.0.0.1" }] },
    };

    public override string Name => "meshctl-answers";
    public override string Purpose => "configuration dumps, explanations, statuses, coverage, remembered connections: shown, or refused with a reason; nothing in them reaches the terminal but as text";
    public override long MaxAllocatedBytes(int inputBytes) => (16 << 20) + (inputBytes * 16384L);

    public override IEnumerable<byte[]> Seeds() =>
    [
        SeedBytes.Of(0, """{"workloads":[{"uid":"k//Pod/ns/p","name":"p","namespace":"ns","workloadIps":["10.0.0.1"],"node":"n","protocol":"HBONE","waypoint":{"destination":"/10.1.0.1"}}],"services":[{"name":"s","namespace":"ns","hostname":"s.ns.svc","vips":["/10.1.0.1"],"cidrVips":[],"endpoints":{"k":{"status":"Healthy"}}}],"policies":[{"name":"p","namespace":"ns","action":"Allow","scope":"Namespace"}],"certificates":[{"identity":"spiffe://td/ns/a/sa/b","state":"Available","certChain":[{"serialNumber":"123456789012345678901234567890","validFrom":"2026-01-01T00:00:00Z","expirationTime":"2026-01-02T00:00:00Z"}],"rootCerts":[]}],"workloadState":{"u":{"state":"Up","info":{"name":"p","namespace":"ns"},"connections":{"inbound":[{"src":"10.0.0.2:1","originalDst":"10.0.0.1:80","actualDst":"10.0.0.1:80","protocol":"HBONE"}],"outbound":[]}}}}"""),
        SeedBytes.Of(1, """{"by":{"node":"n","version":"1"},"source":{"uid":"k//Pod/ns/p","name":"p","namespace":"ns","node":"n","addresses":["10.0.0.1"],"identity":"spiffe://td/ns/ns/sa/a","protocol":"HBONE"},"servedAs":"Up","certificate":{"identity":"i","isValid":true,"notAfter":"2026-01-02T00:00:00Z"},"asked":"s:80","name":{"asked":"s","owner":"s.ns.svc","addresses":["10.1.0.1"]},"destination":"10.1.0.1:80","service":{"resource":"ns/s.ns.svc","name":"s","namespace":"ns","hostname":"s.ns.svc"},"searches":[{"service":{"resource":"ns/s","name":"s","namespace":"ns","hostname":"s"},"port":80,"use":"destination","mode":"any","endpoints":[{"workload":{"uid":"k//Pod/ns/q","name":"q","namespace":"ns"},"isCandidate":true,"why":"chosen","port":8080,"weight":1}]}],"routes":[{"share":1,"kind":"Hbone","nextHop":"10.0.0.2:15008","authority":"10.0.0.2:80","expectedIdentities":["spiffe://td/ns/ns/sa/q"],"peer":{"uid":"k//Pod/ns/q","name":"q","namespace":"ns"}}],"resources":[{"kind":"workload","name":"w","digest":"1"},{"kind":"workload","name":"w","digest":"2"}]}"""),
        SeedBytes.Of(1, """{"refusal":{"reason":"policy-denied","text":"t","decidedBy":{"kind":"AuthorizationPolicy","name":"ns/p","detail":"rule 0"}},"routes":[{"kind":"Refused","refusal":{"reason":"no-route","text":"x"}}]}"""),
        SeedBytes.Of(2, """{"by":{"node":"n"},"pod":{"uid":"u","name":"q","namespace":"ns","identity":"spiffe://td/ns/ns/sa/q"},"servedAs":"Up","isMutualTls":true,"peer":"spiffe://td/ns/ns/sa/a","source":"10.0.0.1","destination":"10.0.0.2:80","policies":[{"resource":"ns/p","object":"AuthorizationPolicy ns/p","action":"ALLOW","scope":"Namespace","matches":true,"rules":[{"text":"principal \u001b[2J","matches":false,"failingClause":"x"}]}],"refusal":{"reason":"policy-not-allowed","text":"t"},"resources":[{"kind":"workload","name":"w","digest":"1"}]}"""),
        SeedBytes.Of(3, """{"ready":true,"ztunnels":1,"version":"1","enrolled":[{"uid":"u","namespace":"ns","name":"p","complete":true}],"notEnrolled":[{"uid":"v","namespace":"ns","name":"q","reason":"r"}],"lastVerification":"2026-01-01T00:00:00Z","problems":["x"]}"""),
        SeedBytes.Of(4, """[{"cluster_id":"k","proxy":"z.istio-system","connected_at":"2026-01-01T00:00:00Z","types":{"type.googleapis.com/istio.workload.Address":{"synced":true,"nonce_sent":"1","nonce_acked":"1","last_push":"2026-01-01T00:00:00Z","rejected":{"a":"b"}}}}]"""),
        SeedBytes.Of(5, """{"time":"2026-01-01T00:00:00Z","pods":{"expected":2,"enrolled":1,"gaps":1},"traffic":{"mutualTls":{"connections":1,"bytes":2},"plaintext":{"connections":0,"bytes":0}},"trafficSince":"2026-01-01T00:00:00Z","lastHour":{},"gaps":[{"pod":"ns/p","reason":"no-ztunnel","since":"2026-01-01T00:00:00Z"}],"exempt":[],"pairs":[{"source":{"namespace":"a","workload":"b"},"destination":{"namespace":"a","workload":"b"},"traffic":{}}],"nodes":[{"node":"n","pods":{},"agent":{"state":"fresh"},"ztunnel":{"state":"fresh"}}]}"""),
        SeedBytes.Of(6, """{"connections":[{"id":"1","state":"ended","direction":"outbound","pod":"ns/p","protocol":"HBONE","source":{"address":"10.0.0.1:1"},"destination":{"address":"10.0.0.2:80","hboneAddress":"10.0.0.2:80"},"asked":"10.1.0.1:80","openedAt":"2026-01-01T00:00:00Z","endedAt":"2026-01-01T00:00:01Z","bytesSent":1,"bytesReceived":2,"reason":"policy-denied","error":"e","decidedBy":{"kind":"AuthorizationPolicy","name":"ns/p","detail":"rule 0"}}]}"""),
        SeedBytes.Of(7, """[{"resource":"ns/p","typeUrl":"t","kind":"AuthorizationPolicy","apiVersion":"security.istio.io/v1","namespace":"ns","name":"p","generation":7,"resourceVersion":"42"}]"""),
    ];

    public override IEnumerable<byte[]> Words() => SeedBytes.Words("null", "[]", "{}", "\"\"", "true", "1e99", "-1", "[null]", "\\ud800", "\\u001b[2J", "\u009b", "\u202e", "\"routes\":", "\"peer\":", "\"policies\":", "\"rules\":", "\"searches\":", "\"resources\":", "\"kind\":\"Refused\"", "\"refusal\":", "\"workload\":", "\"connections\":", "\"2026-01-01T00:00:00Z\"", "\"0001-01-01T00:00:00+14:00\"", "\"9999-12-31T23:59:59-14:00\"", "\"a\":1,\"a\":2");

    public override void Run(byte[] input)
    {
        var body = input.AsSpan(Math.Min(1, input.Length)).ToArray();
        using var shown = new StringWriter { NewLine = "\n" };
        using var output = new TerminalText(shown);
        try
        {
            Show(output, (input.Length > 0 ? input[0] : 0) % 8, body);
        }
        catch (Exception e) when (e is MeshctlException or JsonException)
        {
            Demand.That(e.Message.Length > 0, "a refusal has a reason");
        }
        Demand.That(!shown.ToString().Any(c => c != '\n' && (char.IsControl(c) || c is >= '\u202a' and <= '\u202e')), "only text reaches the terminal");
    }

    private static void Show(TextWriter output, int page, byte[] body)
    {
        if (page == 0)
        {
            ShowDump(output, DumpSource.Parse("file", body));
            return;
        }
        if (page == 5)
        {
            if (CoverageCommand.TryRead(body, out _, out var coverage, out var problem)) CoverageCommand.Show(output, coverage, all: true, Now);
            else Demand.That(problem.Length > 0, "a refusal has a reason");
            return;
        }
        var answer = AnswerJson.Read(body);
        switch (page)
        {
            case 1: ShowPath(output, AnswerJson.As(answer, ExplanationJson.Default.OutboundExplanation), null); break;
            case 2: ShowPath(output, Tunnelled, AnswerJson.As(answer, ExplanationJson.Default.InboundExplanation)); break;
            case 3:
                var agent = StatusReading.Agent(Asked, answer);
                Demand.That(agent.Enrolled >= 0 && agent.Problems.All(p => p is not null), "an agent's status is complete");
                foreach (var fact in CaptureJudgement.Of(Asked, null, answer, Now).Facts) output.WriteLine(fact);
                break;
            case 4:
                var clients = (SyncReading.Clients("istiod", answer) ?? []).ToLookup(c => c.Proxy, StringComparer.Ordinal);
                foreach (var type in SyncReading.Status(Asked, null, clients).Types) output.WriteLine($"{type.ShortName} {type.State}");
                break;
            case 6:
                foreach (var end in answer.Objects("connections").Select(record => new RememberedEnd("n", "z", record))) output.WriteLine($"{end.IsOutbound} {end.Pod} {end.Reason} {end.Error} {end.At} {end.DecidedBy} {end.Of("source", "address")}");
                break;
            default:
                foreach (var origin in answer is JsonArray list ? MeshVoices.Origins(list) : []) output.WriteLine($"{origin} {PathJson.Of(origin).ToJsonString()}");
                break;
        }
        Documents.Write(output, OutputFormat.Json, answer);
        Documents.Write(output, OutputFormat.Yaml, answer);
    }

    private static void ShowDump(TextWriter output, NamedDump named)
    {
        DumpTables.Workloads(named.Dump, new DumpFilter()).Write(output);
        DumpTables.Services(named.Dump, new DumpFilter { Namespace = "ns" }).Write(output);
        DumpTables.Policies(named.Dump, new DumpFilter()).Write(output);
        DumpTables.Certificates([named.Dump], Now).Write(output);
        DumpTables.Connections([named.Dump], new DumpFilter()).Write(output);
        Documents.Write(output, OutputFormat.Yaml, named.Document);
    }

    private static OutboundExplanation Tunnelled { get; } = new()
    {
        ServedAs = "Up",
        Source = new WorkloadReport { Name = "p", Namespace = "ns", Identity = "spiffe://td/ns/ns/sa/a" },
        Routes = [new RouteReport { Share = 1, Kind = RouteKind.Hbone, NextHop = "10.0.0.2:15008", Authority = "10.0.0.2:80", ExpectedIdentities = ["spiffe://td/ns/ns/sa/q"], Peer = new WorkloadReport { Name = "q", Namespace = "ns" } }],
        Resources = [new HeldResource("workload", "w", "0")],
    };

    private static void ShowPath(TextWriter output, OutboundExplanation outbound, InboundExplanation? inbound)
    {
        var capture = new PodCapture(true, ["annotated"], null);
        var branches = outbound.Routes.Select(route => new Branch(route, capture, inbound, BranchJudgement.Judge(outbound, route, true, true, inbound))).ToList();
        var path = new PathExplanation("ns/p", "s:80", capture, outbound, branches, [], PathReading.Disagreements(outbound, branches), [], []);
        if (inbound is { Refusal: not null }) Demand.That(path.Outcome.IsAllowed != true, "a refusal is never shown as allowed");
        PathText.Write(output, path, isShort: false);
        Documents.Write(output, OutputFormat.Json, PathJson.Of(path));
    }
}
