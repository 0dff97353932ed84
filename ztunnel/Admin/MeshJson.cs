using System.Text.Json;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;

namespace AmbientMesh.Ztunnel.Admin;

/// <summary>Writes workloads, services and policies as the configuration dump has them (L4 reference §11.4, §12.5).</summary>
internal static class MeshJson
{
    /// <summary>All workloads, sorted by namespace and name.</summary>
    public static void WriteWorkloads(Utf8JsonWriter json, MeshSnapshot mesh)
    {
        json.WriteStartArray("workloads");
        foreach (var workload in mesh.Workloads.OrderBy(w => (w.Namespace, w.Name, w.Uid))) Write(json, workload);
        json.WriteEndArray();
    }

    /// <summary>All services, sorted by namespace and hostname.</summary>
    public static void WriteServices(Utf8JsonWriter json, MeshSnapshot mesh)
    {
        json.WriteStartArray("services");
        foreach (var service in mesh.Services.OrderBy(s => (s.Namespace, s.Hostname))) Write(json, service, mesh);
        json.WriteEndArray();
    }

    /// <summary>All policies, sorted by namespace and name.</summary>
    public static void WritePolicies(Utf8JsonWriter json, MeshSnapshot mesh)
    {
        json.WriteStartArray("policies");
        foreach (var policy in mesh.Policies.OrderBy(p => (p.Key.Namespace, p.Key.Name))) Write(json, policy);
        json.WriteEndArray();
    }

    /// <summary>Endpoints that wait for their service.</summary>
    public static void WriteStaged(Utf8JsonWriter json, MeshSnapshot mesh)
    {
        json.WriteStartObject("stagedServices");
        foreach (var (service, endpoints) in mesh.StagedServices.OrderBy(s => s.Service.ToString(), StringComparer.Ordinal))
        {
            json.WriteStartObject(service.ToString());
            foreach (var endpoint in endpoints) Write(json, endpoint);
            json.WriteEndObject();
        }
        json.WriteEndObject();
    }

    internal static void Write(Utf8JsonWriter json, Workload workload)
    {
        json.WriteStartObject();
        if (workload.ApplicationTunnel is { } tunnel)
        {
            json.WriteStartObject("applicationTunnel");
            if (tunnel.Port > 0) json.WriteNumber("port", tunnel.Port);
            else json.WriteNull("port");
            json.WriteString("protocol", tunnel.IsProxyProtocol ? "PROXY" : "NONE");
            json.WriteEndObject();
        }
        Strings(json, "authorizationPolicies", workload.Policies.Select(p => p.ToString()));
        json.WriteString("canonicalName", workload.CanonicalName);
        json.WriteString("canonicalRevision", workload.CanonicalRevision);
        json.WriteNumber("capacity", workload.Capacity);
        json.WriteString("clusterId", workload.ClusterId);
        Text(json, "hostname", workload.Hostname);
        if (workload.Locality != Locality.None)
        {
            json.WriteStartObject("locality");
            json.WriteString("region", workload.Locality.Region);
            json.WriteString("subzone", workload.Locality.Subzone);
            json.WriteString("zone", workload.Locality.Zone);
            json.WriteEndObject();
        }
        json.WriteString("name", workload.Name);
        json.WriteString("namespace", workload.Namespace);
        if (workload.NativeTunnel) json.WriteBoolean("nativeTunnel", true);
        Text(json, "network", workload.Network);
        Gateway(json, "networkGateway", workload.NetworkGateway);
        json.WriteString("networkMode", workload.IsHostNetwork ? "HostNetwork" : "Standard");
        Text(json, "node", workload.Node);
        json.WriteString("protocol", workload.SpeaksHbone ? "HBONE" : "TCP");
        json.WriteString("serviceAccount", workload.ServiceAccount);
        Strings(json, "services", workload.Services.Select(s => s.Service.ToString()));
        json.WriteString("status", Status(workload));
        json.WriteString("trustDomain", workload.TrustDomain);
        json.WriteString("uid", workload.Uid);
        Gateway(json, "waypoint", workload.Waypoint);
        json.WriteStartArray("workloadIps");
        foreach (var address in workload.Addresses) json.WriteStringValue(address.ToString());
        json.WriteEndArray();
        json.WriteString("workloadName", workload.WorkloadName);
        json.WriteString("workloadType", workload.Kind.ToString().ToLowerInvariant());
        json.WriteEndObject();
    }

