using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;
using AmbientMesh.Lab.Controllers;

namespace AmbientMesh.Lab.Network;

/// <summary>The <c>kube-dns</c> Service at its usual address, leading to the lab's own DNS server.</summary>
internal static class ClusterDnsObjects
{
    public static void Create(ClusterStore store, AddressFamilies families)
    {
        var service = LabAddresses.DnsServiceOf(families).ToString();
        var writes = WriteOptions.By("mesh-lab");
        store.Create(Resources.Services, new JsonObject
        {
            ["kind"] = "Service",
            ["apiVersion"] = "v1",
            ["metadata"] = new JsonObject
            {
                ["name"] = "kube-dns",
                ["namespace"] = "kube-system",
                ["labels"] = new JsonObject { ["k8s-app"] = "kube-dns", ["kubernetes.io/cluster-service"] = "true", ["kubernetes.io/name"] = "CoreDNS" },
            },
            ["spec"] = new JsonObject
            {
                ["clusterIP"] = service,
                ["clusterIPs"] = new JsonArray(service),
                ["ports"] = new JsonArray(Port("dns", "UDP"), Port("dns-tcp", "TCP")),
            },
        }, writes);
        store.Create(Resources.EndpointSlices, new JsonObject
        {
            ["kind"] = "EndpointSlice",
            ["apiVersion"] = "discovery.k8s.io/v1",
            ["metadata"] = new JsonObject
            {
                ["name"] = "kube-dns-lab",
                ["namespace"] = "kube-system",
                ["labels"] = new JsonObject { ["kubernetes.io/service-name"] = "kube-dns", ["endpointslice.kubernetes.io/managed-by"] = "mesh-lab" },
            },
            ["addressType"] = families == AddressFamilies.Ipv6 ? "IPv6" : "IPv4",
            ["endpoints"] = new JsonArray(new JsonObject
            {
                ["addresses"] = new JsonArray(LabAddresses.FabricAddresses(families)[0].ToString()),
                ["conditions"] = new JsonObject { ["ready"] = true, ["serving"] = true, ["terminating"] = false },
            }),
            ["ports"] = new JsonArray(Port("dns", "UDP"), Port("dns-tcp", "TCP")),
        }, writes);
    }

    private static JsonObject Port(string name, string protocol) =>
        new() { ["name"] = name, ["protocol"] = protocol, ["port"] = JsonTree.Number(LabAddresses.DnsPort) };
}
