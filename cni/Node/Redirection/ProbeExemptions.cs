using System.Net;

namespace AmbientMesh.Cni.Node.Redirection;

/// <summary>Lets the kubelet's probes reach enrolled pods: on the node their source becomes an address the pods' rules let through. Source: reference 8.4.</summary>
/// <remarks>Each entry belongs to a pod UID; a newer pod takes an address over, and only the owner's removal removes it.</remarks>
public interface IProbeExemptions
{
    /// <summary>Writes sets and rules of the node; entries already there stay.</summary>
    /// <exception cref="IOException">The kernel refused.</exception>
    Task InstallAsync(CancellationToken cancellationToken);

    /// <summary>Whether sets and rules are there.</summary>
    /// <exception cref="IOException">They cannot be read.</exception>
    Task<bool> AreInstalledAsync(CancellationToken cancellationToken);

    /// <summary>Whether addresses of this family are exempted at all.</summary>
    bool Covers(IPAddress address);

    /// <summary>Exempts the addresses for the pod.</summary>
    /// <exception cref="IOException">The kernel refused.</exception>
    Task AddAsync(string uid, IReadOnlyList<IPAddress> addresses, CancellationToken cancellationToken);

    /// <summary>Takes the pod's addresses out, as far as they are still its own, but for those in <paramref name="keep"/>.</summary>
    /// <exception cref="IOException">The kernel refused.</exception>
    Task RemoveAsync(string uid, IReadOnlyCollection<IPAddress> keep, CancellationToken cancellationToken);

    /// <summary>Which pod owns which address now.</summary>
    /// <exception cref="IOException">The sets cannot be read.</exception>
    Task<IReadOnlyDictionary<IPAddress, string>> ReadAsync(CancellationToken cancellationToken);

    /// <summary>Takes the node's rules and sets out.</summary>
    /// <exception cref="IOException">The kernel refused.</exception>
    Task UninstallAsync(CancellationToken cancellationToken);
}

/// <summary>Names of the two sets.</summary>
public static class ProbeSets
{
    public const string V4 = "istio-inpod-probes-v4";
    public const string V6 = "istio-inpod-probes-v6";
}
