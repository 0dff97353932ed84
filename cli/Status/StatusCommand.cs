using System.CommandLine;
using System.Text.Json.Nodes;
using AmbientMesh.Cli.CommandLine;
using AmbientMesh.Cli.Output;
using AmbientMesh.Cli.Reaching;

namespace AmbientMesh.Cli.Status;

/// <summary><c>meshctl status</c>: whether every part is there, which version it runs, and whether each ztunnel has what the control plane sent.</summary>
internal static class StatusCommand
{
    public static Command Build(CommonOptions common, Surroundings surroundings, Examples examples)
    {
        var command = new Command("status", "Shows the parts of the mesh, their versions, and what each ztunnel has of the control plane's configuration");
        command.Aliases.Add("proxy-status");
        command.Aliases.Add("ps");
        command.SetAction(async (options, cancellationToken) =>
        {
            using var cluster = common.Open(options, surroundings);
            var status = await StatusReading.ReadAsync(cluster, cancellationToken);
            var format = options.GetValue(common.Output);
            if (format is OutputFormat.Json or OutputFormat.Yaml) Documents.Write(surroundings.Out, format, Json(status));
            else Show(surroundings.Out, status, surroundings.Clock.GetUtcNow());
            return status.IsFine ? ExitCodes.Fine : ExitCodes.NotFine;
        });
        examples.AddTo(command, "meshctl status", "meshctl status -o json | jq '.ztunnels[] | select(.inSync | not)'", "meshctl status >/dev/null || echo 'look at the mesh'");
        return command;
    }

    private static void Show(TextWriter output, MeshStatus status, DateTimeOffset now)
    {
        var parts = new Table("PART", "READY", "VERSION");
        foreach (var part in status.Parts) parts.Add(part.Name, $"{part.Ready}/{part.Desired}", string.Join(",", part.Versions));
        parts.Write(output);

        output.WriteLine();
        var ztunnels = new Table("NAME", "NODE", "READY", "CLUSTER", "ISTIOD", "VERSION", "SUBSCRIBED TYPES", "LAST PUSH");
        foreach (var z in status.Ztunnels)
        {
            var types = z.Types.OrderBy(t => t.ShortName, StringComparer.Ordinal).ToList();
            ztunnels.Add($"{z.Pod.Key.Name}.{z.Pod.Metadata.Namespace}", z.Pod.Spec.NodeName, z.Pod.Is("Ready") ? "yes" : "no", z.Cluster, z.ControlPlane ?? "NOT CONNECTED", z.Version,
                types.Count == 0 ? null : $"{types.Count} ({string.Join(", ", types.Select(t => $"{t.ShortName} {t.State}"))})",
                types.Max(t => t.LastPush) is { } push ? Ages.Of(now - push) : null);
        }
        ztunnels.Write(output);
        foreach (var z in status.Ztunnels)
            foreach (var type in z.Types)
                foreach (var (name, reason) in type.Rejected) output.WriteLine($"{z.Pod.Key.Name} refuses {type.ShortName} {(name.Length > 0 ? name : "(not named)")}: {reason}");

        output.WriteLine();
        var agents = new Table("NODE AGENT", "NODE", "READY", "VERSION", "ZTUNNEL", "ENROLLED", "NOT ENROLLED", "LAST VERIFIED");
        foreach (var a in status.Agents)
            agents.Add(a.Pod.Key.Name, a.Pod.Spec.NodeName, a.IsReady ? "yes" : "no", a.Version, a.Ztunnels > 0 ? "connected" : "NOT CONNECTED", $"{a.Enrolled}", $"{a.NotEnrolled.Count}", a.LastVerification is { } time ? Ages.Of(now - time) : null);
        agents.Write(output);
        foreach (var a in status.Agents)
        {
            foreach (var problem in a.Problems) output.WriteLine($"{a.Pod.Key.Name}: {problem}");
            foreach (var (pod, reason) in a.NotEnrolled) output.WriteLine($"{pod} should be enrolled and is not: {reason}");
        }
        if (Coverage.CoverageCommand.Line(status.Coverage) is { } coverage)
        {
            output.WriteLine();
            output.WriteLine($"Coverage: {coverage}");
        }
        if (AuthorityLine(status.Authority) is { } authority)
        {
            output.WriteLine();
            output.WriteLine($"Certificates: {authority}");
        }
        foreach (var problem in status.Problems) output.WriteLine($"Not asked: {problem}");
    }

    internal static string? AuthorityLine(JsonNode? authority)
    {
        if (authority.Member("signing") is not JsonObject signing || authority.Member("roots") is not JsonArray roots) return null;
        var next = authority.Member("rotation") is JsonObject rotation ? $"; next step of the root's exchange: {rotation.Text("next_step")} at {rotation.Text("due")}" : "";
        return $"{(authority.Flag("plugged_in") ? "plugged-in" : "self-signed")} CA {signing.Text("subject")} {signing.Text("serial")} signs until {signing.Text("not_after")}, {roots.Count} root{(roots.Count == 1 ? " is" : "s are")} trusted{next}";
    }

    private static JsonObject Json(MeshStatus status) => new()
    {
        ["fine"] = status.IsFine,
        ["parts"] = new JsonArray([.. status.Parts.Select(p => (JsonNode)new JsonObject
        {
            ["name"] = p.Name, ["kind"] = p.Kind, ["ready"] = p.Ready, ["desired"] = p.Desired, ["versions"] = Strings(p.Versions),
        })]),
        ["ztunnels"] = new JsonArray([.. status.Ztunnels.Select(z => (JsonNode)new JsonObject
        {
            ["pod"] = z.Pod.Key.Name, ["node"] = z.Pod.Spec.NodeName, ["ready"] = z.Pod.Is("Ready"), ["version"] = z.Version,
            ["controlPlane"] = z.ControlPlane, ["cluster"] = z.Cluster, ["connectedAt"] = z.ConnectedAt?.ToString("O"), ["inSync"] = z.IsFine,
            ["types"] = new JsonArray([.. z.Types.Select(t => (JsonNode)new JsonObject
            {
                ["typeUrl"] = t.TypeUrl, ["state"] = t.State, ["nonceSent"] = t.NonceSent, ["nonceAcked"] = t.NonceAcked, ["lastPush"] = t.LastPush?.ToString("O"),
                ["rejected"] = new JsonArray([.. t.Rejected.Select(r => (JsonNode)new JsonObject { ["name"] = r.Name, ["reason"] = r.Reason })]),
            })]),
        })]),
        ["agents"] = new JsonArray([.. status.Agents.Select(a => (JsonNode)new JsonObject
        {
            ["pod"] = a.Pod.Key.Name, ["node"] = a.Pod.Spec.NodeName, ["ready"] = a.IsReady, ["version"] = a.Version, ["ztunnels"] = a.Ztunnels, ["enrolled"] = a.Enrolled,
            ["notEnrolled"] = new JsonArray([.. a.NotEnrolled.Select(p => (JsonNode)new JsonObject { ["pod"] = p.Pod, ["reason"] = p.Reason })]),
            ["lastVerification"] = a.LastVerification?.ToString("O"), ["problems"] = Strings(a.Problems),
        })]),
        ["coverage"] = status.Coverage?.DeepClone(),
        ["certificates"] = status.Authority?.DeepClone(),
        ["problems"] = Strings(status.Problems),
    };

    private static JsonArray Strings(IEnumerable<string> texts) => new([.. texts.Select(t => (JsonNode?)t)]);
}
