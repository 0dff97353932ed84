using System.Net.Sockets;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Linux;
using AmbientMesh.Linux.Netfilter;

namespace AmbientMesh.Cni.Node;

/// <summary>How this node's kernel is to be spoken to.</summary>
/// <param name="Host">The node's network namespace; null when it is the agent's own.</param>
internal sealed record HostTools(NetworkNamespace? Host, PodRedirection Redirection, IProbeExemptions Probes) : IDisposable
{
    public NamespaceId HostId => (Host ?? NetworkNamespace.Home).Id;

    public void Dispose() => Host?.Dispose();
}

/// <summary>Finds out, before anything is changed, whether the node can do what the agent needs, and by which means.</summary>
internal static class HostPreflight
{
    private static readonly Capability[] s_needed = [Capability.NetAdmin, Capability.NetRaw, Capability.SysAdmin, Capability.SysPtrace];

    /// <exception cref="IOException">Something is missing; one line says what.</exception>
    public static async Task<HostTools> RunAsync(AgentSettings settings, CancellationToken cancellationToken)
    {
        if (Privileges.Missing(s_needed).FirstOrDefault() is { } missing) throw new IOException(missing);
        var host = settings.SwitchesToHostNamespace ? NetworkNamespace.Open($"{settings.HostProc}/1/ns/net") : null;
        try
        {
            return settings.UsesNftables && !await HasIpsetsAsync(host, cancellationToken) ? await NftablesAsync(settings, host, cancellationToken) : await IptablesAsync(settings, host, cancellationToken);
        }
        catch
        {
            host?.Dispose();
            throw;
        }
    }

    private static async Task<HostTools> NftablesAsync(AgentSettings settings, NetworkNamespace? host, CancellationToken cancellationToken)
    {
        await Nftables.ListTableAsync(host, NftablesPodRules.Family, NftablesPodRules.NatTable, cancellationToken);   // fails without nft
        var others = new List<IRedirectionBackend>();
        foreach (var variant in await UsableIptablesAsync(host, cancellationToken)) others.Add(Iptables(settings, variant));
        var kubelet = settings.KubeletUserId ?? KubeletUser(settings.HostProc);
        return new HostTools(host, new PodRedirection(new NftablesRedirection(settings.Redirect), others, settings.Redirect), new NftProbeExemptions(host, settings.Redirect, kubelet));
    }

    private static async Task<HostTools> IptablesAsync(AgentSettings settings, NetworkNamespace? host, CancellationToken cancellationToken)
    {
        var variant = await Linux.Netfilter.Iptables.DetectAsync(settings.ForcedIptables, host, cancellationToken);
        if (settings.Redirect.RedirectsIpv6) await RequireIp6tablesAsync(new Iptables(variant, settings.RunFolder), host, cancellationToken);
        var others = (await UsableIptablesAsync(host, cancellationToken)).Where(other => other != variant).Select(other => (IRedirectionBackend)Iptables(settings, other)).ToList();
        if ((await HostProgram.RunAsync(new ProgramCall("nft", "list", "tables") { Inside = host }, cancellationToken)).Succeeded) others.Add(new NftablesRedirection(settings.Redirect));
        var probes = new IpsetProbeExemptions(host, new Iptables(variant, settings.RunFolder), settings.Redirect);
        return new HostTools(host, new PodRedirection(Iptables(settings, variant), others, settings.Redirect), probes);
    }

    private static async Task RequireIp6tablesAsync(Iptables iptables, NetworkNamespace? host, CancellationToken cancellationToken)
    {
        try
        {
            await iptables.SaveAsync(host, AddressFamily.InterNetworkV6, cancellationToken);
        }
        catch (ProgramFailedException e)
        {
            throw new IOException($"IPv6 traffic cannot be redirected here ({e.Message}); load the kernel's ip6tables, or set AMBIENT_IPV6 to false if no pod has an IPv6 address.", e);
        }
    }

    private static IptablesRedirection Iptables(AgentSettings settings, IptablesVariant variant) => new(new Iptables(variant, settings.RunFolder), settings.Redirect);

    private static async Task<List<IptablesVariant>> UsableIptablesAsync(NetworkNamespace? host, CancellationToken cancellationToken)
    {
        var usable = new List<IptablesVariant>();
        foreach (var (variant, program) in ((IptablesVariant, string)[])[(IptablesVariant.Nft, "iptables-nft-save"), (IptablesVariant.Legacy, "iptables-legacy-save")])
        {
            try
            {
                if ((await HostProgram.RunAsync(new ProgramCall(program) { Inside = host }, cancellationToken)).Succeeded) usable.Add(variant);
            }
            catch (ProgramFailedException)
            {
                // Not installed; then nothing was written by it either.
            }
        }
        return usable;
    }

    // A node that has the sets of the iptables way stays with it: two agents of different ways would hide each other's rules.
    private static async Task<bool> HasIpsetsAsync(NetworkNamespace? host, CancellationToken cancellationToken)
    {
        try
        {
            return await IpSets.ListAsync(host, ProbeSets.V4, cancellationToken) is not null;
        }
        catch (ProgramFailedException)
        {
            return false;
        }
    }

    // Root, as the kubelet runs everywhere, when no process of its name is found.
    private static int KubeletUser(string proc)
    {
        var kubelet = ProcessTable.Read(proc).FirstOrDefault(process => process.Name is "kubelet" or "k3s"
            || (process.Name == "kubelite" && ProcessTable.Arguments(proc, process.Id).Any(argument => argument.Contains("kubelet", StringComparison.Ordinal))));
        return kubelet is null ? 0 : ProcessTable.UserId(proc, kubelet.Id) ?? 0;
    }
}
