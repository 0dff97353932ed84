using System.Net.Sockets;
using AmbientMesh.Linux;
using AmbientMesh.Linux.Netfilter;

namespace AmbientMesh.Cni.Node.Redirection;

/// <summary>One way of writing redirect rules into a pod's namespace.</summary>
public interface IRedirectionBackend
{
    /// <summary><c>iptables (nft)</c>, <c>iptables (legacy)</c> or <c>nftables</c>.</summary>
    string Name { get; }

    /// <summary>Puts exactly the wanted rules in place; rules already there are replaced without a gap.</summary>
    /// <exception cref="IOException">The kernel refused; message from the program that asked it.</exception>
    Task ApplyAsync(NetworkNamespace pod, PodRedirectOptions options, CancellationToken cancellationToken);

    /// <summary>Our rules as the kernel has them, in a form that compares equal when they are; empty when there are none.</summary>
    /// <exception cref="IOException">They cannot be read.</exception>
    Task<string> ReadAsync(NetworkNamespace pod, CancellationToken cancellationToken);

    /// <summary>Takes our rules out; no error when there are none.</summary>
    /// <exception cref="IOException">The kernel refused.</exception>
    Task DeleteAsync(NetworkNamespace pod, CancellationToken cancellationToken);
}

/// <summary>Redirect rules by iptables and ip6tables.</summary>
public sealed class IptablesRedirection(Iptables iptables, RedirectSettings settings) : IRedirectionBackend
{
    public string Name => $"iptables ({(iptables.Variant == IptablesVariant.Nft ? "nft" : "legacy")})";

    private IEnumerable<AddressFamily> Families => settings.RedirectsIpv6 ? [AddressFamily.InterNetwork, AddressFamily.InterNetworkV6] : [AddressFamily.InterNetwork];

    public async Task ApplyAsync(NetworkNamespace pod, PodRedirectOptions options, CancellationToken cancellationToken)
    {
        foreach (var family in Families)
        {
            var saved = await iptables.SaveAsync(pod, family, cancellationToken);
            await iptables.RestoreAsync(pod, family, IptablesScript.Install(IptablesPodRules.For(family, settings, options), saved), cancellationToken);
        }
    }

    public async Task<string> ReadAsync(NetworkNamespace pod, CancellationToken cancellationToken)
    {
        var text = "";
        foreach (var family in Families)
            text += IptablesScript.Ours(await iptables.SaveAsync(pod, family, cancellationToken)) is { Length: > 0 } ours ? $"{family}\n{ours}" : "";
        return text;
    }

    public async Task DeleteAsync(NetworkNamespace pod, CancellationToken cancellationToken)
    {
        foreach (var family in Families)
        {
            var script = IptablesScript.Remove(await iptables.SaveAsync(pod, family, cancellationToken));
            if (script.Length > 0) await iptables.RestoreAsync(pod, family, script, cancellationToken);
        }
    }
}

/// <summary>Redirect rules by nftables.</summary>
public sealed class NftablesRedirection(RedirectSettings settings) : IRedirectionBackend
{
    public string Name => "nftables";

    public Task ApplyAsync(NetworkNamespace pod, PodRedirectOptions options, CancellationToken cancellationToken) =>
        Nftables.ApplyAsync(pod, NftablesPodRules.Install(settings, options), cancellationToken);

    public async Task<string> ReadAsync(NetworkNamespace pod, CancellationToken cancellationToken)
    {
        var text = "";
        foreach (var table in NftablesPodRules.TableNames)
            text += await Nftables.ListTableAsync(pod, NftablesPodRules.Family, table, cancellationToken);
        return text;
    }

    public Task DeleteAsync(NetworkNamespace pod, CancellationToken cancellationToken) =>
        Nftables.ApplyAsync(pod, NftablesPodRules.Remove(), cancellationToken);
}
