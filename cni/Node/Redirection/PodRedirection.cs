using System.Collections.Concurrent;
using System.Net.Sockets;
using AmbientMesh.Linux;

namespace AmbientMesh.Cni.Node.Redirection;

/// <summary>What a look into a pod's namespace found.</summary>
public enum RedirectionState
{
    /// <summary>Rules and routes are exactly the wanted ones.</summary>
    Intact,

    /// <summary>Nothing of ours is there.</summary>
    Absent,

    /// <summary>Something of ours is there and it is not what is wanted.</summary>
    Different,
}

/// <summary>Redirects a pod's traffic to the node's ztunnel: rules and routes inside its namespace. Thread-safe for different pods.</summary>
/// <remarks>
/// While the rules are there and nobody listens on 15001 and 15006, the kernel refuses the pod's connections: the pod is closed, not open.
/// What the kernel should answer is learnt by applying the wanted rules to an empty namespace and reading them back, so that a comparison
/// does not depend on how a version of iptables or nft prints.
/// </remarks>
/// <param name="backend">Writes the rules.</param>
/// <param name="others">Ways the rules may have been written before; theirs are removed when ours are in place.</param>
public sealed class PodRedirection(IRedirectionBackend backend, IReadOnlyList<IRedirectionBackend> others, RedirectSettings settings)
{
    private readonly ConcurrentDictionary<string, string> _expected = new();

    public string BackendName => backend.Name;

    private IEnumerable<AddressFamily> Families => settings.RedirectsIpv6 ? [AddressFamily.InterNetwork, AddressFamily.InterNetworkV6] : [AddressFamily.InterNetwork];

    /// <summary>Rules and routes are exactly the wanted ones afterwards; what was there is replaced without a gap.</summary>
    /// <param name="isNew">The namespace was just made; nobody wrote into it in another way before.</param>
    /// <exception cref="IOException">The kernel refused; the pod is not enrolled.</exception>
    public async Task ApplyAsync(NetworkNamespace pod, PodRedirectOptions options, CancellationToken cancellationToken, bool isNew = false)
    {
        // Routes first: they do nothing until the rules mark a packet.
        foreach (var family in Families) await RedirectSettings.ReplyRouting.ApplyAsync(pod, family, cancellationToken);
        await backend.ApplyAsync(pod, options, cancellationToken);
        if (isNew) return;
        foreach (var other in others)
            if ((await other.ReadAsync(pod, cancellationToken)).Length > 0) await other.DeleteAsync(pod, cancellationToken);
    }

    /// <summary>Compares what is there with what is wanted; changes nothing.</summary>
    /// <exception cref="IOException">The namespace cannot be read.</exception>
    public async Task<RedirectionState> InspectAsync(NetworkNamespace pod, PodRedirectOptions options, CancellationToken cancellationToken)
    {
        var rules = await backend.ReadAsync(pod, cancellationToken);
        var routes = await RoutesAsync(pod, cancellationToken);
        if (rules.Length == 0 && routes.Length == 0) return RedirectionState.Absent;
        return rules + routes == await ExpectedAsync(pod, options, cancellationToken) ? RedirectionState.Intact : RedirectionState.Different;
    }

    /// <summary>Takes rules and routes out; no error when there are none.</summary>
    /// <exception cref="IOException">The kernel refused; some may remain.</exception>
    public async Task DeleteAsync(NetworkNamespace pod, CancellationToken cancellationToken)
    {
        await backend.DeleteAsync(pod, cancellationToken);
        foreach (var family in Families) await RedirectSettings.ReplyRouting.DeleteAsync(pod, family, cancellationToken);
    }

    private async Task<string> RoutesAsync(NetworkNamespace pod, CancellationToken cancellationToken)
    {
        var text = "";
        foreach (var family in Families) text += await RedirectSettings.ReplyRouting.ReadAsync(pod, family, cancellationToken);
        return text;
    }

    private async Task<string> ExpectedAsync(NetworkNamespace pod, PodRedirectOptions options, CancellationToken cancellationToken)
    {
        var loopbackHasIpv6 = (await HostProgram.RunAsync(new ProgramCall("cat", LoopbackIpv6) { Inside = pod }, cancellationToken)).Output.Trim() == "0";
        var key = $"{options.Key};lo6={loopbackHasIpv6}";
        if (_expected.TryGetValue(key, out var known)) return known;
        using var empty = NetworkNamespace.Create();
        (await HostProgram.RunAsync(new ProgramCall("sh", "-ec", $"ip link set lo up; [ {loopbackHasIpv6} = True ] || echo 1 > {LoopbackIpv6}") { Inside = empty }, cancellationToken)).Required();
        foreach (var family in Families) await RedirectSettings.ReplyRouting.ApplyAsync(empty, family, cancellationToken);
        await backend.ApplyAsync(empty, options, cancellationToken);
        return _expected[key] = await backend.ReadAsync(empty, cancellationToken) + await RoutesAsync(empty, cancellationToken);
    }

    private const string LoopbackIpv6 = "/proc/sys/net/ipv6/conf/lo/disable_ipv6";
}
