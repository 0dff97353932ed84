using System.Collections.Immutable;
using System.Net;
using System.Text.Json.Nodes;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Model.Decoding;
using Google.Protobuf;
using Security = AmbientMesh.Protocol.Security;
using Wds = AmbientMesh.Protocol.Wds;

namespace AmbientMesh.Ztunnel.Configuration;

/// <summary>Workloads, services and policies from a file or variable (LOCAL_XDS, L4 reference §12.5), in force before and beside what discovery brings.</summary>
public sealed record StaticResources(ImmutableArray<Workload> Workloads, ImmutableArray<MeshService> Services, ImmutableArray<AuthorizationPolicy> Policies)
{
    private const uint MaxPort = 65535;

    public static StaticResources None { get; } = new([], [], []);

    public bool IsEmpty => Workloads.IsEmpty && Services.IsEmpty && Policies.IsEmpty;

    /// <summary>Puts them into the mesh.</summary>
    public void AddTo(MeshStore mesh)
    {
        if (!IsEmpty) mesh.Edit(Apply);
    }

    /// <summary>Reads the YAML; each field is checked as discovery's are.</summary>
    /// <exception cref="FormatException">Not readable, an unknown field, or a value that cannot be; the message says where.</exception>
    public static StaticResources Read(string yaml)
    {
        if (YamlTree.Read(yaml) is not { } node) return None;
        var root = YamlSection.Of(node, "");
        var read = new StaticResources(
            [.. root.List("workloads").Select(item => ReadWorkload(YamlSection.Of(item.Node, item.Path)))],
            [.. root.List("services").Select(item => ReadService(YamlSection.Of(item.Node, item.Path)))],
            [.. root.List("policies").Select(item => ReadPolicy(YamlSection.Of(item.Node, item.Path)))]);
        root.End();
        return read;
    }

    private void Apply(MeshEdit edit)
    {
        foreach (var workload in Workloads) edit.Set(workload);
        foreach (var service in Services) edit.Set(service);
        foreach (var policy in Policies) edit.Set(policy);
    }

    private static Workload ReadWorkload(YamlSection from)
    {
        var (ns, name) = (from.Required("namespace"), from.Text("name"));
        var wire = new Wds.Workload
        {
            Uid = from.Text("uid", $"static/{ns}/{name}"),
            Name = name,
            Namespace = ns,
            TrustDomain = from.Text("trustDomain"),
            ServiceAccount = from.Text("serviceAccount"),
            Network = from.Text("network"),
            WorkloadName = from.Text("workloadName"),
            WorkloadType = from.Word("workloadType", Wds.WorkloadType.Deployment,
                ("deployment", Wds.WorkloadType.Deployment), ("cronjob", Wds.WorkloadType.Cronjob), ("pod", Wds.WorkloadType.Pod), ("job", Wds.WorkloadType.Job)),
            CanonicalName = from.Text("canonicalName"),
            CanonicalRevision = from.Text("canonicalRevision"),
            Hostname = from.Text("hostname"),
            Node = from.Text("node"),
            NativeTunnel = from.Flag("nativeTunnel"),
            TunnelProtocol = from.Word("protocol", Wds.TunnelProtocol.None, ("TCP", Wds.TunnelProtocol.None), ("HBONE", Wds.TunnelProtocol.Hbone)),
            NetworkMode = from.Word("networkMode", Wds.NetworkMode.Standard, ("Standard", Wds.NetworkMode.Standard), ("HostNetwork", Wds.NetworkMode.HostNetwork)),
            Status = from.Word("status", Wds.WorkloadStatus.Healthy, ("Healthy", Wds.WorkloadStatus.Healthy), ("Unhealthy", Wds.WorkloadStatus.Unhealthy)),
            ClusterId = from.Text("clusterId"),
            Capacity = from.Number("capacity", 1, uint.MaxValue),
            Waypoint = Gateway(from.Section("waypoint")),
            NetworkGateway = Gateway(from.Section("networkGateway")),
        };
        wire.Addresses.AddRange(from.List("workloadIps").Select(item => Bytes(YamlSection.TextOf(item.Node, item.Path), item.Path)));
        wire.AuthorizationPolicies.AddRange(from.Texts("authorizationPolicies"));
        if (from.Section("applicationTunnel") is { } tunnel)
        {
            wire.ApplicationTunnel = new Wds.ApplicationTunnel
            {
                Protocol = tunnel.Word("protocol", Wds.ApplicationTunnel.Types.Protocol.None, ("NONE", Wds.ApplicationTunnel.Types.Protocol.None), ("PROXY", Wds.ApplicationTunnel.Types.Protocol.Proxy)),
                Port = tunnel.Number("port", 0, MaxPort),
            };
            tunnel.End();
        }
        if (from.Section("locality") is { } place)
        {
            wire.Locality = new Wds.Locality { Region = place.Text("region"), Zone = place.Text("zone"), Subzone = place.Text("subzone") };
            place.End();
        }
        if (from.Section("services") is { } services)
            foreach (var service in services.Keys) wire.Services[service] = PortsOf(services.Section(service) ?? new YamlSection([], services.At(service)));
        from.End();
        return AddressDecoding.TryDecode(wire, out var workload, out var reason) ? workload : throw new FormatException($"{from.Path}: {reason}");
    }

