using System.Text;

namespace AmbientMesh.Cni.Node.Redirection;

/// <summary>Turns wanted rules and what is there now into a script for <c>iptables-restore --noflush</c>.</summary>
/// <remarks>
/// Pure. Each table changes in one step, from the old rules to the new, so a repair leaves no moment in which a captured pod is open.
/// </remarks>
public static class IptablesScript
{
    private static readonly (string BuiltIn, string Ours)[] s_jumps =
        [("PREROUTING", IptablesPodRules.Prerouting), ("OUTPUT", IptablesPodRules.Output)];

    /// <summary>Puts exactly <paramref name="wanted"/> in place whatever of ours <paramref name="saved"/> holds.</summary>
    public static string Install(IReadOnlyList<IptablesTable> wanted, string saved)
    {
        var script = new StringBuilder();
        foreach (var table in wanted)
        {
            var present = Present(saved, table.Name);
            if (table.Rules.Count == 0)
            {
                script.Append(Removal(table.Name, present));
                continue;
            }
            script.Append($"*{table.Name}\n");
            foreach (var (_, ours) in s_jumps) script.Append($":{ours} - [0:0]\n");   // creates or empties
            foreach (var jump in present.Jumps) script.Append(Deleting(jump));
            foreach (var (builtIn, ours) in s_jumps) script.Append($"-A {builtIn} -j {ours}\n");
            foreach (var rule in table.Rules) script.Append(rule).Append('\n');
            script.Append("COMMIT\n");
        }
        return script.ToString();
    }

    /// <summary>Takes everything of ours out; empty when <paramref name="saved"/> has nothing.</summary>
    public static string Remove(string saved) =>
        string.Concat(IptablesPodRules.TableNames.Select(table => Removal(table, Present(saved, table))));

    /// <summary>Our rules in <paramref name="saved"/>, one per line, in a form that compares equal when the rules are; empty when there are none.</summary>
    public static string Ours(string saved)
    {
        var lines = from line in Rules(saved)
                    where s_jumps.Any(jump => Mentions(line.Rule, jump.Ours))
                    group $"{line.Table} {line.Rule}\n" by $"{line.Table} {line.Rule.Split(' ')[1]}" into chain
                    orderby chain.Key
                    select string.Concat(chain);
        return string.Concat(lines);
    }

    private static string Removal(string table, (List<string> Jumps, List<string> Chains) present)
    {
        if (present.Jumps.Count == 0 && present.Chains.Count == 0) return "";
        var script = new StringBuilder($"*{table}\n");
        foreach (var jump in present.Jumps) script.Append(Deleting(jump));
        foreach (var chain in present.Chains) script.Append($"-F {chain}\n");
        foreach (var chain in present.Chains) script.Append($"-X {chain}\n");
        return script.Append("COMMIT\n").ToString();
    }

    private static (List<string> Jumps, List<string> Chains) Present(string saved, string table)
    {
        var inTable = Tables(saved).Where(line => line.Table == table).Select(line => line.Line).ToList();
        var jumps = inTable.Where(line => s_jumps.Any(jump => line.StartsWith($"-A {jump.BuiltIn} ", StringComparison.Ordinal) && Mentions(line, jump.Ours)));
        var chains = s_jumps.Select(jump => jump.Ours).Where(chain => inTable.Any(line => line.StartsWith($":{chain} ", StringComparison.Ordinal)));
        return ([.. jumps], [.. chains]);
    }

    private static string Deleting(string rule) => string.Concat("-D", rule.AsSpan(2), "\n");

    private static bool Mentions(string rule, string chain) => rule.Split(' ').Contains(chain);

    private static IEnumerable<(string Table, string Rule)> Rules(string saved) =>
        Tables(saved).Where(line => line.Line.StartsWith("-A ", StringComparison.Ordinal));

    private static IEnumerable<(string Table, string Line)> Tables(string saved)
    {
        var table = "";
        foreach (var raw in saved.Split('\n'))
        {
            var line = raw.TrimEnd();
            if (line.StartsWith('*')) table = line[1..];
            else if (line.Length > 0) yield return (table, line);
        }
    }
}
