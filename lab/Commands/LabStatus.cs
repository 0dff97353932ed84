namespace AmbientMesh.Lab.Commands;

/// <summary><c>status</c>: the labs of this machine, as a table or as JSON.</summary>
internal static class LabStatus
{
    /// <summary>0 when the lab asked for (or any) is up, else 1.</summary>
    public static int Run(string? name, bool asJson, TextWriter output)
    {
        var labs = LabPaths.All().Where(n => name is null || n == name).Select(n => (Name: n, State: LabState.Load(new LabPaths(n)))).ToArray();
        if (asJson)
        {
            output.WriteLine(LabState.Json(labs.Select(l => new { l.Name, Condition = Condition(l.State), Lab = l.State })));
        }
        else if (labs.Length == 0)
        {
            output.WriteLine(name is null ? "no lab on this machine" : $"there is no lab '{name}'");
        }
        else
        {
            Table(output, labs);
        }
        return Array.Exists(labs, l => Condition(l.State) == "up") ? 0 : 1;
    }

    private static string Condition(LabState? state) => state switch
    {
        null => "broken",
        { Daemon.IsAlive: false } => "crashed",
        { IsReady: false } => "starting",
        _ => "up",
    };

    private static void Table(TextWriter output, IEnumerable<(string Name, LabState? State)> labs)
    {
        List<string[]> rows = [["LAB", "STATE", "API SERVER", "NODE", "READY", "PODS", "ADDRESS", "PID"]];
        foreach (var (name, state) in labs)
        {
            if (state is null or { Nodes.Count: 0 }) rows.Add([name, Condition(state), state?.ApiServer ?? "", "", "", "", "", ""]);
            else rows.AddRange(state.Nodes.Select((n, i) => (string[])
                [i == 0 ? name : "", i == 0 ? Condition(state) : "", i == 0 ? state.ApiServer : "", n.Name, n.Ready ? "yes" : "no", $"{n.Pods}", n.Addresses[0], $"{n.Process.Pid}"]));
        }
        var widths = Enumerable.Range(0, rows[0].Length).Select(c => rows.Max(r => r[c].Length)).ToArray();
        foreach (var row in rows) output.WriteLine(string.Join("   ", row.Select((cell, c) => cell.PadRight(widths[c]))).TrimEnd());
    }
}