    private static MeshService ReadService(YamlSection from)
    {
        var wire = new Wds.Service
        {
            Name = from.Text("name"),
            Namespace = from.Required("namespace"),
            Hostname = from.Required("hostname"),
            Waypoint = Gateway(from.Section("waypoint")),
            Canonical = from.Flag("canonical"),
            IpFamilies = from.Word("ipFamilies", Wds.IPFamilies.Automatic,
                ("Automatic", Wds.IPFamilies.Automatic), ("IPv4Only", Wds.IPFamilies.Ipv4Only), ("IPv6Only", Wds.IPFamilies.Ipv6Only), ("Dual", Wds.IPFamilies.Dual)),
            Visibility = from.Word("visibility", Wds.Service.Types.Visibility.Public, ("Public", Wds.Service.Types.Visibility.Public), ("Namespace", Wds.Service.Types.Visibility.Namespace)),
        };
        wire.Addresses.AddRange(from.List("vips").Select(item => NetworkAddress(YamlSection.TextOf(item.Node, item.Path), item.Path)));
        wire.Addresses.AddRange(from.List("cidrVips").Select(item => Range(YamlSection.TextOf(item.Node, item.Path), item.Path)));
        wire.SubjectAltNames.AddRange(from.Texts("subjectAltNames"));
        if (from.Section("ports") is { } ports) wire.Ports.AddRange(PortsOf(ports).Ports);
        if (from.Section("loadBalancer") is { } balancer) wire.LoadBalancing = Balancing(balancer);
        foreach (var (node, path) in from.List("weightedWaypoints"))
        {
            var weighted = YamlSection.Of(node, path);
            wire.WeightedWaypoints.Add(new Wds.WeightedWaypoint { Destination = Gateway(weighted.Section("destination")), Weight = weighted.Number("weight", 0, uint.MaxValue) });
            weighted.End();
        }
        from.End();
        return AddressDecoding.TryDecode(wire, out var service, out var reason) ? service : throw new FormatException($"{from.Path}: {reason}");
    }

