using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Network;

/// <summary>What the cluster DNS knows at one moment.</summary>
/// <param name="Service">A Service by namespace and name; null when there is none.</param>
/// <param name="Slices">EndpointSlices of a service.</param>
internal sealed record NamesView(Func<string, string, JsonObject?> Service, Func<string, string, IEnumerable<JsonObject>> Slices, Func<IEnumerable<JsonObject>> AllServices, Func<string, bool> HasNamespace);

/// <summary>The answer to a question; <see cref="Code"/> NoError with no records means the name has none of that type.</summary>
internal sealed record NamesAnswer(DnsCode Code, IReadOnlyList<DnsRecord> Records);

/// <summary>Resolves names of services and pods. Pure. Source: Kubernetes DNS-Based Service Discovery 1.1.0.</summary>
internal static class ClusterNames
{
    private static readonly NamesAnswer s_absent = new(DnsCode.NoSuchName, []);

    public static NamesAnswer Resolve(NamesView view, string name, DnsType type)
    {
        if (name.EndsWith(".in-addr.arpa", StringComparison.Ordinal) || name.EndsWith(".ip6.arpa", StringComparison.Ordinal)) return Reverse(view, name, type);
        if (FixedRecords.Resolve(name, type) is { } known) return known;
        if (!name.EndsWith("." + LabAddresses.ClusterDomain, StringComparison.Ordinal)) return name == LabAddresses.ClusterDomain ? new NamesAnswer(DnsCode.NoError, []) : s_absent;
        var labels = name[..^(LabAddresses.ClusterDomain.Length + 1)].Split('.');
        if (labels is ["dns-version"]) return new NamesAnswer(DnsCode.NoError, type == DnsType.Txt ? [new DnsRecord(name, DnsType.Txt, Data: FixedRecords.Text("1.1.0"))] : []);
        return labels switch
        {
            ["svc"] => new NamesAnswer(DnsCode.NoError, []),
            [var ns, "svc"] => view.HasNamespace(ns) ? new NamesAnswer(DnsCode.NoError, []) : s_absent,
            [var service, var ns, "svc"] => OfService(view, name, service, ns, type),
            [var port, ['_', .. var protocol], var service, var ns, "svc"] when port.StartsWith('_') => Ports(view, name, port[1..], protocol, service, ns, type),
            [var host, var service, var ns, "svc"] => OfHost(view, name, host, service, ns, type),
            [var dashed, var ns, "pod"] => OfPod(view, name, dashed, ns, type),
            _ => s_absent,
        };
    }

    private static NamesAnswer OfService(NamesView view, string name, string service, string ns, DnsType type)
    {
        if (view.Service(ns, service) is not { } found) return s_absent;
        if (found.Text("spec", "type") == "ExternalName")
            return new NamesAnswer(DnsCode.NoError, [new DnsRecord(name, DnsType.CName, Target: (found.Text("spec", "externalName") ?? "").TrimEnd('.'))]);
        if (found.Text("spec", "clusterIP") == "None")
        {
            var addresses = Endpoints(view, found).Select(e => e.Address).Distinct().ToArray();
            return addresses.Length == 0 ? s_absent : new NamesAnswer(DnsCode.NoError, Addresses(name, addresses, type));
        }
        return new NamesAnswer(DnsCode.NoError, Addresses(name, found.Texts("spec", "clusterIPs").Select(IPAddress.Parse), type));
    }

    private static NamesAnswer OfHost(NamesView view, string name, string host, string service, string ns, DnsType type)
    {
        if (view.Service(ns, service) is not { } found || found.Text("spec", "clusterIP") != "None") return s_absent;
        var addresses = Endpoints(view, found).Where(e => e.Host == host).Select(e => e.Address).ToArray();
        return addresses.Length == 0 ? s_absent : new NamesAnswer(DnsCode.NoError, Addresses(name, addresses, type));
    }

