using System.CommandLine;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Cli.CommandLine;
using AmbientMesh.Cli.Output;
using AmbientMesh.Cli.Reaching;
using AmbientMesh.Cli.Status;
using AmbientMesh.Kubernetes;
using AmbientMesh.Telemetry.Coverage;

namespace AmbientMesh.Cli.Coverage;

/// <summary><c>meshctl coverage</c>: how much of the mesh is truly protected, as the control plane adds it up from every node.</summary>
internal static class CoverageCommand
{
    private const int ShownPairs = 20;

    public static Command Build(CommonOptions common, Surroundings surroundings, Examples examples)
    {
        var all = new Option<bool>("--all") { Description = "Every pair of workloads and every exempt pod" };
        var command = new Command("coverage", "Shows which pods are protected, which are not and why, and how much traffic is under mutual TLS") { all };
        command.SetAction(async (options, cancellationToken) =>
        {
            using var cluster = common.Open(options, surroundings);
            var pods = await cluster.PodsAsync(cancellationToken);
            var controlPlane = pods.ControlPlanes.FirstOrDefault(p => p.Is("Ready")) ?? throw new MeshctlException($"No control plane is ready in namespace {cluster.MeshNamespace}; see meshctl status.");
            var answer = await ReadAsync(cluster, controlPlane, options.GetValue(all), cancellationToken);
            if (!TryRead(answer, out var page, out var coverage, out var problem))
            {
                var version = (await PartVersions.OfAsync(cluster, controlPlane, cancellationToken)).Version ?? "unknown";
                throw new MeshctlException($"The control plane {controlPlane.Key.Name} (version {version}) tells coverage in a form that meshctl {VersionCommand.Client} does not read: {problem}. Use the meshctl of its version.");
            }
            var format = options.GetValue(common.Output);
            if (format is OutputFormat.Json or OutputFormat.Yaml) Documents.Write(surroundings.Out, format, page);
            else Show(surroundings.Out, coverage, options.GetValue(all), surroundings.Clock.GetUtcNow());
            return coverage.Pods.Gaps == 0 && coverage.Nodes.All(IsFresh) ? ExitCodes.Fine : ExitCodes.NotFine;
        });
        examples.AddTo(command, "meshctl coverage", "meshctl coverage -o json | jq .gaps", "meshctl coverage --all");
        return command;
    }

    /// <summary>One line for <c>meshctl status</c>.</summary>
    public static string? Line(JsonNode? page)
    {
        // Of another version's form the command itself tells.
        return page is not null && TryRead(Encoding.UTF8.GetBytes(page.ToJsonString()), out _, out var coverage, out _) ? Line(coverage) : null;
    }

    internal static bool TryRead(byte[] answer, [NotNullWhen(true)] out JsonNode? page, [NotNullWhen(true)] out MeshCoverage? coverage, out string problem)
    {
        (page, coverage, problem) = (null, null, "it is empty");
        try
        {
            page = AnswerJson.Read(answer);
            coverage = AnswerJson.As(page, CoverageJson.Default.MeshCoverage);
            return true;
        }
        catch (JsonException e)
        {
            problem = e.Message;
            return false;
        }
    }

    private static string Line(MeshCoverage coverage) =>
        $"{coverage.Pods.Enrolled} of {coverage.Pods.Expected} pods enrolled ({coverage.Pods.Verified} verified), {coverage.Pods.Gaps} not protected; {Percent(coverage.Traffic.PercentBytesMutualTls)} of bytes under mutual TLS";

    private static async Task<byte[]> ReadAsync(MeshCluster cluster, Pod controlPlane, bool all, CancellationToken cancellationToken)
    {
        var answer = await cluster.Parts.AskAsync(controlPlane, PartClient.ControlPlaneDebug, $"/debug/coverage?refresh{(all ? "&limit=10000" : "")}", cancellationToken);
        if (answer.Status == HttpStatusCode.NotFound) throw new MeshctlException($"The control plane {controlPlane.Key.Name} does not tell coverage: it is another than AmbientMesh's, or an older one.");
        return answer.Status == HttpStatusCode.OK ? answer.Body : throw new MeshctlException($"The control plane {controlPlane.Key.Name} answered {(int)answer.Status}: {answer.Text.Trim()}");
    }

    internal static void Show(TextWriter output, MeshCoverage coverage, bool all, DateTimeOffset now)
    {
        output.WriteLine(Line(coverage));
        output.WriteLine();
        var nodes = new Table("NODE", "EXPECTED", "ENROLLED", "VERIFIED", "NOT PROTECTED", "STARTING", "EXEMPT", "AGENT", "ZTUNNEL");
        foreach (var node in coverage.Nodes)
            nodes.Add(node.Node, $"{node.Pods.Expected}", $"{node.Pods.Enrolled}", $"{node.Pods.Verified}", $"{node.Pods.Gaps}", $"{node.Pods.Starting}", $"{node.Pods.Exempt}", node.Agent.State, node.Ztunnel.State);
        nodes.Write(output);
        if (coverage.Gaps.Count > 0) Pods(output, "Not protected, though they should be:", coverage.Gaps, now);
        if (all && coverage.Exempt.Count > 0) Pods(output, "Left out on purpose:", coverage.Exempt, now);
        output.WriteLine();
        output.WriteLine($"Traffic since {coverage.TrafficSince.UtcDateTime:u}");
        var pairs = new Table("FROM", "TO", "MTLS CONNECTIONS", "MTLS BYTES", "PLAIN CONNECTIONS", "PLAIN BYTES", "UNDER MTLS");
        Add(pairs, "(all)", "(all)", coverage.Traffic);
        foreach (var pair in coverage.Pairs.Take(all ? int.MaxValue : ShownPairs)) Add(pairs, Name(pair.Source), Name(pair.Destination), pair.Traffic);
        pairs.Write(output);
        var left = coverage.PairsLeftOut + Math.Max(0, coverage.Pairs.Count - (all ? int.MaxValue : ShownPairs));
        if (left > 0) output.WriteLine($"… and {left} more pairs (--all)");
    }

    private static void Pods(TextWriter output, string title, IReadOnlyList<MeshPod> pods, DateTimeOffset now)
    {
        output.WriteLine();
        output.WriteLine(title);
        var table = new Table("POD", "NODE", "REASON", "SINCE", "MESSAGE");
        foreach (var pod in pods) table.Add(pod.Pod, pod.Node, pod.Reason, pod.Since is { } since ? Ages.Of(now - since) : null, pod.Message);
        table.Write(output);
    }

    private static void Add(Table table, string from, string to, Traffic traffic) => table.Add(
        from, to, $"{traffic.MutualTls.Connections}", $"{traffic.MutualTls.Bytes}", $"{traffic.Plaintext.Connections}", $"{traffic.Plaintext.Bytes}", Percent(traffic.PercentBytesMutualTls));

    private static bool IsFresh(NodeCoverage node) => node.Agent.State == "fresh" && node.Ztunnel.State is "fresh" or "silent";

    private static string Name(PairEnd end) => $"{end.Namespace}/{end.Workload}";

    private static string Percent(double? percent) => percent is { } known ? $"{known.ToString("0.##", CultureInfo.InvariantCulture)} %" : "-";
}