    private static Wds.LoadBalancing Balancing(YamlSection from)
    {
        var wire = new Wds.LoadBalancing
        {
            Mode = from.Word("mode", Wds.LoadBalancing.Types.Mode.UnspecifiedMode, ("Standard", Wds.LoadBalancing.Types.Mode.UnspecifiedMode), ("Strict", Wds.LoadBalancing.Types.Mode.Strict),
                ("Failover", Wds.LoadBalancing.Types.Mode.Failover), ("Passthrough", Wds.LoadBalancing.Types.Mode.Passthrough)),
            HealthPolicy = from.Word("healthPolicy", Wds.LoadBalancing.Types.HealthPolicy.OnlyHealthy,
                ("OnlyHealthy", Wds.LoadBalancing.Types.HealthPolicy.OnlyHealthy), ("AllowAll", Wds.LoadBalancing.Types.HealthPolicy.AllowAll)),
        };
        foreach (var (node, path) in from.List("routingPreferences"))
        {
            var text = YamlSection.TextOf(node, path);
            if (!Enum.TryParse<Wds.LoadBalancing.Types.Scope>(text, ignoreCase: true, out var scope)) throw new FormatException($"{path} is \"{text}\"; expected Region, Zone, Subzone, Node, Cluster or Network");
            wire.RoutingPreference.Add(scope);
        }
        from.End();
        return wire;
    }

    private static AuthorizationPolicy ReadPolicy(YamlSection from)
    {
        var wire = new Security.Authorization
        {
            Name = from.Required("name"),
            Namespace = from.Text("namespace"),
            Scope = from.Word("scope", Security.Scope.Global, ("Global", Security.Scope.Global), ("Namespace", Security.Scope.Namespace), ("WorkloadSelector", Security.Scope.WorkloadSelector)),
            Action = from.Word("action", Security.Action.Allow, ("Allow", Security.Action.Allow), ("Deny", Security.Action.Deny)),
            DryRun = from.Flag("dryRun"),
        };
        foreach (var (rule, rulePath) in from.List("rules"))
        {
            var clauses = new Security.Rule();
            foreach (var (clause, clausePath) in Elements(rule, rulePath))
            {
                var matches = new Security.Clause();
                matches.Matches.AddRange(Elements(clause, clausePath).Select(match => ReadMatch(YamlSection.Of(match.Node, match.Path))));
                clauses.Clauses.Add(matches);
            }
            wire.Rules.Add(clauses);
        }
        from.End();
        return PolicyDecoding.TryDecode(wire, out var policy, out var reason) ? policy : throw new FormatException($"{from.Path}: {reason}");
    }

    private static Security.Match ReadMatch(YamlSection from)
    {
        var wire = new Security.Match();
        wire.Namespaces.AddRange(Strings(from, "namespaces"));
        wire.NotNamespaces.AddRange(Strings(from, "notNamespaces"));
        wire.Principals.AddRange(Strings(from, "principals"));
        wire.NotPrincipals.AddRange(Strings(from, "notPrincipals"));
        wire.ServiceAccounts.AddRange(Accounts(from, "serviceAccounts"));
        wire.NotServiceAccounts.AddRange(Accounts(from, "notServiceAccounts"));
        wire.SourceIps.AddRange(Ranges(from, "sourceIps"));
        wire.NotSourceIps.AddRange(Ranges(from, "notSourceIps"));
        wire.DestinationIps.AddRange(Ranges(from, "destinationIps"));
        wire.NotDestinationIps.AddRange(Ranges(from, "notDestinationIps"));
        wire.DestinationPorts.AddRange(from.List("destinationPorts").Select(item => YamlSection.NumberOf(YamlSection.TextOf(item.Node, item.Path), item.Path, MaxPort)));
        wire.NotDestinationPorts.AddRange(from.List("notDestinationPorts").Select(item => YamlSection.NumberOf(YamlSection.TextOf(item.Node, item.Path), item.Path, MaxPort)));
        from.End();
        return wire;
    }

    // { Exact: x }, { Prefix: x }, { Suffix: x } or { Presence: [] }
    private static IEnumerable<Security.StringMatch> Strings(YamlSection from, string name) => from.List(name).Select(item =>
    {
        var match = YamlSection.Of(item.Node, item.Path);
        if (match.Keys.ToArray() is not [var kind]) throw new FormatException($"{item.Path} must have exactly one of Exact, Prefix, Suffix, Presence");
        return kind.ToLowerInvariant() switch
        {
            "exact" => new Security.StringMatch { Exact = match.Text(kind) },
            "prefix" => new Security.StringMatch { Prefix = match.Text(kind) },
            "suffix" => new Security.StringMatch { Suffix = match.Text(kind) },
            "presence" => new Security.StringMatch { Presence = new Google.Protobuf.WellKnownTypes.Empty() },
            _ => throw new FormatException($"{item.Path}.{kind} is unknown; expected Exact, Prefix, Suffix or Presence"),
        };
    });

