using System.CommandLine;
using AmbientMesh.Lab.Network;

namespace AmbientMesh.Lab.Commands;

/// <summary>The command line of <c>mesh-lab</c>.</summary>
internal static class LabCommands
{
    private static readonly Option<string> s_name = new("--name") { Description = "The lab's name; several labs run side by side.", DefaultValueFactory = _ => "lab" };
    private static readonly Option<int> s_nodes = new("--nodes") { Description = "How many nodes.", DefaultValueFactory = _ => 2 };
    private static readonly Option<string> s_images = new("--images") { Description = "Folder of published parts: ambientmesh/NAME is its folder NAME.", DefaultValueFactory = _ => "artifacts/publish" };
    private static readonly Option<string?> s_ztunnel = new("--ztunnel") { Description = "A program or folder to run in place of our ztunnel." };
    private static readonly Option<string?> s_kubeconfig = new("--kubeconfig") { Description = "Where to write the kubeconfig; by default in the lab's folder." };

    private static readonly Option<string> s_family = Family();

    public static RootCommand Root()
    {
        var root = new RootCommand("A Kubernetes-shaped cluster on this machine.") { Up(), Down(), Status(), Enter(), Demo(), Serve() };
        return root;
    }

    /// <summary>As <c>--ip-family</c> is given.</summary>
    internal static string NameOf(AddressFamilies families) => families == AddressFamilies.Ipv6 ? "ipv6" : "dual";

    private static Option<string> Family()
    {
        var family = new Option<string>("--ip-family") { Description = "dual: nodes and pods have both, services IPv4 unless they ask for more. ipv6: nothing has an IPv4 address.", DefaultValueFactory = _ => "dual" };
        family.AcceptOnlyFromAmong("dual", "ipv6");
        return family;
    }

    private static AddressFamilies FamiliesOf(ParseResult parsed) => parsed.GetValue(s_family) == "ipv6" ? AddressFamilies.Ipv6 : AddressFamilies.Dual;

    private static Command Up()
    {
        var command = new Command("up", "Make a lab and wait until it is ready.") { s_name, s_nodes, s_images, s_ztunnel, s_kubeconfig, s_family };
        command.SetAction((parsed, cancellationToken) => LabUp.RunAsync(parsed.GetValue(s_name)!, parsed.GetValue(s_nodes), parsed.GetValue(s_images)!,
            parsed.GetValue(s_ztunnel), parsed.GetValue(s_kubeconfig), FamiliesOf(parsed), cancellationToken));
        return command;
    }

    private static Command Down()
    {
        var all = new Option<bool>("--all") { Description = "Every lab of this machine." };
        var command = new Command("down", "Remove a lab and everything it made.") { s_name, all };
        command.SetAction((parsed, cancellationToken) => LabDown.RunAsync(parsed.GetValue(all) ? LabPaths.All() : [parsed.GetValue(s_name)!], cancellationToken));
        return command;
    }

    private static Command Status()
    {
        var output = new Option<string>("--output", "-o") { Description = "table or json.", DefaultValueFactory = _ => "table" };
        output.AcceptOnlyFromAmong("table", "json");
        var name = new Option<string?>("--name") { Description = "One lab only." };
        var command = new Command("status", "Show the labs of this machine.") { name, output };
        command.SetAction(parsed => LabStatus.Run(parsed.GetValue(name), parsed.GetValue(output) == "json", Console.Out));
        return command;
    }

    private static Command Enter()
    {
        var node = new Option<string?>("--node") { Description = "Which node; without it the fabric between them." };
        var words = new Argument<string[]>("command") { Description = "Program and arguments, after --.", Arity = ArgumentArity.OneOrMore };
        var command = new Command("enter", "Run a program on a node, or on the wire between them (network only).") { s_name, node, words };
        command.SetAction((parsed, cancellationToken) => LabEnter.RunAsync(parsed.GetValue(s_name)!, parsed.GetValue(node), parsed.GetValue(words)!, cancellationToken));
        return command;
    }

    private static Command Demo()
    {
        var keep = new Option<bool>("--keep") { Description = "Leave the lab running and say how to look around." };
        var command = new Command("demo", "Install the mesh with kubectl, enrol a namespace by a label, prove each claim on the wire.") { keep, s_images };
        command.SetAction((parsed, cancellationToken) => AmbientMesh.Lab.Demo.DemoRun.RunAsync(parsed.GetValue(keep), parsed.GetValue(s_images)!, cancellationToken));
        return command;
    }

    private static Command Serve()
    {
        var port = new Option<int>("--api-port") { Description = "Port of the API server on loopback." };
        var command = new Command("serve", "The lab itself, in the foreground; started by 'up'.") { s_name, s_nodes, s_images, s_ztunnel, s_kubeconfig, port, s_family };
        command.Hidden = true;
        command.SetAction(async (parsed, _) =>
        {
            var paths = new LabPaths(parsed.GetValue(s_name)!);
            var options = new LabOptions(paths.Name, parsed.GetValue(s_nodes), Path.GetFullPath(parsed.GetValue(s_images)!), parsed.GetValue(s_kubeconfig) ?? paths.Kubeconfig,
                parsed.GetValue(s_ztunnel), parsed.GetValue(port), FamiliesOf(parsed));
            return await new LabDaemon(options, line => Console.Out.WriteLine(line)).RunAsync();
        });
        return command;
    }
}
