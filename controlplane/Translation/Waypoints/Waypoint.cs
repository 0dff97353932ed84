using AmbientMesh.Kubernetes;
using AmbientMesh.Protocol.Wds;
using Gateway = AmbientMesh.Kubernetes.Gateway;

namespace AmbientMesh.ControlPlane.Translation.Waypoints;

/// <summary>A Gateway that has an address and so can be referred to as a waypoint (reference 3.4). Equal by content.</summary>
internal sealed class Waypoint : IEquatable<Waypoint>
{
    private const uint HbonePort = 15008;
    private const string ForLabel = "istio.io/waypoint-for";
    private const string BindingAnnotation = "ambient.istio.io/waypoint-inbound-binding";

    public required ObjectKey Key { get; init; }

    /// <summary>Where it is reached.</summary>
    public required GatewayAddress Address { get; init; }

    /// <summary><c>service</c>, <c>workload</c>, <c>all</c> or <c>none</c>.</summary>
    public required string TrafficType { get; init; }

    /// <summary>How traffic is handed to its pods by their own ztunnel; null when it takes HBONE itself.</summary>
    public required ApplicationTunnel? Binding { get; init; }

    /// <summary><c>All</c>, <c>Same</c> or <c>Selector</c>.</summary>
    public required string AllowedFrom { get; init; }

    /// <summary>With <c>Selector</c>: labels of namespaces.</summary>
    public required LabelSelector AllowedNamespaces { get; init; }

    public bool TakesServices => TrafficType is "service" or "all";
    public bool TakesWorkloads => TrafficType is "workload" or "all";

    /// <summary>Null while the Gateway has no address.</summary>
    /// <param name="class">Its GatewayClass, or null.</param>
    /// <param name="network">The cluster's network.</param>
    /// <exception cref="FormatException">Its address is none.</exception>
    public static Waypoint? Of(Gateway gateway, GatewayClass? @class, string network)
    {
        if (AddressOf(gateway, network) is not { } address) return null;
        var binding = BindingOf(Said(gateway.Metadata.Annotations, @class?.Metadata.Annotations, BindingAnnotation));
        var namespaces = ListenerFor(gateway, binding)?.AllowedRoutes?.Namespaces;
        return new Waypoint
        {
            Key = gateway.Key,
            Address = address,
            TrafficType = Said(gateway.Metadata.Labels, @class?.Metadata.Labels, ForLabel) is { Length: > 0 } type ? type : "service",
            Binding = binding,
            AllowedFrom = namespaces?.From is "All" or "Selector" ? namespaces.From : "Same",
            AllowedNamespaces = namespaces?.Selector ?? new LabelSelector(),
        };
    }

    /// <summary>Whether objects of a namespace may refer to it.</summary>
    /// <param name="labelsOf">The namespace's labels.</param>
    public bool Admits(string ns, Func<IReadOnlyDictionary<string, string>> labelsOf) => AllowedFrom switch
    {
        "All" => true,
        "Selector" => LabelSelection.Matches(AllowedNamespaces, labelsOf()),
        _ => ns == Key.Namespace,
    };

    // A host name is preferred: it survives a change of address.
    private static GatewayAddress? AddressOf(Gateway gateway, string network)
    {
        var addresses = gateway.Status.Addresses.Where(a => a.Value.Length > 0).ToList();
        if (addresses.Find(a => a.Type == "Hostname") is { } name)
            return new GatewayAddress { Hostname = new NamespacedHostname { Namespace = gateway.Namespace, Hostname = name.Value }, HboneMtlsPort = HbonePort };
        return addresses.Find(a => a.Type is null or "" or "IPAddress") is { } first
            ? new GatewayAddress { Address = new NetworkAddress { Network = network, Address = WireAddress.Of(WireAddress.Parse(first.Value, $"Gateway {gateway.Key}")) }, HboneMtlsPort = HbonePort }
            : null;
    }

    private static string Said(IReadOnlyDictionary<string, string> own, IReadOnlyDictionary<string, string>? ofClass, string key) =>
        own.GetValueOrDefault(key) is { Length: > 0 } value ? value : ofClass?.GetValueOrDefault(key) ?? "";

    /// <summary><c>PROXY</c>, <c>PROXY/port</c>, <c>NONE</c> or <c>NONE/port</c>.</summary>
    private static ApplicationTunnel? BindingOf(string text)
    {
        var parts = text.Split('/', 2);
        if (parts[0] is not ("PROXY" or "NONE")) return null;
        var port = parts.Length == 2 && ushort.TryParse(parts[1], out var number) ? number : 0u;
        return new ApplicationTunnel { Protocol = parts[0] == "PROXY" ? ApplicationTunnel.Types.Protocol.Proxy : ApplicationTunnel.Types.Protocol.None, Port = port };
    }

    private static GatewayListener? ListenerFor(Gateway gateway, ApplicationTunnel? binding)
    {
        var bound = binding switch
        {
            null => null,
            { Port: > 0 and var port } => gateway.Spec.Listeners.FirstOrDefault(l => l.Port == port),
            { Protocol: ApplicationTunnel.Types.Protocol.Proxy } => gateway.Spec.Listeners.FirstOrDefault(l => l.Protocol == "istio.io/PROXY"),
            _ => null,
        };
        return bound ?? gateway.Spec.Listeners.FirstOrDefault(l => l is { Protocol: "HBONE", Port: (int)HbonePort });
    }

    public bool Equals(Waypoint? other) =>
        other is not null && Key == other.Key && Address.Equals(other.Address) && TrafficType == other.TrafficType && Equals(Binding, other.Binding) && AllowedFrom == other.AllowedFrom
        && Same(AllowedNamespaces, other.AllowedNamespaces);

    private static bool Same(LabelSelector a, LabelSelector b) =>
        a.MatchLabels.Count == b.MatchLabels.Count && a.MatchLabels.All(l => b.MatchLabels.TryGetValue(l.Key, out var value) && value == l.Value)
        && a.MatchExpressions.SequenceEqual(b.MatchExpressions, SameRequirement.Instance);

    public override bool Equals(object? obj) => Equals(obj as Waypoint);
    public override int GetHashCode() => Key.GetHashCode();
    public override string ToString() => Key.ToString();

    private sealed class SameRequirement : IEqualityComparer<LabelRequirement>
    {
        public static SameRequirement Instance { get; } = new();

        public bool Equals(LabelRequirement? x, LabelRequirement? y) => x?.Key == y?.Key && x?.Operator == y?.Operator && (x?.Values ?? []).SequenceEqual(y?.Values ?? []);
        public int GetHashCode(LabelRequirement obj) => obj.Key.GetHashCode(StringComparison.Ordinal);
    }
}

/// <summary>Once a Gateway had an address it is not forgotten while the Gateway exists: losing it for a moment would send traffic past the waypoint (reference 3.4).</summary>
internal static class LastAddress
{
    public static Gateway Keep(Gateway? before, Gateway now) =>
        before is null || before.Metadata.Uid != now.Metadata.Uid || now.Status.Addresses.Count > 0 || before.Status.Addresses.Count == 0 ? now : now with { Status = now.Status with { Addresses = before.Status.Addresses } };
}
