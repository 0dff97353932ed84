using System.Net;
using System.Net.Sockets;
using System.Text;

namespace AmbientMesh.Linux.Netfilter;

/// <summary>One address of an ipset and the comment it carries.</summary>
public readonly record struct IpSetEntry(IPAddress Address, string Comment);

/// <summary>ipsets of type <c>hash:ip</c> with comments. Source: <c>ipset(8)</c>.</summary>
public static class IpSets
{
    /// <summary>Makes sure of the set; one that is there keeps its entries.</summary>
    /// <exception cref="ProgramFailedException">The kernel has no ip_set, or a set of that name has another type.</exception>
    public static Task CreateAsync(NetworkNamespace? inside, string set, AddressFamily family, CancellationToken cancellationToken) =>
        RestoreAsync(inside, $"create {set} hash:ip family {(family == AddressFamily.InterNetworkV6 ? "inet6" : "inet")} comment -exist\n", cancellationToken);

    /// <summary>Adds the entries; an address already there gets the new comment.</summary>
    public static Task PutAsync(NetworkNamespace? inside, string set, IEnumerable<IpSetEntry> entries, CancellationToken cancellationToken)
    {
        var script = new StringBuilder();
        // -exist alone keeps the old comment, hence the removal first.
        foreach (var entry in entries) script.Append($"del {set} {entry.Address} -exist\nadd {set} {entry.Address} comment \"{entry.Comment}\" -exist\n");
        return script.Length == 0 ? Task.CompletedTask : RestoreAsync(inside, script.ToString(), cancellationToken);
    }

    /// <summary>Removes an address; no error when it is absent.</summary>
    public static Task RemoveAsync(NetworkNamespace? inside, string set, IPAddress address, CancellationToken cancellationToken) =>
        RestoreAsync(inside, $"del {set} {address} -exist\n", cancellationToken);

    /// <summary>The entries; null when there is no such set.</summary>
    public static async Task<IReadOnlyList<IpSetEntry>?> ListAsync(NetworkNamespace? inside, string set, CancellationToken cancellationToken)
    {
        var result = await HostProgram.RunAsync(new ProgramCall("ipset", "save", set) { Inside = inside }, cancellationToken);
        if (result.Errors.Contains("does not exist", StringComparison.Ordinal)) return null;
        return [.. result.Required().Output.Split('\n').Select(Parse).OfType<IpSetEntry>()];
    }

    /// <summary>Removes the set; no error when it is absent.</summary>
    public static async Task DestroyAsync(NetworkNamespace? inside, string set, CancellationToken cancellationToken)
    {
        var result = await HostProgram.RunAsync(new ProgramCall("ipset", "destroy", set) { Inside = inside }, cancellationToken);
        if (!result.Errors.Contains("does not exist", StringComparison.Ordinal)) result.Required();
    }

    // add <set> <ip> [comment "<text>"]
    internal static IpSetEntry? Parse(string line)
    {
        var words = line.Split(' ', 5);
        if (words is not ["add", _, var ip, ..] || !IPAddress.TryParse(ip, out var address)) return null;
        return new IpSetEntry(address, words.Length == 5 ? words[4].Trim().Trim('"') : "");
    }

    private static async Task RestoreAsync(NetworkNamespace? inside, string script, CancellationToken cancellationToken) =>
        (await HostProgram.RunAsync(new ProgramCall("ipset", "restore") { Inside = inside, Input = script }, cancellationToken)).Required();
}