    private static NamesAnswer Ports(NamesView view, string name, string port, string protocol, string service, string ns, DnsType type)
    {
        if (view.Service(ns, service) is not { } found) return s_absent;
        var full = $"{service}.{ns}.svc.{LabAddresses.ClusterDomain}";
        bool Fits(JsonObject p) => p.Text("name") == port && (p.Text("protocol") ?? "TCP").Equals(protocol, StringComparison.OrdinalIgnoreCase);
        DnsRecord[] records = found.Text("spec", "clusterIP") == "None"
            ? [.. view.Slices(ns, service).SelectMany(s => s.Objects("ports").Where(Fits).SelectMany(p => EndpointsOf(s).Select(e => new DnsRecord(name, DnsType.Srv, Target: $"{e.Host}.{full}", Port: (ushort)(p.Number("port") ?? 0))))).Distinct()]
            : [.. found.Objects("spec", "ports").Where(Fits).Select(p => new DnsRecord(name, DnsType.Srv, Target: full, Port: (ushort)(p.Number("port") ?? 0)))];
        if (records.Length == 0) return s_absent;
        return new NamesAnswer(DnsCode.NoError, type is DnsType.Srv or DnsType.Any ? records : []);
    }

    private static NamesAnswer OfPod(NamesView view, string name, string dashed, string ns, DnsType type)
    {
        var text = dashed.Count(c => c == '-') == 3 && !dashed.Contains("--") ? dashed.Replace('-', '.') : dashed.Replace('-', ':');
        return view.HasNamespace(ns) && IPAddress.TryParse(text, out var address) ? new NamesAnswer(DnsCode.NoError, Addresses(name, [address], type)) : s_absent;
    }

    private static NamesAnswer Reverse(NamesView view, string name, DnsType type)
    {
        if (AddressOf(name) is not { } address) return s_absent;
        foreach (var service in view.AllServices())
        {
            var full = $"{service.Name()}.{service.Namespace()}.svc.{LabAddresses.ClusterDomain}";
            if (service.Texts("spec", "clusterIPs").Any(a => IPAddress.TryParse(a, out var own) && own.Equals(address))) return Pointer(name, full, type);
            if (service.Text("spec", "clusterIP") != "None") continue;
            foreach (var endpoint in Endpoints(view, service))
                if (endpoint.Address.Equals(address)) return Pointer(name, $"{endpoint.Host}.{full}", type);
        }
        return s_absent;
    }

    private static NamesAnswer Pointer(string name, string target, DnsType type) =>
        new(DnsCode.NoError, type is DnsType.Ptr or DnsType.Any ? [new DnsRecord(name, DnsType.Ptr, Target: target)] : []);

    /// <summary>The address a name of the reverse zones stands for; null when it is not whole.</summary>
    internal static IPAddress? AddressOf(string name)
    {
        if (name.EndsWith(".in-addr.arpa", StringComparison.Ordinal))
        {
            var parts = name[..^".in-addr.arpa".Length].Split('.');
            return parts.Length == 4 && IPAddress.TryParse(string.Join('.', parts.Reverse()), out var v4) ? v4 : null;
        }
        var digits = name[..^".ip6.arpa".Length].Split('.');
        if (digits.Length != 32 || digits.Any(d => d.Length != 1)) return null;
        var text = string.Concat(digits.Reverse());
        return IPAddress.TryParse(string.Join(':', Enumerable.Range(0, 8).Select(i => text.Substring(i * 4, 4))), out var v6) ? v6 : null;
    }

    private static DnsRecord[] Addresses(string name, IEnumerable<IPAddress> addresses, DnsType type) =>
    [
        .. addresses.Select(a => new DnsRecord(name, a.AddressFamily == AddressFamily.InterNetworkV6 ? DnsType.Aaaa : DnsType.A, a))
            .Where(r => type == DnsType.Any || r.Type == type),
    ];

    private static IEnumerable<(string Host, IPAddress Address)> Endpoints(NamesView view, JsonObject service) =>
        view.Slices(service.Namespace(), service.Name()).SelectMany(EndpointsOf);

    // A ready endpoint's host name is the one it asked for, or its address with dashes.
    private static IEnumerable<(string Host, IPAddress Address)> EndpointsOf(JsonObject slice) => slice.Objects("endpoints")
        .Where(e => e.Flag("conditions", "ready") != false)
        .SelectMany(e => e.Texts("addresses").Where(a => IPAddress.TryParse(a, out _))
            .Select(a => (e.Text("hostname") ?? a.Replace('.', '-').Replace(':', '-'), IPAddress.Parse(a))));
}
