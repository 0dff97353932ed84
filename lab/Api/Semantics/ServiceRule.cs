using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Semantics;

/// <summary>Services: defaults, cluster addresses (10.96.0.0/16 and fd00:10:96::/112), node ports.</summary>
internal sealed class ServiceRule : KindRule
{
    private static readonly GroupResource Services = new("", "services");
    private static readonly GroupResource ServiceCidrs = new("networking.k8s.io", "servicecidrs");
    private static readonly IPNetwork Ipv4Range = IPNetwork.Parse("10.96.0.0/16");
    private static readonly IPNetwork Ipv6Range = IPNetwork.Parse("fd00:10:96::/112");

    public override string? NameProblem(string name) => Names.Rfc1035Problem(name);

    public override void Default(JsonObject o)
    {
        var spec = o.Ensure("spec");
        spec.Default("type", "ClusterIP");
        spec.Default("sessionAffinity", "None");
        if (spec.Text("sessionAffinity") == "ClientIP") spec.Ensure("sessionAffinityConfig", "clientIP").Default("timeoutSeconds", 10800);
        var type = spec.Text("type");
        if (type is "ClusterIP" or "NodePort" or "LoadBalancer") spec.Default("internalTrafficPolicy", "Cluster");
        if (type is "NodePort" or "LoadBalancer") spec.Default("externalTrafficPolicy", "Cluster");
        if (type == "LoadBalancer") spec.Default("allocateLoadBalancerNodePorts", true);
        foreach (var port in spec.Objects("ports"))
        {
            port.Default("protocol", "TCP");
            if (port["targetPort"] is null || port["targetPort"].Number() == 0 || port["targetPort"].Text() == "") port["targetPort"] = JsonTree.CopyNode(port["port"]);
        }
        o.Ensure("status").Default("loadBalancer", new JsonObject());
    }

    public override void OnCreate(JsonObject o, ClusterStore store)
    {
        o["status"] = new JsonObject { ["loadBalancer"] = new JsonObject() };
        Allocate(o, store);
    }

    public override void OnUpdate(JsonObject o, JsonObject old, ClusterStore store)
    {
        var spec = o.Ensure("spec");
        if (spec.Text("type") == "ExternalName" || old.Text("spec", "type") == "ExternalName")
        {
            foreach (var field in (string[])["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"])
                if (spec.Text("type") == "ExternalName") spec.Remove(field);
        }
        else
        {
            foreach (var field in (string[])["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"])
                if (spec[field] is null && old.At("spec", field) is { } kept) spec[field] = JsonTree.CopyNode(kept);
            if (spec.Text("clusterIP") != old.Text("spec", "clusterIP") && JsonTree.Same(spec["clusterIPs"], old.At("spec", "clusterIPs")) && spec.Text("clusterIP") is { Length: > 0 } changed)
                spec["clusterIPs"] = new JsonArray(changed);
        }
        KeepNodePorts(spec, old);
        Allocate(o, store);
    }

    private static void KeepNodePorts(JsonObject spec, JsonObject old)
    {
        if (spec.Text("type") is not ("NodePort" or "LoadBalancer"))
        {
            foreach (var port in spec.Objects("ports")) port.Remove("nodePort");
            return;
        }
        foreach (var port in spec.Objects("ports"))
        {
            var before = old.Objects("spec", "ports").FirstOrDefault(p => p.Number("port") == port.Number("port") && p.Text("protocol") == port.Text("protocol"));
            if (port.Number("nodePort") is null or 0 && before?["nodePort"] is { } kept) port["nodePort"] = JsonTree.CopyNode(kept);
        }
    }

    private static void Allocate(JsonObject o, ClusterStore store)
    {
        var spec = o.Ensure("spec");
        if (spec.Text("type") == "ExternalName") return;
        var families = Families(spec, store);
        spec.Default("ipFamilyPolicy", families.Count > 1 ? "RequireDualStack" : "SingleStack");
        spec["ipFamilies"] = new JsonArray([.. families.Select(f => (JsonNode)JsonValue.Create(f)!)]);
        var taken = store.List(Services).Items.Where(s => s.Uid() != o.Uid()).ToList();
        if (spec.Text("clusterIP") == "None")
        {
            spec["clusterIPs"] = new JsonArray("None");
        }
        else
        {
            var used = taken.SelectMany(s => s.Texts("spec", "clusterIPs")).ToHashSet(StringComparer.Ordinal);
            var addresses = spec.Texts("clusterIPs").Where(a => a.Length > 0).ToList();
            if (addresses.Count == 0 && spec.Text("clusterIP") is { Length: > 0 } asked) addresses.Add(asked);
            for (var i = addresses.Count; i < families.Count; i++) addresses.Add(Free(families[i], used));
            spec["clusterIP"] = addresses[0];
            spec["clusterIPs"] = new JsonArray([.. addresses.Select(a => (JsonNode)JsonValue.Create(a)!)]);
        }
        if (spec.Text("type") is "NodePort" or "LoadBalancer") AllocateNodePorts(spec, taken);
    }