    internal static void Write(Utf8JsonWriter json, MeshService service, MeshSnapshot mesh)
    {
        json.WriteStartObject();
        json.WriteBoolean("canonical", service.IsCanonical);
        if (!service.CidrVips.IsEmpty) Strings(json, "cidrVips", service.CidrVips.Select(v => v.ToString()));
        json.WriteStartObject("endpoints");
        foreach (var endpoint in mesh.Endpoints(service).OrderBy(e => e.Workload.Uid, StringComparer.Ordinal)) Write(json, endpoint);
        json.WriteEndObject();
        json.WriteString("hostname", service.Hostname);
        if (service.IpFamilies != IpFamilies.Automatic) json.WriteString("ipFamilies", service.IpFamilies.ToString());
        if (service.LoadBalancing is { } balancing && (balancing.Mode != LoadBalancingMode.Any || balancing.AllowsUnhealthy))
        {
            json.WriteStartObject("loadBalancer");
            json.WriteString("healthPolicy", balancing.AllowsUnhealthy ? "AllowAll" : "OnlyHealthy");
            json.WriteString("mode", balancing.Mode == LoadBalancingMode.Any ? "Standard" : balancing.Mode.ToString());
            json.WriteStartArray("routingPreferences");
            foreach (var scope in balancing.Preference) json.WriteStringValue(scope.ToString());
            json.WriteEndArray();
            json.WriteEndObject();
        }
        json.WriteString("name", service.Name);
        json.WriteString("namespace", service.Namespace);
        Ports(json, "ports", service.Ports);
        json.WriteStartArray("subjectAltNames");
        foreach (var name in service.SubjectAltNames) json.WriteStringValue(name.ToString());
        json.WriteEndArray();
        json.WriteStartArray("vips");
        foreach (var vip in service.Vips) json.WriteStringValue(vip.ToString());
        json.WriteEndArray();
        json.WriteString("visibility", service.IsNamespacePrivate ? "Namespace" : "Public");
        Gateway(json, "waypoint", service.Waypoint);
        if (!service.WeightedWaypoints.IsEmpty)
        {
            json.WriteStartArray("weightedWaypoints");
            foreach (var (destination, weight) in service.WeightedWaypoints)
            {
                json.WriteStartObject();
                Gateway(json, "destination", destination);
                json.WriteNumber("weight", weight);
                json.WriteEndObject();
            }
            json.WriteEndArray();
        }
        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, Endpoint endpoint)
    {
        json.WriteStartObject(endpoint.Workload.Uid);
        Ports(json, "port", endpoint.Ports);
        json.WriteString("status", Status(endpoint.Workload));
        json.WriteString("workloadUid", endpoint.Workload.Uid);
        json.WriteEndObject();
    }

    internal static void Write(Utf8JsonWriter json, AuthorizationPolicy policy)
    {
        json.WriteStartObject();
        json.WriteString("action", policy.Action.ToString());
        json.WriteBoolean("dryRun", policy.IsDryRun);
        json.WriteString("name", policy.Key.Name);
        json.WriteString("namespace", policy.Key.Namespace);
        json.WriteStartArray("rules");
        foreach (var rule in policy.Rules)
        {
            json.WriteStartArray();
            foreach (var clause in rule.Clauses)
            {
                json.WriteStartArray();
                foreach (var match in clause.Alternatives) Write(json, match);
                json.WriteEndArray();
            }
            json.WriteEndArray();
        }
        json.WriteEndArray();
        json.WriteString("scope", policy.Scope.ToString());
        if (policy.Unreadable is { } why) json.WriteString("unreadable", why);
        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, PolicyMatch match)
    {
        json.WriteStartObject();
        Matches(json, "destinationIps", match.DestinationIps, (w, v) => w.WriteStringValue(v.ToString()));
        Matches(json, "destinationPorts", match.DestinationPorts, (w, v) => w.WriteNumberValue(v));
        Matches(json, "namespaces", match.Namespaces, Write);
        Matches(json, "notDestinationIps", match.NotDestinationIps, (w, v) => w.WriteStringValue(v.ToString()));
        Matches(json, "notDestinationPorts", match.NotDestinationPorts, (w, v) => w.WriteNumberValue(v));
        Matches(json, "notNamespaces", match.NotNamespaces, Write);
        Matches(json, "notPrincipals", match.NotPrincipals, Write);
        Matches(json, "notServiceAccounts", match.NotServiceAccounts, Write);
        Matches(json, "notSourceIps", match.NotSourceIps, (w, v) => w.WriteStringValue(v.ToString()));
        Matches(json, "principals", match.Principals, Write);
        Matches(json, "serviceAccounts", match.ServiceAccounts, Write);
        Matches(json, "sourceIps", match.SourceIps, (w, v) => w.WriteStringValue(v.ToString()));
        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, StringMatch match)
    {
        json.WriteStartObject();
        switch (match)
        {
            case StringMatch.Exact exact: json.WriteString("Exact", exact.Value); break;
            case StringMatch.Prefix prefix: json.WriteString("Prefix", prefix.Value); break;
            case StringMatch.Suffix suffix: json.WriteString("Suffix", suffix.Value); break;
            default:
                json.WriteStartArray("Presence");
                json.WriteEndArray();
                break;
        }
        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, ServiceAccountMatch match)
    {
        json.WriteStartObject();
        json.WriteString("namespace", match.Namespace);
        json.WriteString("serviceAccount", match.ServiceAccount);
        json.WriteEndObject();
    }

    private static void Matches<T>(Utf8JsonWriter json, string name, IReadOnlyCollection<T> values, Action<Utf8JsonWriter, T> write)
    {
        if (values.Count == 0) return;
        json.WriteStartArray(name);
        foreach (var value in values) write(json, value);
        json.WriteEndArray();
    }

    private static void Ports(Utf8JsonWriter json, string name, PortMap ports)
    {
        json.WriteStartObject(name);
        foreach (var (service, target) in ports.All.OrderBy(p => p.Service)) json.WriteNumber(service.ToString(), target);
        json.WriteEndObject();
    }

    private static void Gateway(Utf8JsonWriter json, string name, GatewayAddress? gateway)
    {
        if (gateway is null) return;
        json.WriteStartObject(name);
        json.WriteString("destination", gateway.ToString());
        json.WriteNumber("hboneMtlsPort", gateway.HbonePort);
        json.WriteEndObject();
    }

    private static void Strings(Utf8JsonWriter json, string name, IEnumerable<string> values)
    {
        var list = values.ToArray();
        if (list.Length == 0) return;
        json.WriteStartArray(name);
        foreach (var value in list) json.WriteStringValue(value);
        json.WriteEndArray();
    }

    private static void Text(Utf8JsonWriter json, string name, string value)
    {
        if (value.Length > 0) json.WriteString(name, value);
    }

    private static string Status(Workload workload) => workload.IsHealthy ? "Healthy" : "Unhealthy";
}
