using AmbientMesh.Kubernetes;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.ControlPlane.Translation.Entries;

/// <summary>A ServiceEntry as services, one for each host (reference 4.8; l7 reference 4.5). Pure.</summary>
internal static class ServiceEntryTranslation
{
    /// <param name="network">The cluster's network.</param>
    /// <param name="visibility">Not <see cref="EntryVisibility.None"/>.</param>
    /// <param name="distribution">The namespace's wish, see <see cref="NamespaceFacts.Distribution"/>.</param>
    /// <exception cref="FormatException">An address is neither an IP address nor a range, or a port is none.</exception>
    public static IEnumerable<TranslatedService> Translate(string network, ServiceEntry entry, EntryVisibility visibility, string distribution)
    {
        var owner = $"ServiceEntry {entry.Key}";
        var ports = entry.Spec.Ports.Where(EntryProtocol.IsCarried).Select(p => (Number: WirePort.Of(p.Number, owner), Target: WirePort.Of(p.TargetPort ?? p.Number, owner), Port: p)).ToList();
        var own = entry.Spec.Addresses.Select(a => Address(network, entry, a)).ToList();
        var selector = entry.Spec.WorkloadSelector?.Labels ?? new Dictionary<string, string>();
        foreach (var host in HostsOf(entry))
        {
            var message = new Wds.Service
            {
                Name = entry.Name,
                Namespace = entry.Namespace,
                Hostname = host,
                LoadBalancing = LoadBalancingChoice.Of(entry, distribution),
                Visibility = visibility == EntryVisibility.Namespace ? Wds.Service.Types.Visibility.Namespace : Wds.Service.Types.Visibility.Public,
                Addresses = { own.Count > 0 ? own : AutoAllocation.HeldFor(entry, host).Select(a => new Wds.NetworkAddress { Network = network, Address = WireAddress.Of(a) }) },
                Ports = { ports.Select(p => new Wds.Port { ServicePort = p.Number, TargetPort = p.Target, AppProtocol = EntryProtocol.Of(p.Port) }) },
                SubjectAltNames = { entry.Spec.SubjectAltNames },
            };
            yield return new TranslatedService
            {
                Key = entry.Key,
                ResourceName = $"{entry.Namespace}/{host}",
                Message = message,
                Ports = [.. ports.Select(p => new MemberPort(p.Number, p.Port.Name, p.Target, null))],
                Selector = selector,
                IsEntry = true,
                Created = entry.Metadata.CreationTimestamp ?? DateTimeOffset.MaxValue,
                Origin = ObjectOrigin.Of(entry),
            };
        }
    }

    /// <summary>Hosts in lower case, each once.</summary>
    public static IEnumerable<string> HostsOf(ServiceEntry entry) => entry.Spec.Hosts.Where(h => h.Length > 0).Select(h => h.ToLowerInvariant()).Distinct();

    public static bool IsWildcard(string host) => host.StartsWith('*');

    /// <summary>Names are resolved, when somebody connects, instead of addresses being listed.</summary>
    public static bool IsByName(ServiceEntry entry) => entry.Spec.Resolution is "DNS" or "DNS_ROUND_ROBIN" or "DYNAMIC_DNS";

    /// <summary>It stands for the very hosts it names: nothing says where else they are.</summary>
    public static bool ResolvesItsHosts(ServiceEntry entry) => IsByName(entry) && entry.Spec.Endpoints is not { Count: > 0 } && entry.Spec.WorkloadSelector is null;

    /// <summary>Why the entry cannot be translated, as a condition's reason and message; null when it can be.</summary>
    public static (string Reason, string Message)? Problem(ServiceEntry entry)
    {
        var reason = "InvalidAddress";
        try
        {
            foreach (var text in entry.Spec.Addresses) Address("", entry, text);
            reason = "InvalidPort";
            foreach (var port in entry.Spec.Ports.Where(EntryProtocol.IsCarried)) _ = (WirePort.Of(port.Number, $"ServiceEntry {entry.Key}"), WirePort.Of(port.TargetPort ?? port.Number, $"ServiceEntry {entry.Key}"));
            return null;
        }
        catch (FormatException problem)
        {
            return (reason, problem.Message);
        }
    }

    private static Wds.NetworkAddress Address(string network, ServiceEntry entry, string text)
    {
        if (!WireAddress.TryRange(text, out var range))
            throw new FormatException($"ServiceEntry {entry.Key} has the address '{text}', which is neither an IP address nor a CIDR range such as 192.0.2.0/24.");
        var address = new Wds.NetworkAddress { Network = network, Address = WireAddress.Of(range.BaseAddress) };
        if (range.PrefixLength < WireAddress.BitsOf(range.BaseAddress)) address.Length = (uint)range.PrefixLength;   // a range of one address is that address
        return address;
    }
}
