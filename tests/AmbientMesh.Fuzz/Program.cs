using System.Globalization;
using AmbientMesh.Fuzz;
using AmbientMesh.Fuzz.Targets;

const string Usage = """
    usage: ./mesh fuzz TARGET [--seconds N] [--seed N] [--out FOLDER]    N seconds of hostile input for one target (60)
           ./mesh fuzz all    [--seconds N]                              every target, one after the other, N seconds each
           ./mesh fuzz TARGET --input FILE                               one input again, with what is wrong with it
           ./mesh fuzz --list                                            the targets
    """;

string? name = null, input = null;
var root = "artifacts/fuzz";
var seconds = 60.0;
var seed = Environment.TickCount;
var isChild = false;
for (var i = 0; i < args.Length; i++)
{
    var value = i + 1 < args.Length ? args[i + 1] : "";
    switch (args[i])
    {
        case "--list":
            foreach (var target in FuzzTargets.All) Console.WriteLine($"  {target.Name,-20} {target.Purpose}");
            return 0;
        case "--help" or "-h": Console.WriteLine(Usage); return 0;
        case "--child": isChild = true; break;
        case "--seconds" when double.TryParse(value, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out seconds) && seconds is > 0 and <= 86400: i++; break;
        case "--seed" when int.TryParse(value, out seed): i++; break;
        case "--out" when value.Length > 0: root = value; i++; break;
        case "--input" when File.Exists(value): input = value; i++; break;
        case var word when name is null && !word.StartsWith('-'): name = word; break;
        default: Console.Error.WriteLine($"mesh fuzz: \"{args[i]}\" cannot be used here.\n{Usage}"); return 2;
    }
}
var chosen = FuzzTargets.All.Where(t => name == "all" || t.Name == name).ToList();
if (chosen.Count == 0)
{
    Console.Error.WriteLine(name is null ? Usage : $"mesh fuzz: there is no target \"{name}\"; ./mesh fuzz --list names them.");
    return 2;
}
if (input is not null)
{
    var fault = Trial.Of(chosen[0], File.ReadAllBytes(input));
    Console.WriteLine(fault?.Text ?? "nothing is wrong with it");
    return fault is null ? 0 : 1;
}
if (isChild)
{
    using var campaign = new Campaign(chosen[0], Path.Combine(root, chosen[0].Name), seed);
    return campaign.Run(TimeSpan.FromSeconds(seconds)) > 0 ? 1 : 0;
}
Directory.CreateDirectory(root);
var results = Path.Combine(root, "results.tsv");
if (!File.Exists(results)) File.WriteAllText(results, "target\tseconds\texecutions\tedges\tinputs\tfindings\n");
using var interrupted = new CancellationTokenSource();
Console.CancelKeyPress += (_, pressed) =>
{
    pressed.Cancel = true;
    interrupted.Cancel();
};
var findings = 0;
foreach (var target in chosen)
{
    Progress ran;
    try
    {
        ran = await Supervisor.RunAsync(target, root, TimeSpan.FromSeconds(seconds), seed, interrupted.Token);
    }
    catch (OperationCanceledException)
    {
        return 130;
    }
    findings += ran.Findings;
    Console.WriteLine($"{target.Name}: {ran.Seconds:0} s, {ran.Executions} executions, {ran.Edges} edges, {ran.Inputs} inputs, {ran.Findings} findings");
    File.AppendAllText(results, $"{target.Name}\t{ran.Seconds:0}\t{ran.Executions}\t{ran.Edges}\t{ran.Inputs}\t{ran.Findings}\n");
}
return findings == 0 ? 0 : 1;