    private static IEnumerable<Security.ServiceAccountMatch> Accounts(YamlSection from, string name) => from.List(name).Select(item =>
    {
        var account = YamlSection.Of(item.Node, item.Path);
        var match = new Security.ServiceAccountMatch { Namespace = account.Text("namespace"), ServiceAccount = account.Text("serviceAccount") };
        account.End();
        return match;
    });

    private static IEnumerable<Security.Address> Ranges(YamlSection from, string name) => from.List(name).Select(item =>
    {
        var (address, length) = Prefix(YamlSection.TextOf(item.Node, item.Path), item.Path);
        return new Security.Address { Address_ = ByteString.CopyFrom(address.GetAddressBytes()), Length = length };
    });

    private static IEnumerable<(JsonNode? Node, string Path)> Elements(JsonNode? node, string path) =>
        node is JsonArray list ? list.Select((element, index) => (element, $"{path}[{index}]")) : throw new FormatException($"{path} is no list");

    /// <summary><c>network/ip</c> (the network may be empty) or <c>namespace/hostname</c>, with the port of its HBONE listener.</summary>
    private static Wds.GatewayAddress? Gateway(YamlSection? from)
    {
        if (from is null) return null;
        var destination = from.Required("destination");
        var gateway = new Wds.GatewayAddress { HboneMtlsPort = from.Number("hboneMtlsPort", Workload.HbonePort, MaxPort) };
        var slash = destination.IndexOf('/', StringComparison.Ordinal);
        if (slash < 0) throw new FormatException($"{from.At("destination")} is \"{destination}\"; expected network/ip or namespace/hostname");
        if (IPAddress.TryParse(destination.AsSpan(slash + 1), out _)) gateway.Address = NetworkAddress(destination, from.At("destination"));
        else gateway.Hostname = new Wds.NamespacedHostname { Namespace = destination[..slash], Hostname = destination[(slash + 1)..] };
        from.End();
        return gateway;
    }

    private static Wds.PortList PortsOf(YamlSection from)
    {
        var ports = new Wds.PortList();
        foreach (var port in from.Keys)
            ports.Ports.Add(new Wds.Port { ServicePort = YamlSection.NumberOf(port, from.At(port), MaxPort), TargetPort = from.Number(port, 0, MaxPort) });
        return ports;
    }

    private static Wds.NetworkAddress NetworkAddress(string text, string path)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        if (slash < 0) throw new FormatException($"{path} is \"{text}\"; expected network/ip, with nothing before the slash for the default network");
        return new Wds.NetworkAddress { Network = text[..slash], Address = Bytes(text[(slash + 1)..], path) };
    }

    private static Wds.NetworkAddress Range(string text, string path)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        if (slash < 0) throw new FormatException($"{path} is \"{text}\"; expected network/ip/length");
        var (address, length) = Prefix(text[(slash + 1)..], path);
        return new Wds.NetworkAddress { Network = text[..slash], Address = ByteString.CopyFrom(address.GetAddressBytes()), Length = length };
    }

    private static (IPAddress Address, uint Length) Prefix(string text, string path)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        var address = YamlSection.AddressOf(slash < 0 ? text : text[..slash], path);
        var bits = (uint)address.GetAddressBytes().Length * 8;
        return (address, slash < 0 ? bits : YamlSection.NumberOf(text[(slash + 1)..], path, bits));
    }

    private static ByteString Bytes(string text, string path) => ByteString.CopyFrom(YamlSection.AddressOf(text, path).GetAddressBytes());
}
