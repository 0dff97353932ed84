namespace AmbientMesh.Linux.Netfilter;

/// <summary>Writes and reads nftables rules in any network namespace.</summary>
public static class Nftables
{
    /// <summary>Applies <paramref name="script"/> (<c>nft -f</c> syntax) as one transaction: all of it or nothing.</summary>
    /// <exception cref="ProgramFailedException">The kernel or the parser refused; nothing has changed.</exception>
    public static async Task ApplyAsync(NetworkNamespace? inside, string script, CancellationToken cancellationToken) =>
        (await HostProgram.RunAsync(new ProgramCall("nft", "-f", "-") { Inside = inside, Input = script }, cancellationToken)).Required();

    /// <summary>One table without counters' values; null when it does not exist.</summary>
    /// <exception cref="ProgramFailedException">nft is missing or not permitted.</exception>
    public static Task<string?> ListTableAsync(NetworkNamespace? inside, string family, string table, CancellationToken cancellationToken) =>
        ListAsync(new ProgramCall("nft", "-s", "list", "table", family, table) { Inside = inside }, cancellationToken);

    /// <summary>One set as nft's JSON; null when it does not exist.</summary>
    /// <exception cref="ProgramFailedException">nft is missing or not permitted.</exception>
    public static Task<string?> ListSetAsync(NetworkNamespace? inside, string family, string table, string set, CancellationToken cancellationToken) =>
        ListAsync(new ProgramCall("nft", "-j", "list", "set", family, table, set) { Inside = inside }, cancellationToken);

    private static async Task<string?> ListAsync(ProgramCall call, CancellationToken cancellationToken)
    {
        var result = await HostProgram.RunAsync(call, cancellationToken);
        if (result.Errors.Contains("No such file or directory", StringComparison.Ordinal)) return null;
        return result.Required().Output;
    }
}