    private static List<string> Families(JsonObject spec, ClusterStore store)
    {
        var served = store.TryGet(ServiceCidrs, "", "kubernetes") is { } cidrs ? cidrs.Texts("spec", "cidrs").Select(cidr => cidr.Contains(':', StringComparison.Ordinal) ? "IPv6" : "IPv4").ToList() : ["IPv4", "IPv6"];
        var families = spec.Texts("ipFamilies").ToList();
        if (families.Count == 0)
        {
            var asked = spec.Texts("clusterIPs").Append(spec.Text("clusterIP") ?? "").FirstOrDefault(a => IPAddress.TryParse(a, out _));
            families.Add(asked is null ? served[0] : asked.Contains(':', StringComparison.Ordinal) ? "IPv6" : "IPv4");
        }
        if (spec.Text("ipFamilyPolicy") is "RequireDualStack" or "PreferDualStack" && families.Count == 1 && served.Count > 1) families.Add(families[0] == "IPv4" ? "IPv6" : "IPv4");
        return families;
    }

    private static string Free(string family, HashSet<string> used)
    {
        while (true)
        {
            var candidate = family == "IPv6" ? $"fd00:10:96::{Random.Shared.Next(0x100, 0xffff):x}" : $"10.96.{Random.Shared.Next(1, 255)}.{Random.Shared.Next(1, 255)}";
            if (!used.Contains(candidate)) return candidate;
        }
    }

    private static void AllocateNodePorts(JsonObject spec, List<JsonObject> others)
    {
        if (spec.Flag("allocateLoadBalancerNodePorts") == false) return;
        var used = others.SelectMany(s => s.Objects("spec", "ports")).Select(p => p.Number("nodePort") ?? 0).ToHashSet();
        foreach (var port in spec.Objects("ports").Where(p => p.Number("nodePort") is null or 0))
        {
            long candidate;
            do candidate = Random.Shared.Next(30000, 32768);
            while (!used.Add(candidate));
            port["nodePort"] = JsonTree.Number(candidate);
        }
    }

    public override IEnumerable<FieldError> Validate(JsonObject o, JsonObject? old)
    {
        var spec = o.Map("spec") ?? [];
        var ports = spec.Objects("ports").ToList();
        if (ports.Count == 0 && spec.Text("type") != "ExternalName" && spec.Text("clusterIP") != "None") yield return FieldError.Required("spec.ports");
        var seen = new HashSet<(long?, string?)>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        for (var i = 0; i < ports.Count; i++)
        {
            var path = $"spec.ports[{i}]";
            if (ports.Count > 1 && ports[i].Text("name") is not { Length: > 0 }) yield return FieldError.Required(path + ".name");
            if (ports[i].Text("name") is { Length: > 0 } name && !names.Add(name)) yield return FieldError.Duplicate(path + ".name", FieldError.Quote(name));
            if (ports[i].Number("port") is not (>= 1 and <= 65535)) yield return FieldError.Invalid(path + ".port", $"{ports[i].Number("port") ?? 0}", "must be between 1 and 65535, inclusive");
            if (ports[i].Text("protocol") is { } protocol && protocol is not ("TCP" or "UDP" or "SCTP"))
                yield return FieldError.Unsupported(path + ".protocol", FieldError.Quote(protocol), ["SCTP", "TCP", "UDP"]);
            if (!seen.Add((ports[i].Number("port"), ports[i].Text("protocol"))))
                yield return FieldError.Duplicate(path, $"{{\"protocol\":{FieldError.Quote(ports[i].Text("protocol") ?? "")},\"port\":{ports[i].Number("port")}}}");
        }
        if (spec.Text("type") is { } type && type is not ("ClusterIP" or "NodePort" or "LoadBalancer" or "ExternalName"))
            yield return FieldError.Unsupported("spec.type", FieldError.Quote(type), ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
        if (spec.Text("type") == "ExternalName" && spec.Text("externalName") is not { Length: > 0 }) yield return FieldError.Required("spec.externalName");
        foreach (var error in Addresses(spec, old)) yield return error;
    }

    public override IEnumerable<FieldError> ValidateAmong(JsonObject o, ClusterStore store)
    {
        var used = store.List(Services).Items.Where(s => s.Uid() != o.Uid()).SelectMany(s => s.Texts("spec", "clusterIPs")).ToHashSet(StringComparer.Ordinal);
        foreach (var address in o.Texts("spec", "clusterIPs").Where(a => a != "None" && used.Contains(a)))
            yield return FieldError.Invalid("spec.clusterIPs", o.List("spec", "clusterIPs")!.ToJsonString(), $"failed to allocate IP {address}: provided IP is already allocated");
    }

    private static IEnumerable<FieldError> Addresses(JsonObject spec, JsonObject? old)
    {
        var shown = spec.List("clusterIPs")?.ToJsonString() ?? "[]";
        if (old?.Text("spec", "clusterIP") is { Length: > 0 } before && spec.Text("clusterIP") != before && spec.Text("type") != "ExternalName")
        {
            yield return FieldError.Invalid("spec.clusterIPs[0]", shown, "may not change once set");
            yield break;
        }
        foreach (var address in spec.Texts("clusterIPs").Where(a => a is not ("None" or "")))
        {
            if (!IPAddress.TryParse(address, out var ip)) yield return FieldError.InvalidText("spec.clusterIPs[0]", address, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
            else if (!(ip.AddressFamily == AddressFamily.InterNetwork ? Ipv4Range : Ipv6Range).Contains(ip))
                yield return FieldError.Invalid("spec.clusterIPs", shown, $"failed to allocate IP {address}: the provided network does not match the current range");
        }
    }
}
