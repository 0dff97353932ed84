using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using AmbientMesh.Model;

namespace AmbientMesh.Ztunnel.Dns;

/// <summary>What a name decision depends on besides the mesh, the client and the question.</summary>
/// <param name="ClusterDomain">Domain of the cluster's own names, without dots at its ends.</param>
/// <param name="PreferredNamespace">Whose service wins when neither the client's namespace nor a canonical one has the name; null for none.</param>
/// <param name="AnswersIpv6">Whether IPv6 addresses are given at all.</param>
public sealed record NameSettings(string ClusterDomain, string? PreferredNamespace, bool AnswersIpv6);

/// <summary>How a question is answered. Exactly one case holds.</summary>
public abstract record NameDecision
{
    private NameDecision() { }

    /// <summary>The mesh knows the name: these are its addresses of the asked family, none when it has none of it.</summary>
    /// <param name="Owner">The name the addresses belong to.</param>
    /// <param name="Alias">The asked name when it leads to <paramref name="Owner"/> by a CNAME; null without one.</param>
    public sealed record Answer(MeshService Service, string Owner, string? Alias, ImmutableArray<IPAddress> Addresses) : NameDecision;

    /// <summary>The name or type is none of the mesh's: a name server answers.</summary>
    public sealed record Forward : NameDecision
    {
        public static Forward Instance { get; } = new();
    }

    /// <summary>Who asks is not known, so what they may see is not known either.</summary>
    public sealed record UnknownClient : NameDecision
    {
        public static UnknownClient Instance { get; } = new();
    }
}

/// <summary>Decides how a pod's question is answered (L4 reference §10.5). Pure.</summary>
public static class NameResolution
{
    /// <summary>Decides. Candidates are tried in order, each with its wildcards; the first the mesh knows wins.</summary>
    public static NameDecision Decide(MeshSnapshot mesh, Workload? client, DnsQuestion question, NameSettings settings)
    {
        if (client is null) return NameDecision.UnknownClient.Instance;
        if (question.Type is not (DnsTypes.A or DnsTypes.Aaaa) || question.Class != DnsTypes.Internet || !question.Name.IsPlain || question.Name.Text.Length == 0) return NameDecision.Forward.Instance;
        var name = question.Name.Text;
        foreach (var (candidate, stripped) in Candidates(name, client.Namespace, settings.ClusterDomain))
        {
            if (Find(mesh, client, candidate, settings, out var byWildcard) is not { } service) continue;
            // A wildcard has no one name that the asked one could be an alias of.
            var alias = stripped && !byWildcard ? name : null;
            return new NameDecision.Answer(service, alias is null ? name : candidate, alias, Addresses(mesh, client, service, question.Type, settings));
        }
        return NameDecision.Forward.Instance;
    }

    /// <summary>Names the asked one may mean: itself, its completions to a service's full name, and what is left without a search domain.</summary>
    internal static IEnumerable<(string Name, bool Stripped)> Candidates(string name, string clientNamespace, string domain)
    {
        yield return (name, false);
        var services = $"svc.{domain}";
        var own = $"{clientNamespace}.{services}";
        foreach (var completed in Completions(name, own, services, domain)) yield return (completed, false);
        foreach (var search in (string[])[own, services, domain])
            if (name.Length > search.Length + 1 && name.EndsWith(search, StringComparison.Ordinal) && name[^(search.Length + 1)] == '.')
                yield return (name[..^(search.Length + 1)], true);
    }

    private static IEnumerable<string> Completions(string name, string own, string services, string domain)
    {
        var labels = 1 + name.AsSpan().Count('.');
        var endsInSvc = name.EndsWith(".svc", StringComparison.Ordinal);
        if (endsInSvc && labels is 3 or 4) yield return $"{name}.{domain}";
        if (labels is 2 or 3) yield return $"{name}.{services}";
        if (labels is 1 or 2) yield return $"{name}.{own}";
    }

    private static MeshService? Find(MeshSnapshot mesh, Workload client, string name, NameSettings settings, out bool byWildcard)
    {
        byWildcard = false;
        for (var search = name; ; byWildcard = true)
        {
            if (mesh.FindService(search, client.Namespace, settings.PreferredNamespace, service => IsAnswered(service, settings.ClusterDomain)) is { } service) return service;
            // a.b.c -> *.b.c -> *.c
            var rest = byWildcard ? search[2..] : search;
            var dot = rest.IndexOf('.');
            if (dot < 0) return null;
            search = string.Concat("*", rest.AsSpan(dot));
        }
    }

    // Without a virtual address only a service of the cluster has endpoints for addresses; any other name may be real elsewhere.
    private static bool IsAnswered(MeshService service, string domain) =>
        !service.Vips.IsEmpty || (service.Hostname.Length > domain.Length + 5 && service.Hostname.EndsWith(domain, StringComparison.Ordinal) && service.Hostname.AsSpan(0, service.Hostname.Length - domain.Length).EndsWith(".svc."));

    private static ImmutableArray<IPAddress> Addresses(MeshSnapshot mesh, Workload client, MeshService service, ushort type, NameSettings settings)
    {
        var family = type == DnsTypes.Aaaa ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork;
        if (!service.IpFamilies.Allows(family) || (family == AddressFamily.InterNetworkV6 && !settings.AnswersIpv6)) return [];
        if (!service.Vips.IsEmpty) return [.. service.Vips.Where(vip => vip.Network == client.Network && vip.Address.AddressFamily == family).Select(vip => vip.Address)];
        // Addresses of another network's pods lead nowhere from here.
        return [.. mesh.Endpoints(service).Where(endpoint => endpoint.Workload.Network == client.Network)
            .Select(endpoint => endpoint.Workload.Addresses.FirstOrDefault(address => address.AddressFamily == family)).OfType<IPAddress>()];
    }
}
