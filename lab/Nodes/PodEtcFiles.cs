using System.Text;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Network;

namespace AmbientMesh.Lab.Nodes;

/// <summary>The files the kubelet and the runtime write for a pod: hosts, hostname, resolv.conf. Pure. Shapes as recorded (inside-a-container).</summary>
internal static class PodEtcFiles
{
    public static string Hosts(JsonObject pod, IReadOnlyList<string> addresses)
    {
        var text = new StringBuilder("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
            "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n");
        var (host, domain) = (pod.Hostname(), pod.Text("spec", "subdomain"));
        foreach (var address in addresses)
        {
            text.Append(domain is null || pod.IsHostNetwork()
                ? $"{address}\t{host}\n"
                : $"{address}\t{host}.{domain}.{pod.Namespace()}.svc.{LabAddresses.ClusterDomain}\t{host}\n");
        }
        var aliases = pod.Objects("spec", "hostAliases").ToArray();
        if (aliases.Length > 0) text.Append("\n# Entries added by HostAliases.\n");
        foreach (var alias in aliases) text.Append($"{alias.Text("ip")}\t{string.Join('\t', alias.Texts("hostnames"))}\n");
        return text.ToString();
    }

    /// <summary>Search domains of a pod whose DNS is the cluster's.</summary>
    public static IReadOnlyList<string> Searches(string ns) =>
        [$"{ns}.svc.{LabAddresses.ClusterDomain}", $"svc.{LabAddresses.ClusterDomain}", LabAddresses.ClusterDomain];

    /// <param name="nodeFile">The node's own resolv.conf, for pods that want that.</param>
    /// <param name="families">Decide the address of the cluster's DNS.</param>
    public static string ResolvConf(JsonObject pod, string nodeFile, AddressFamilies families = AddressFamilies.Dual)
    {
        var policy = pod.Text("spec", "dnsPolicy") ?? "ClusterFirst";
        if (policy == "Default" || (policy == "ClusterFirst" && pod.IsHostNetwork())) return nodeFile;
        var cluster = policy != "None";
        string[] servers = [.. cluster ? [LabAddresses.DnsServiceOf(families).ToString()] : Array.Empty<string>(), .. pod.Texts("spec", "dnsConfig", "nameservers")];
        string[] searches = [.. cluster ? Searches(pod.Namespace()) : [], .. pod.Texts("spec", "dnsConfig", "searches")];
        string[] options =
        [
            .. pod.Objects("spec", "dnsConfig", "options").Select(o => o.Text("value") is { } value ? $"{o.Text("name")}:{value}" : o.Text("name") ?? ""),
        ];
        if (cluster && !Array.Exists(options, o => o.StartsWith("ndots", StringComparison.Ordinal))) options = ["ndots:5", .. options];
        return (searches.Length > 0 ? $"search {string.Join(' ', searches)}\n" : "") + string.Concat(servers.Select(s => $"nameserver {s}\n")) +
               (options.Length > 0 ? $"options {string.Join(' ', options)}\n" : "");
    }
}
