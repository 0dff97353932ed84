using System.CommandLine;
using System.Text.Json.Nodes;
using AmbientMesh.Cli.CommandLine;
using AmbientMesh.Cli.Output;
using AmbientMesh.Cli.Reaching;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.Cli.Status;

/// <summary><c>meshctl version</c>: this program's, and of every part as the part itself says it.</summary>
internal static class VersionCommand
{
    public static string Client { get; } = typeof(VersionCommand).Assembly.GetName().Version?.ToString(3) ?? "unknown";

    public static Command Build(CommonOptions common, Surroundings surroundings, Examples examples)
    {
        var clientOnly = new Option<bool>("--client") { Description = "Only this program's version; no cluster is asked" };
        var command = new Command("version", "Shows the version of this program and of every part of the mesh") { clientOnly };
        command.SetAction(async (options, cancellationToken) =>
        {
            var format = options.GetValue(common.Output);
            if (options.GetValue(clientOnly)) return Show(surroundings.Out, format, []);
            using var cluster = common.Open(options, surroundings);
            return Show(surroundings.Out, format, await PartVersions.ReadAsync(cluster, await cluster.PodsAsync(cancellationToken), cancellationToken));
        });
        examples.AddTo(command, "meshctl version", "meshctl version --client", "meshctl version -o json");
        return command;
    }

    private static int Show(TextWriter output, OutputFormat format, IReadOnlyList<PartVersion> parts)
    {
        if (format is OutputFormat.Json or OutputFormat.Yaml)
        {
            Documents.Write(output, format, new JsonObject { ["client"] = Client, ["parts"] = new JsonArray([.. parts.Select(Json)]) });
        }
        else
        {
            output.WriteLine($"client: {Client}");
            if (parts.Count == 0) return ExitCodes.Fine;
            var table = new Table("PART", "POD", "NODE", "VERSION");
            foreach (var part in parts) table.Add(part.Part, part.Pod.Key.Name, part.Pod.Spec.NodeName, part.Version ?? $"unknown: {part.Problem}");
            table.Write(output);
        }
        return parts.All(p => p.Version is not null) ? ExitCodes.Fine : ExitCodes.NotFine;
    }

    private static JsonNode Json(PartVersion part) => new JsonObject
    {
        ["part"] = part.Part,
        ["pod"] = part.Pod.Key.Name,
        ["node"] = part.Pod.Spec.NodeName,
        ["version"] = part.Version,
        ["problem"] = part.Problem,
    };
}

/// <summary>What one pod of the mesh runs.</summary>
/// <param name="Version">Null when it could not be asked; then <paramref name="Problem"/> says why.</param>
internal sealed record PartVersion(string Part, Pod Pod, string? Version, string? Problem);

/// <summary>Asks every part for its version, side by side.</summary>
internal static class PartVersions
{
    public static async Task<IReadOnlyList<PartVersion>> ReadAsync(MeshCluster cluster, MeshPods pods, CancellationToken cancellationToken) =>
        await Task.WhenAll([
            .. pods.ControlPlanes.Select(pod => OfAsync(cluster, pod, cancellationToken)),
            .. pods.Ztunnels.Select(pod => OneAsync("ztunnel", pod, ask: () => ZtunnelAsync(cluster, pod, cancellationToken))),
            .. pods.Agents.Select(pod => OneAsync("istio-cni-node", pod, ask: () => AgentAsync(cluster, pod, cancellationToken))),
        ]);

    /// <summary>The version of a control plane.</summary>
    public static Task<PartVersion> OfAsync(MeshCluster cluster, Pod controlPlane, CancellationToken cancellationToken) =>
        OneAsync("istiod", controlPlane, ask: () => ControlPlaneAsync(cluster, controlPlane, cancellationToken));

    private static async Task<PartVersion> OneAsync(string part, Pod pod, Func<Task<string>> ask)
    {
        if (pod.Status.Phase != "Running") return new PartVersion(part, pod, null, $"the pod is {pod.Status.Phase}");
        var asked = await PartClient.TryAsync(ask);
        return new PartVersion(part, pod, asked.Answer, asked.Problem);
    }

    private static async Task<string> ControlPlaneAsync(MeshCluster cluster, Pod pod, CancellationToken cancellationToken)
    {
        var text = (await cluster.Parts.TextAsync(pod, PartClient.ControlPlaneMonitoring, "/version", cancellationToken)).Trim();
        // Istio's control plane answers JSON-like build information, ours the bare version.
        return text.Length is > 0 and < 40 ? text : Between(text, "Version:\"", "\"") ?? throw new MeshctlException("it did not say its version");
    }

    // Any ztunnel says its build in its metrics, which are far smaller than its configuration.
    private static async Task<string> ZtunnelAsync(MeshCluster cluster, Pod pod, CancellationToken cancellationToken) =>
        Between(await cluster.Parts.TextAsync(pod, PartClient.ZtunnelMetrics, "/metrics", cancellationToken), "istio_build{component=\"ztunnel\",tag=\"", "\"") ??
        throw new MeshctlException("its metrics do not name its build");

    private static async Task<string> AgentAsync(MeshCluster cluster, Pod pod, CancellationToken cancellationToken) =>
        (await cluster.Parts.JsonAsync(pod, PartClient.AgentStatus, "/status", cancellationToken)).Text("version") ?? throw new MeshctlException("its status does not name its version");

    private static string? Between(string text, string before, string after)
    {
        var start = text.IndexOf(before, StringComparison.Ordinal);
        if (start < 0) return null;
        start += before.Length;
        var end = text.IndexOf(after, start, StringComparison.Ordinal);
        return end < 0 ? null : text[start..end];
    }
}
