using System.Globalization;
using System.Net;
using System.Numerics;
using AmbientMesh.Cli.Output;

namespace AmbientMesh.Cli.ZtunnelConfig;

/// <summary>What is left out of the tables; null: nothing.</summary>
internal sealed record DumpFilter
{
    /// <summary>Namespace of workloads, services or policies.</summary>
    public string? Namespace { get; init; }
    public string? WorkloadNode { get; init; }
    public string? Address { get; init; }
    /// <summary><c>inbound</c> or <c>outbound</c>.</summary>
    public string? Direction { get; init; }
    /// <summary>Addresses of connections stay addresses.</summary>
    public bool IsRaw { get; init; }
}

/// <summary>The tables of <c>ztunnel-config</c>, column by column those of istioctl (L7 reference §10.8). Pure.</summary>
internal static class DumpTables
{
    public static Table Workloads(ZtunnelDump dump, DumpFilter filter)
    {
        var table = new Table("NAMESPACE", "POD NAME", "ADDRESS", "NODE", "WAYPOINT", "PROTOCOL");
        foreach (var w in dump.Workloads.Where(w => Matches(w, filter)).OrderBy(w => (w.Namespace, w.Name)))
            table.Add(w.Namespace, w.Name, w.WorkloadIps.Count > 0 ? w.WorkloadIps[0] : w.Hostname, w.Node, Waypoint(dump, w.Waypoint), w.Protocol);
        return table;
    }

    public static Table Services(ZtunnelDump dump, DumpFilter filter)
    {
        var table = new Table("NAMESPACE", "SERVICE NAME", "SERVICE VIP", "WAYPOINT", "ENDPOINTS");
        foreach (var s in dump.Services.Where(s => filter.Namespace is null || s.Namespace == filter.Namespace).OrderBy(s => (s.Namespace, s.Name)))
            table.Add(s.Namespace, s.Name, string.Join(",", s.Vips.Concat(s.CidrVips).Select(OfNetwork)), Waypoint(dump, s.Waypoint), $"{s.Endpoints.Values.Count(e => e.Status == "Healthy")}/{s.Endpoints.Count}");
        return table;
    }

    public static Table Policies(ZtunnelDump dump, DumpFilter filter)
    {
        var table = new Table("NAMESPACE", "POLICY NAME", "ACTION", "SCOPE");
        foreach (var p in dump.Policies.Where(p => filter.Namespace is null || p.Namespace == filter.Namespace).OrderBy(p => (p.Namespace, p.Name))) table.Add(p.Namespace, p.Name, p.Action, p.Scope);
        return table;
    }

    /// <param name="now">What validity is judged by.</param>
    public static Table Certificates(IEnumerable<ZtunnelDump> dumps, DateTimeOffset now)
    {
        var table = new Table("CERTIFICATE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE");
        foreach (var held in dumps.SelectMany(d => d.Certificates))
        {
            var state = held.State.Contains("Unavailable", StringComparison.Ordinal) ? "Unavailable" : held.State;
            if (held.CertChain.Count == 0) table.Add(held.Identity, null, state, "false");
            for (var i = 0; i < held.CertChain.Count; i++) Add(held, i == 0 ? "Leaf" : "Intermediate", state, held.CertChain[i]);
            foreach (var root in held.RootCerts) Add(held, "Root", state, root);
        }
        return table;

        void Add(DumpIdentity held, string type, string state, DumpCertificate certificate)
        {
            var isValid = certificate.ValidFrom <= now && now < certificate.ExpirationTime;
            table.Add(held.Identity, type, state, isValid ? "true" : "false", Hex(certificate.SerialNumber), Time(certificate.ExpirationTime), Time(certificate.ValidFrom));
        }
    }

    public static Table Connections(IEnumerable<ZtunnelDump> dumps, DumpFilter filter)
    {
        var table = new Table("WORKLOAD", "DIRECTION", "LOCAL", "REMOTE", "REMOTE TARGET", "PROTOCOL");
        foreach (var dump in dumps)
        {
            var names = filter.IsRaw ? [] : Names(dump);
            foreach (var (_, pod) in dump.WorkloadState.OrderBy(p => (p.Value.Info.Namespace, p.Value.Info.Name, p.Key)))
            {
                if (filter.Namespace is not null && pod.Info.Namespace != filter.Namespace) continue;
                var name = $"{pod.Info.Name}.{pod.Info.Namespace}";
                if (filter.Direction is null or "inbound")
                    foreach (var c in pod.Connections.Inbound) table.Add(name, "Inbound", Named(names, c.ActualDst), Named(names, c.Src), Named(names, c.OriginalDst), c.Protocol);
                if (filter.Direction is null or "outbound")
                    foreach (var c in pod.Connections.Outbound) table.Add(name, "Outbound", Named(names, c.Src), Named(names, c.ActualDst), Named(names, c.OriginalDst), c.Protocol);
            }
        }
        return table;
    }

    private static bool Matches(DumpWorkload workload, DumpFilter filter) =>
        (filter.Namespace is null || workload.Namespace == filter.Namespace) &&
        (filter.WorkloadNode is null || workload.Node == filter.WorkloadNode) &&
        (filter.Address is null || workload.WorkloadIps.Contains(filter.Address));

    /// <summary>The name of the waypoint's service; its reference where that is not known.</summary>
    private static string Waypoint(ZtunnelDump dump, DumpGateway? waypoint)
    {
        if (waypoint is not { Destination: { Length: > 0 } destination }) return "None";
        return dump.Services.FirstOrDefault(s => s.Vips.Contains(destination) || $"{s.Namespace}/{s.Hostname}" == destination)?.Name ?? OfNetwork(destination);
    }

    private static Dictionary<string, string> Names(ZtunnelDump dump)
    {
        var names = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var service in dump.Services)
            foreach (var vip in service.Vips) names[OfNetwork(vip)] = service.Hostname;
        foreach (var workload in dump.Workloads)
            foreach (var ip in workload.WorkloadIps) names[ip] = $"{workload.Name}.{workload.Namespace}";
        return names;
    }

    private static string Named(Dictionary<string, string> names, string address) =>
        IPEndPoint.TryParse(address, out var parsed) && names.TryGetValue(parsed.Address.ToString(), out var name) ? $"{name}:{parsed.Port}" : address;

    /// <summary>Without the network in front.</summary>
    private static string OfNetwork(string address) => address[(address.IndexOf('/') + 1)..];

    private static string Hex(string serial) => BigInteger.TryParse(serial, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number.ToString("x", CultureInfo.InvariantCulture).TrimStart('0') : serial;

    private static string? Time(DateTimeOffset? time) => time?.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);
}
