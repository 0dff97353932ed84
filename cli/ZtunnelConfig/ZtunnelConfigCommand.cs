using System.CommandLine;
using System.Text.Json.Nodes;
using AmbientMesh.Cli.CommandLine;
using AmbientMesh.Cli.Output;
using AmbientMesh.Cli.Reaching;

namespace AmbientMesh.Cli.ZtunnelConfig;

/// <summary><c>meshctl ztunnel-config</c>: what one ztunnel holds, with istioctl's words and columns.</summary>
internal static class ZtunnelConfigCommand
{
    /// <summary>The options all kinds share.</summary>
    private sealed class Source
    {
        public Argument<string?> Pod { get; } = new("pod") { Description = "A ztunnel, or a pod whose node's ztunnel is meant", Arity = ArgumentArity.ZeroOrOne };
        public Option<string?> Node { get; } = new("--node") { Description = "The ztunnel of this node", HelpName = "node" };
        public Option<string?> File { get; } = new("--file", "-f") { Description = "A saved /config_dump instead of a live ztunnel", HelpName = "file" };

        public bool NamesOne(ParseResult options) => (options.GetValue(Pod) ?? options.GetValue(Node) ?? options.GetValue(File)) is not null;

        public void AddTo(Command command)
        {
            command.Arguments.Add(Pod);
            command.Options.Add(Node);
            command.Options.Add(File);
        }
    }

    private readonly record struct Kind(string Name, string Singular, string Shows, bool OfEveryNode, string Part, Func<IReadOnlyList<ZtunnelDump>, DumpFilter, DateTimeOffset, Table> Table);

    private static readonly Kind[] s_kinds =
    [
        new("workloads", "workload", "Workloads: pods and other endpoints the ztunnel knows", false, "workloads", (d, f, _) => DumpTables.Workloads(d[0], f)),
        new("services", "service", "Services and how many of their endpoints are healthy", false, "services", (d, f, _) => DumpTables.Services(d[0], f)),
        new("policies", "policy", "Authorization policies, as the ztunnel enforces them", false, "policies", (d, f, _) => DumpTables.Policies(d[0], f)),
        new("certificates", "certificate", "Certificates held for the pods of the node; of every node unless one is named", true, "certificates", (d, _, now) => DumpTables.Certificates(d, now)),
        new("connections", "connection", "Open connections; of every node unless one is named", true, "workloadState", (d, f, _) => DumpTables.Connections(d, f)),
    ];

    public static Command Build(CommonOptions common, Surroundings surroundings, Examples examples)
    {
        var command = new Command("ztunnel-config", "Shows what a ztunnel holds: workloads, services, policies, certificates, connections");
        command.Aliases.Add("zc");
        command.Aliases.Add("z");
        foreach (var kind in s_kinds) command.Subcommands.Add(OfKind(kind, common, surroundings, examples));
        command.Subcommands.Add(All(common, surroundings));
        command.Subcommands.Add(ZtunnelLogCommand.Build(common, surroundings, examples));
        examples.AddTo(command, "meshctl ztunnel-config workloads --node node-1", "meshctl ztunnel-config services ztunnel-x7k2p", "meshctl ztunnel-config policies shop/web-0 -o json", "meshctl ztunnel-config all --file dump.json");
        return command;
    }

    private static Command OfKind(Kind kind, CommonOptions common, Surroundings surroundings, Examples examples)
    {
        var source = new Source();
        var command = new Command(kind.Name, kind.Shows);
        command.Aliases.Add(kind.Singular);
        source.AddTo(command);
        var filter = Filters(command, kind.Singular);
        command.SetAction(async (options, cancellationToken) =>
        {
            var (dumps, problems) = await ReadAsync(options, source, common, surroundings, kind.OfEveryNode, cancellationToken);
            var format = options.GetValue(common.Output);
            if (format is OutputFormat.Json or OutputFormat.Yaml) Documents.Write(surroundings.Out, format, Selected(dumps, kind, filter(options), isOfOne: !kind.OfEveryNode || source.NamesOne(options)));
            else kind.Table([.. dumps.Select(d => d.Dump)], filter(options), surroundings.Clock.GetUtcNow()).Write(surroundings.Out);
            foreach (var problem in problems) await surroundings.Error.WriteLineAsync($"meshctl: {problem}");
            return problems.Count == 0 ? ExitCodes.Fine : ExitCodes.Failed;
        });
        examples.AddTo(command, $"meshctl ztunnel-config {kind.Name} --node node-1", $"meshctl ztunnel-config {kind.Singular} --file dump.json -o json");
        return command;
    }

