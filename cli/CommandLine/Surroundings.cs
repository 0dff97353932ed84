namespace AmbientMesh.Cli.CommandLine;

/// <summary>What a command has around it: where it writes, the environment, the clock.</summary>
/// <param name="Environment">Reads an environment variable; null when unset.</param>
public sealed record Surroundings(TextWriter Out, TextWriter Error, Func<string, string?> Environment, TimeProvider Clock);

/// <summary>What the process ends with.</summary>
public static class ExitCodes
{
    public const int Fine = 0;
    /// <summary>What was asked could not be found out; the reason is on the error output.</summary>
    public const int Failed = 1;
    /// <summary>The command line is wrong.</summary>
    public const int Usage = 2;
    /// <summary>It was found out and it is not good: a part is not ready or not in sync, a connection would be refused.</summary>
    public const int NotFine = 3;
}

/// <summary>The command cannot answer; the message says what was attempted and what to check.</summary>
public sealed class MeshctlException(string message, Exception? cause = null) : Exception(message, cause);
