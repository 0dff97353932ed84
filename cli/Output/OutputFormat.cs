using System.CommandLine.Parsing;

namespace AmbientMesh.Cli.Output;

/// <summary>How an answer is written. <c>Short</c> is the table without its explanations.</summary>
public enum OutputFormat { Table, Json, Yaml, Short }

internal static class OutputFormats
{
    public static OutputFormat Parse(ArgumentResult argument)
    {
        var text = argument.Tokens.Count > 0 ? argument.Tokens[0].Value : "table";
        switch (text)
        {
            case "table" or "wide": return OutputFormat.Table;
            case "json": return OutputFormat.Json;
            case "yaml": return OutputFormat.Yaml;
            case "short": return OutputFormat.Short;
            default:
                argument.AddError($"\"{text}\" is no output format; expected table, json, yaml or short.");
                return OutputFormat.Table;
        }
    }
}
