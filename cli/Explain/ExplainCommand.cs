using System.CommandLine;
using AmbientMesh.Cli.CommandLine;
using AmbientMesh.Cli.Output;
using AmbientMesh.Cli.Reaching;

namespace AmbientMesh.Cli.Explain;

/// <summary><c>meshctl explain</c>: the path of a connection hop by hop, and who decides; of one that may be made now, or of one that was made.</summary>
internal static class ExplainCommand
{
    public static Command Build(CommonOptions common, Surroundings surroundings, Examples examples)
    {
        var from = new Option<string?>("--from") { Description = "The pod that connects: namespace/pod", HelpName = "pod" };
        var to = new Option<string?>("--to") { Description = "What it connects to: host:port as the application writes it, or ip:port", HelpName = "address" };
        var connection = new Option<string?>("--connection") { Description = "A connection that was made: connection.id of an access log", HelpName = "id" };
        var command = new Command("explain", "Explains why a connection is allowed or refused, hop by hop, and which object decides") { from, to, connection };
        command.Validators.Add(result =>
        {
            var past = result.GetValue(connection) is not null;
            var now = result.GetValue(from) is not null || result.GetValue(to) is not null;
            if (past == now || (now && (result.GetValue(from) is null || result.GetValue(to) is null))) result.AddError("Give either --from and --to, or --connection.");
            else if (result.GetValue(to) is { } text && !IsTarget(text)) result.AddError($"--to {text}: expected host:port or ip:port, e.g. server.shop:80, 10.96.0.10:80 or [fd00::1]:80.");
        });
        command.SetAction(async (options, cancellationToken) =>
        {
            using var cluster = common.Open(options, surroundings);
            var pods = await cluster.PodsAsync(cancellationToken);
            var format = options.GetValue(common.Output);
            if (options.GetValue(connection) is { } id) return await PastConnection.ShowAsync(cluster, pods, id.Trim(), format, surroundings.Out, cancellationToken);
            var (ns, name) = PodName.Parse(options.GetValue(from)!, cluster.DefaultNamespace);
            var path = await new PathReading(cluster, pods).ReadAsync(ns, name, options.GetValue(to)!, cancellationToken);
            if (format is OutputFormat.Json or OutputFormat.Yaml) Documents.Write(surroundings.Out, format, PathJson.Of(path));
            else PathText.Write(surroundings.Out, path, isShort: format == OutputFormat.Short);
            return path.Outcome switch { { IsAllowed: true } => ExitCodes.Fine, { IsAllowed: null, Reason: "" } => ExitCodes.Failed, _ => ExitCodes.NotFine };
        });
        examples.AddTo(command, "meshctl explain --from shop/client-7f9c --to server.shop:80", "meshctl explain --from shop/client-7f9c --to 10.96.0.10:80 -o json", "meshctl explain --connection 4bf92f3577b34da6a3ce929d0e0e4736");
        return command;
    }

    private static bool IsTarget(string text)
    {
        var colon = text.LastIndexOf(':');
        return colon > 0 && ushort.TryParse(text.AsSpan(colon + 1), out var port) && port > 0 && (text[0] == '[' ? text[colon - 1] == ']' : !text.AsSpan(0, colon).Contains(':'));
    }
}
