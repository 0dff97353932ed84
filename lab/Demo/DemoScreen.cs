using System.Diagnostics;
using Spectre.Console;

namespace AmbientMesh.Lab.Demo;

/// <summary>What the demo prints: numbered steps with their time, the commands as a person would type them, proofs, and the closing table.</summary>
public sealed class DemoScreen(IAnsiConsole console)
{
    private readonly List<(string Claim, bool Holds, string How)> _proofs = [];
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private int _step;

    public bool AllHold => _proofs.Count > 0 && _proofs.All(p => p.Holds);

    public void Step(string title)
    {
        console.WriteLine();
        console.MarkupLineInterpolated($"[bold]{++_step}. {title}[/] [grey]({_clock.Elapsed.TotalSeconds:0} s)[/]");
    }

    public void Command(string line) => console.MarkupLineInterpolated($"   [blue]$ {line}[/]");

    public void Line(string text) => console.MarkupLineInterpolated($"   {text}");

    public void Lines(IEnumerable<string> lines)
    {
        foreach (var line in lines) Line(line);
    }

    /// <summary>Records a claim, whether it held, and by which observation.</summary>
    public void Proof(string claim, bool holds, string how)
    {
        _proofs.Add((claim, holds, how));
        console.MarkupLineInterpolated($"   {(holds ? "✓" : "✗")} [bold]{claim}[/]: {how}");
    }

    public void Failed(string why)
    {
        console.WriteLine();
        console.MarkupLineInterpolated($"[red]The demo stopped:[/] {why}");
    }

    public void LookAround(string lab, string kubeconfig)
    {
        console.WriteLine();
        console.MarkupLineInterpolated($"The lab is left running. Look around:");
        Line($"export KUBECONFIG={kubeconfig}");
        Line("kubectl get pods -A -o wide");
        Line("kubectl label namespace shop istio.io/dataplane-mode=ambient");
        Line("kubectl logs -n shop deploy/client --tail=5 -f");
        Line("kubectl logs -n istio-system ds/ztunnel | grep access");
        Line($"./mesh lab enter --name {lab} -- tcpdump -ni fabric0 -A     (the wire between the nodes)");
        Line($"./mesh lab down --name {lab}                               (removes everything)");
    }

    public void Summary()
    {
        var table = new Table().RoundedBorder().AddColumn("proof").AddColumn("").AddColumn("how it was seen");
        foreach (var (claim, holds, how) in _proofs) table.AddRow(Markup.Escape(claim), holds ? "[green]✓[/]" : "[red]✗ fails[/]", Markup.Escape(how));
        console.WriteLine();
        console.Write(table);
        console.MarkupLineInterpolated($"{_proofs.Count(p => p.Holds)} of {_proofs.Count} proofs hold, in {_clock.Elapsed.TotalSeconds:0} s.");
    }
}