    private static Command All(CommonOptions common, Surroundings surroundings)
    {
        var source = new Source();
        var command = new Command("all", "Everything of the above, one table after the other; as JSON the whole dump");
        source.AddTo(command);
        command.SetAction(async (options, cancellationToken) =>
        {
            var (dumps, _) = await ReadAsync(options, source, common, surroundings, everyNode: false, cancellationToken);
            var format = options.GetValue(common.Output);
            if (format is OutputFormat.Json or OutputFormat.Yaml)
            {
                Documents.Write(surroundings.Out, format, dumps[0].Document);
                return ExitCodes.Fine;
            }
            foreach (var kind in s_kinds)
            {
                kind.Table([.. dumps.Select(d => d.Dump)], new DumpFilter(), surroundings.Clock.GetUtcNow()).Write(surroundings.Out);
                surroundings.Out.WriteLine();
            }
            return ExitCodes.Fine;
        });
        return command;
    }

    private static Func<ParseResult, DumpFilter> Filters(Command command, string kind)
    {
        var ns = new Option<string?>($"--{(kind is "connection" or "certificate" ? "workload" : kind)}-namespace") { Description = "Only of this namespace", HelpName = "namespace" };
        var node = new Option<string?>("--workload-node") { Description = "Only workloads of this node", HelpName = "node" };
        var address = new Option<string?>("--address") { Description = "Only the workload with this address", HelpName = "ip" };
        var direction = new Option<string?>("--direction") { Description = "inbound or outbound", HelpName = "direction" };
        var raw = new Option<bool>("--raw") { Description = "Addresses instead of names" };
        direction.AcceptOnlyFromAmong("inbound", "outbound");
        Option[] own = kind switch
        {
            "workload" => [ns, node, address],
            "connection" => [ns, direction, raw],
            "certificate" => [],
            _ => [ns],
        };
        foreach (var option in own) command.Options.Add(option);
        return options => new DumpFilter
        {
            Namespace = own.Contains(ns) ? options.GetValue(ns) : null,
            WorkloadNode = own.Contains(node) ? options.GetValue(node) : null,
            Address = own.Contains(address) ? options.GetValue(address) : null,
            Direction = own.Contains(direction) ? options.GetValue(direction) : null,
            IsRaw = own.Contains(raw) && options.GetValue(raw),
        };
    }

    /// <summary>The dumps meant; where one ztunnel is enough and none is named, the first that is ready. Of every node: those that answered, and what is the matter with the others.</summary>
    /// <exception cref="MeshctlException">Not one can be had.</exception>
    private static async Task<(IReadOnlyList<NamedDump> Dumps, IReadOnlyList<string> Problems)> ReadAsync(ParseResult options, Source source, CommonOptions common, Surroundings surroundings, bool everyNode, CancellationToken cancellationToken)
    {
        if (options.GetValue(source.File) is { } file) return ([await DumpSource.ReadFileAsync(file, cancellationToken)], []);
        using var cluster = common.Open(options, surroundings);
        var (pod, node) = (options.GetValue(source.Pod), options.GetValue(source.Node));
        var ztunnels = await DumpSource.ZtunnelsAsync(cluster, pod, node, cancellationToken);
        if (!everyNode || pod is not null || node is not null) ztunnels = [ztunnels.FirstOrDefault(z => z.Is("Ready")) ?? ztunnels[0]];
        var answers = await Task.WhenAll(ztunnels.Select(z => PartClient.TryAsync(() => DumpSource.AskAsync(cluster, z, cancellationToken))));
        string[] problems = [.. answers.Select(a => a.Problem).OfType<string>()];
        NamedDump[] dumps = [.. answers.Select(a => a.Answer).OfType<NamedDump>()];
        return dumps.Length > 0 ? (dumps, problems) : throw new MeshctlException(string.Join('\n', problems));
    }

    // The shape follows from the question, not from how many ztunnels there happen to be: the part itself, as istioctl writes it, or an object by ztunnel.
    private static JsonNode Selected(IReadOnlyList<NamedDump> dumps, Kind kind, DumpFilter filter, bool isOfOne)
    {
        if (isOfOne) return DumpDocuments.Part(dumps[0].Document, kind.Part, filter);
        var byOrigin = new JsonObject();
        foreach (var dump in dumps) byOrigin[dump.Origin] = DumpDocuments.Part(dump.Document, kind.Part, filter);
        return byOrigin;
    }
}
