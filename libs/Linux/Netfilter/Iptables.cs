using System.Net.Sockets;

namespace AmbientMesh.Linux.Netfilter;

/// <summary>The two kernels' interfaces behind the <c>iptables</c> command; rules written through one are invisible to the other.</summary>
public enum IptablesVariant
{
    Nft,
    Legacy,
}

/// <summary>Writes and reads iptables rules of one variant, in any network namespace, IPv4 and IPv6.</summary>
/// <remarks>The legacy variant serialises by a lock file; each namespace gets its own below <paramref name="lockFolder"/>, since rules of different namespaces never meet.</remarks>
public sealed class Iptables(IptablesVariant variant, string lockFolder)
{
    public IptablesVariant Variant { get; } = variant;

    /// <summary>Applies <paramref name="script"/> (<c>iptables-restore</c> syntax), each table in one step, leaving everything it does not name.</summary>
    /// <exception cref="ProgramFailedException">The script was refused; tables before the failing one are applied.</exception>
    public async Task RestoreAsync(NetworkNamespace? inside, AddressFamily family, string script, CancellationToken cancellationToken)
    {
        var call = Call(inside, family, "restore", "--noflush", "--wait") with { Input = script };
        (await HostProgram.RunAsync(call, cancellationToken)).Required();
    }

    /// <summary>Every table as <c>iptables-save</c> prints it.</summary>
    /// <exception cref="ProgramFailedException">The kernel has no such tables, or no permission.</exception>
    public async Task<string> SaveAsync(NetworkNamespace? inside, AddressFamily family, CancellationToken cancellationToken) =>
        (await HostProgram.RunAsync(Call(inside, family, "save"), cancellationToken)).Required().Output;

    /// <summary>
    /// The variant to write with: the forced one, else legacy when the host already has legacy rules (a mixture would be invisible to
    /// whoever looks), else nft when the kernel takes it, else legacy.
    /// </summary>
    /// <param name="forced"><c>legacy</c>, <c>nft</c>, a program name ending so, or empty.</param>
    /// <exception cref="IOException">Neither variant works here, or <paramref name="forced"/> is none of the two.</exception>
    public static async Task<IptablesVariant> DetectAsync(string forced, NetworkNamespace? host, CancellationToken cancellationToken)
    {
        if (forced.Contains("legacy", StringComparison.Ordinal)) return IptablesVariant.Legacy;
        if (forced.Contains("nft", StringComparison.Ordinal)) return IptablesVariant.Nft;
        if (forced.Length > 0) throw new IOException($"FORCE_IPTABLES_BINARY is '{forced}'; expected legacy or nft.");
        var legacy = await RulesAsync("iptables-legacy-save", host, cancellationToken);
        if (legacy > 0) return IptablesVariant.Legacy;
        if (await RulesAsync("iptables-nft-save", host, cancellationToken) is not null) return IptablesVariant.Nft;
        return legacy is not null ? IptablesVariant.Legacy : throw new IOException("Neither iptables-nft nor iptables-legacy works here; install iptables or load the kernel's nf_tables or ip_tables.");
    }

    private static async Task<int?> RulesAsync(string program, NetworkNamespace? host, CancellationToken cancellationToken)
    {
        try
        {
            var saved = await HostProgram.RunAsync(new ProgramCall(program) { Inside = host }, cancellationToken);
            return saved.Succeeded ? saved.Output.Split('\n').Count(line => line.StartsWith("-A", StringComparison.Ordinal)) : null;
        }
        catch (ProgramFailedException)
        {
            return null;
        }
    }

    private ProgramCall Call(NetworkNamespace? inside, AddressFamily family, string verb, params string[] arguments)
    {
        var call = new ProgramCall(Program(family, verb), arguments) { Inside = inside };
        if (Variant == IptablesVariant.Nft || inside is null) return call;
        Directory.CreateDirectory(lockFolder);
        var file = Path.Combine(lockFolder, $"xtables-{inside.Id.Inode}.lock");
        return call with { Environment = new Dictionary<string, string> { ["XTABLES_LOCKFILE"] = file } };
    }

    private string Program(AddressFamily family, string verb)
    {
        var name = family == AddressFamily.InterNetworkV6 ? "ip6tables" : "iptables";
        return $"{name}-{(Variant == IptablesVariant.Nft ? "nft" : "legacy")}-{verb}";
    }
}
