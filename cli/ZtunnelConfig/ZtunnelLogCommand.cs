using System.CommandLine;
using System.Net;
using System.Text.Json.Nodes;
using AmbientMesh.Cli.CommandLine;
using AmbientMesh.Cli.Output;
using AmbientMesh.Cli.Reaching;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.Cli.ZtunnelConfig;

/// <summary><c>meshctl ztunnel-config log</c>: shows or changes the log levels of a ztunnel, or of all.</summary>
internal static class ZtunnelLogCommand
{
    public static Command Build(CommonOptions common, Surroundings surroundings, Examples examples)
    {
        var pod = new Argument<string?>("pod") { Description = "A ztunnel, or a pod whose node's ztunnel is meant; all without it", Arity = ArgumentArity.ZeroOrOne };
        var node = new Option<string?>("--node") { Description = "The ztunnel of this node", HelpName = "node" };
        var level = new Option<string?>("--level") { Description = "Levels to set: a level, or scope=level, several with commas; scopes: access, ztunnel::proxy, ztunnel::dns, ztunnel::rbac, ztunnel::identity, ztunnel::inpod, ztunnel::xds, ztunnel::state", HelpName = "levels" };
        var reset = new Option<bool>("--reset", "-r") { Description = "Back to the levels it started with" };
        var command = new Command("log", "Shows or changes the log levels of a ztunnel, or of all") { pod, node, level, reset };
        command.SetAction(async (options, cancellationToken) =>
        {
            using var cluster = common.Open(options, surroundings);
            var ztunnels = await DumpSource.ZtunnelsAsync(cluster, options.GetValue(pod), options.GetValue(node), cancellationToken);
            var query = options.GetValue(reset) ? "?reset" : options.GetValue(level) is { } levels ? $"?level={Uri.EscapeDataString(levels)}" : "";
            var answers = await Task.WhenAll(ztunnels.Select(z => PartClient.TryAsync(() => AskAsync(cluster, z, query, cancellationToken))));
            var format = options.GetValue(common.Output);
            if (format is OutputFormat.Json or OutputFormat.Yaml) Documents.Write(surroundings.Out, format, Json(ztunnels, answers));
            else Show(surroundings.Out, ztunnels, answers);
            string[] problems = [.. answers.Select(a => a.Problem).OfType<string>()];
            foreach (var problem in problems) await surroundings.Error.WriteLineAsync($"meshctl: {problem}");
            return problems.Length == 0 ? ExitCodes.Fine : ExitCodes.Failed;
        });
        examples.AddTo(command, "meshctl ztunnel-config log", "meshctl ztunnel-config log --node node-1 --level info,ztunnel::dns=debug", "meshctl ztunnel-config log --level access=error", "meshctl ztunnel-config log --reset");
        return command;
    }

    private static void Show(TextWriter output, IReadOnlyList<Pod> ztunnels, IReadOnlyList<Asked<string>> answers)
    {
        var table = new Table("ZTUNNEL", "NODE", "LEVELS");
        foreach (var (ztunnel, answer) in ztunnels.Zip(answers).Where(pair => pair.Second.Answer is not null)) table.Add(ztunnel.Key.Name, ztunnel.Spec.NodeName, answer.Answer);
        table.Write(output);
    }

    private static JsonArray Json(IReadOnlyList<Pod> ztunnels, IReadOnlyList<Asked<string>> answers) => new([.. ztunnels.Zip(answers, (ztunnel, answer) => new JsonObject
    {
        ["ztunnel"] = ztunnel.Key.Name, ["node"] = ztunnel.Spec.NodeName, ["levels"] = answer.Answer, ["problem"] = answer.Problem,
    })]);

    private static async Task<string> AskAsync(MeshCluster cluster, Pod ztunnel, string query, CancellationToken cancellationToken)
    {
        const string before = "current log level is ";
        var answer = await cluster.Parts.AskAsync(ztunnel, PartClient.ZtunnelAdmin, $"/logging{query}", cancellationToken, HttpMethod.Post);
        var text = answer.Text.Trim();
        if (answer.Status != HttpStatusCode.OK) throw new MeshctlException($"{ztunnel.Key.Name} did not take the levels: {text}");
        return text.Contains(before, StringComparison.Ordinal) ? text[(text.LastIndexOf(before, StringComparison.Ordinal) + before.Length)..] : text;
    }
}
