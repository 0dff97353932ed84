namespace AmbientMesh.Conformance;

/// <summary>What <c>./mesh test</c> was asked to do.</summary>
/// <param name="Only">Rings to run, by name (<see cref="TestRing"/>); all when empty.</param>
/// <param name="Write">Rewrite <c>docs/CONFORMANCE.md</c>.</param>
/// <param name="FromLastRun">Take the results that are there instead of running.</param>
/// <param name="Cluster">Run the end-to-end suite alone, against the cluster of <paramref name="Kubeconfig"/>.</param>
/// <param name="Kubeconfig">A kubeconfig file whose current context is the cluster to use; an absolute path.</param>
/// <param name="Installed">Use the mesh that the cluster already has instead of applying <c>deploy/</c>.</param>
/// <param name="Keep">Leave the mesh installed that the run installed.</param>
public sealed record RunOptions(IReadOnlyList<string> Only, bool Write, bool FromLastRun, bool Cluster, string Kubeconfig, bool Installed, bool Keep)
{
    /// <exception cref="ArgumentException">An option is unknown, lacks its value, or does not go with another; the message says which.</exception>
    public static RunOptions Parse(IReadOnlyList<string> arguments)
    {
        var options = new RunOptions([], false, false, false, "", false, false);
        for (var i = 0; i < arguments.Count; i++)
            options = arguments[i] switch
            {
                "--write-conformance" => options with { Write = true },
                "--from-last-run" => options with { FromLastRun = true },
                "--cluster" => options with { Cluster = true },
                "--installed" => options with { Installed = true },
                "--keep" => options with { Keep = true },
                "--only" => options with { Only = Value(arguments, ref i).Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries) },
                "--kubeconfig" => options with { Kubeconfig = Path.GetFullPath(Value(arguments, ref i)) },
                var other => throw new ArgumentException($"unknown option \"{other}\"; ./mesh help lists what there is."),
            };
        return options.Checked();
    }

    private RunOptions Checked()
    {
        foreach (var unknown in Only.Except(TestRing.All.Select(r => r.Name), StringComparer.OrdinalIgnoreCase))
            throw new ArgumentException($"there are no tests called \"{unknown}\"; known are {string.Join(", ", TestRing.All.Select(r => r.Name))}.");
        if (Write && (Only.Count > 0 || Cluster)) throw new ArgumentException("--write-conformance needs the whole run; leave --only and --cluster away.");
        if (!Cluster)
            return Kubeconfig.Length == 0 && !Installed && !Keep ? this : throw new ArgumentException("--kubeconfig, --installed and --keep belong to --cluster.");
        if (Only.Count > 0) throw new ArgumentException("--cluster runs the end-to-end suite; leave --only away.");
        if (Kubeconfig.Length == 0) throw new ArgumentException("--cluster wants --kubeconfig FILE: the tests make and delete namespaces there, so the cluster must be named.");
        if (!File.Exists(Kubeconfig)) throw new ArgumentException($"the kubeconfig {Kubeconfig} does not exist.");
        return this with { Only = ["EndToEnd", "Lifecycles"] };
    }

    private static string Value(IReadOnlyList<string> arguments, ref int at) =>
        at + 1 < arguments.Count ? arguments[++at] : throw new ArgumentException($"{arguments[at]} wants a value.");
}
