using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using AmbientMesh.Cli.Coverage;
using AmbientMesh.Cli.Explain;
using AmbientMesh.Cli.Output;
using AmbientMesh.Cli.Status;
using AmbientMesh.Cli.ZtunnelConfig;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.Cli.CommandLine;

/// <summary>The command line, put together: its commands, how failures are told, what the process ends with.</summary>
public static class MeshctlCommand
{
    /// <summary>Runs one command line and returns the exit code.</summary>
    public static async Task<int> RunAsync(IReadOnlyList<string> arguments, Surroundings surroundings, CancellationToken cancellationToken)
    {
        surroundings = surroundings with { Out = new TerminalText(surroundings.Out), Error = new TerminalText(surroundings.Error) };
        var parsed = Build(surroundings).Parse(arguments);
        var invocation = new InvocationConfiguration { Output = surroundings.Out, Error = surroundings.Error, EnableDefaultExceptionHandler = false };
        try
        {
            var code = await parsed.InvokeAsync(invocation, cancellationToken);
            return parsed.Action is ParseErrorAction ? ExitCodes.Usage : code;
        }
        catch (Exception e) when (Told(e) is { } told)
        {
            await surroundings.Error.WriteLineAsync($"meshctl: {told}");
            return ExitCodes.Failed;
        }
    }

    private static RootCommand Build(Surroundings surroundings)
    {
        var common = new CommonOptions();
        var root = new RootCommand("Looks into an AmbientMesh: what its parts do, and why a connection is allowed or refused.");
        common.AddTo(root);
        var examples = new Examples();
        root.Subcommands.Add(VersionCommand.Build(common, surroundings, examples));
        root.Subcommands.Add(StatusCommand.Build(common, surroundings, examples));
        root.Subcommands.Add(ExplainCommand.Build(common, surroundings, examples));
        root.Subcommands.Add(CoverageCommand.Build(common, surroundings, examples));
        root.Subcommands.Add(ZtunnelConfigCommand.Build(common, surroundings, examples));
        root.Subcommands.Add(CompletionCommand.Build(surroundings, examples));
        examples.AddTo(root, "meshctl status", "meshctl explain --from shop/client-7f9c --to server.shop:80", "meshctl coverage", "meshctl ztunnel-config workloads --node node-1", "meshctl version -o json");
        if (root.Options.OfType<HelpOption>().FirstOrDefault() is { Action: HelpAction plain } help) help.Action = new HelpWithExamples(plain, examples);
        return root;
    }

    /// <summary>What a user is told of a failure; null for what is a mistake of this program.</summary>
    private static string? Told(Exception failure) => failure switch
    {
        MeshctlException => failure.Message,
        KubernetesConfigurationException => $"{failure.Message} Name a kubeconfig with --kubeconfig or KUBECONFIG, and one of its contexts with --context.",
        KubernetesException { IsForbidden: true } forbidden => $"{forbidden.Status.Message ?? forbidden.Message}. Ask for that verb, or use another --context.",
        KubernetesException { IsUnauthorized: true } => $"{failure.Message}. The credentials of this context are not accepted; log in again or use another --context.",
        KubernetesUnavailableException => $"The cluster cannot be reached: {failure.Message}. Check the server of this context (--kubeconfig, --context) and the network.",
        KubernetesException => failure.Message,
        OperationCanceledException => "interrupted",
        _ => null,
    };
}

/// <summary>Example command lines, shown below a command's help.</summary>
public sealed class Examples
{
    private readonly Dictionary<Command, string[]> _lines = [];

    public void AddTo(Command command, params string[] lines) => _lines[command] = lines;

    public IReadOnlyList<string> Of(Command command) => _lines.GetValueOrDefault(command, []);
}

internal sealed class HelpWithExamples(HelpAction plain, Examples examples) : SynchronousCommandLineAction
{
    public override bool ClearsParseErrors => true;

    public override int Invoke(ParseResult parseResult)
    {
        var code = plain.Invoke(parseResult);
        var lines = examples.Of(parseResult.CommandResult.Command);
        if (lines.Count == 0) return code;
        var output = parseResult.InvocationConfiguration.Output;
        output.WriteLine("Examples:");
        foreach (var line in lines) output.WriteLine($"  {line}");
        output.WriteLine();
        return code;
    }
}
