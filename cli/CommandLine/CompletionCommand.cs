using System.CommandLine;

namespace AmbientMesh.Cli.CommandLine;

/// <summary><c>meshctl completion SHELL</c>: a script by which the shell asks this program what may come next.</summary>
internal static class CompletionCommand
{
    private const string Bash = """
        _meshctl() {
          local IFS=$'\n'
          COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" "[suggest:${COMP_POINT}]" "${COMP_LINE}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
        }
        complete -F _meshctl meshctl
        """;

    private const string Zsh = """
        #compdef meshctl
        _meshctl() {
          local -a found
          found=("${(@f)$(meshctl "[suggest:${CURSOR}]" "${BUFFER}" 2>/dev/null)}")
          compadd -- $found
        }
        compdef _meshctl meshctl
        """;

    private const string Fish = """
        complete -f -c meshctl -a '(meshctl "[suggest:"(commandline -C)"]" (commandline) 2>/dev/null)'
        """;

    public static Command Build(Surroundings surroundings, Examples examples)
    {
        var shell = new Argument<string>("shell") { Description = "bash, zsh or fish" };
        shell.AcceptOnlyFromAmong("bash", "zsh", "fish");
        var command = new Command("completion", "Prints a script that completes meshctl's command lines in your shell") { shell };
        command.SetAction(options =>
        {
            surroundings.Out.WriteLine(options.GetValue(shell) switch { "bash" => Bash, "zsh" => Zsh, _ => Fish });
            return ExitCodes.Fine;
        });
        examples.AddTo(command, "source <(meshctl completion bash)", "meshctl completion zsh > \"${fpath[1]}/_meshctl\"");
        return command;
    }
}
