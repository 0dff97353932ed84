using System.Net.Sockets;

namespace AmbientMesh.Linux;

/// <summary>Sends marked packets to the loopback interface whatever their destination, so that a local socket gets them.</summary>
/// <param name="Mark">The mark under <paramref name="Mask"/> that selects a packet.</param>
/// <param name="Table">Routing table holding the one route.</param>
/// <param name="Preference">Place among the rules; lower is earlier.</param>
public sealed record LoopbackRouting(int Mark, int Mask, int Table, int Preference)
{
    /// <summary>Puts rule and route in place; existing ones stay. For IPv6 the route is left out when loopback has IPv6 disabled.</summary>
    /// <exception cref="IOException">The kernel refused.</exception>
    public async Task ApplyAsync(NetworkNamespace inside, AddressFamily family, CancellationToken cancellationToken)
    {
        var (flag, any) = Family(family);
        var script = $"rule add {string.Join(' ', RuleSelector)}\n";
        if (family == AddressFamily.InterNetwork || !await LoopbackWithoutIpv6Async(inside, cancellationToken))
            script += $"route replace local {any} dev lo scope host table {Table}\n";
        var result = await HostProgram.RunAsync(new ProgramCall("ip", flag, "-force", "-batch", "-") { Inside = inside, Input = script }, cancellationToken);
        // A rule that is there already is the one complaint that is none; ip adds a line saying which command it was.
        var complaints = result.Errors.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Where(line => !line.Contains("File exists", StringComparison.Ordinal) && !line.StartsWith("Command failed -:1", StringComparison.Ordinal)).ToList();
        if (complaints.Count > 0) throw new IOException($"{result.Call}: {string.Join("; ", complaints)}");
    }

    /// <summary>Removes rule and route; no error when absent.</summary>
    public async Task DeleteAsync(NetworkNamespace inside, AddressFamily family, CancellationToken cancellationToken)
    {
        var (flag, any) = Family(family);
        while ((await ShowAsync(inside, flag, cancellationToken)).Contains("lookup", StringComparison.Ordinal))
            await IpAsync(inside, cancellationToken, [flag, "rule", "del", .. RuleSelector]);
        await HostProgram.RunAsync(new ProgramCall("ip", flag, "route", "del", "local", any, "dev", "lo", "table", $"{Table}") { Inside = inside }, cancellationToken);
    }

    /// <summary>Rule and route as the kernel has them now; the text is for comparing with another namespace.</summary>
    public async Task<string> ReadAsync(NetworkNamespace inside, AddressFamily family, CancellationToken cancellationToken)
    {
        var (flag, _) = Family(family);
        var rules = await ShowAsync(inside, flag, cancellationToken);
        // "FIB table does not exist" is how an empty table answers.
        var routes = await HostProgram.RunAsync(new ProgramCall("ip", flag, "route", "show", "table", $"{Table}") { Inside = inside }, cancellationToken);
        return Lines(rules) + Lines(routes.Output);
    }

    private string[] RuleSelector => ["fwmark", $"0x{Mark:x}/0x{Mask:x}", "lookup", $"{Table}", "preference", $"{Preference}"];

    private async Task<string> ShowAsync(NetworkNamespace inside, string flag, CancellationToken cancellationToken) =>
        (await HostProgram.RunAsync(new ProgramCall("ip", flag, "rule", "show", "preference", $"{Preference}") { Inside = inside }, cancellationToken)).Required().Output;

    private static async Task<bool> LoopbackWithoutIpv6Async(NetworkNamespace inside, CancellationToken cancellationToken)
    {
        var read = new ProgramCall("cat", "/proc/sys/net/ipv6/conf/lo/disable_ipv6") { Inside = inside };
        return (await HostProgram.RunAsync(read, cancellationToken)).Output.Trim() != "0";
    }

    private static async Task IpAsync(NetworkNamespace inside, CancellationToken cancellationToken, params string[] arguments) =>
        (await HostProgram.RunAsync(new ProgramCall("ip", arguments) { Inside = inside }, cancellationToken)).Required();

    private static (string Flag, string Any) Family(AddressFamily family) =>
        family == AddressFamily.InterNetworkV6 ? ("-6", "::/0") : ("-4", "0.0.0.0/0");

    private static string Lines(string output) => string.Concat(output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.TrimEnd().Replace('\t', ' ') + "\n"));
}
