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

    /// <summary>Adds the entries; an address already there gets the new comment. One that is there as it should be is not touched.</summary>
    public static async Task PutAsync(NetworkNamespace? inside, string set, IEnumerable<IpSetEntry> entries, CancellationToken cancellationToken)
    {
        IpSetEntry[] wanted = [.. entries];
        if (wanted.Length == 0) return;
        var script = PutScript(set, wanted, await ListAsync(inside, set, cancellationToken) ?? []);
        if (script.Length > 0) await RestoreAsync(inside, script, cancellationToken);
    }

    /// <summary>What makes a set that has <paramref name="present"/> have <paramref name="wanted"/> as well; empty when it does.</summary>
    /// <remarks>A script is not carried out at once: between a removal and what follows the address is in no set, and packets are judged by that.</remarks>
    internal static string PutScript(string set, IEnumerable<IpSetEntry> wanted, IEnumerable<IpSetEntry> present)
    {
        var comments = present.ToDictionary(entry => entry.Address, entry => entry.Comment);
        var script = new StringBuilder();
        foreach (var entry in wanted)
        {
            var isThere = comments.TryGetValue(entry.Address, out var comment);
            if (isThere && comment == entry.Comment) continue;
            if (isThere) script.Append($"del {set} {entry.Address} -exist\n");   // -exist alone keeps the old comment
            script.Append($"add {set} {entry.Address} comment \"{entry.Comment}\" -exist\n");
            comments[entry.Address] = entry.Comment;
        }
        return script.ToString();
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
