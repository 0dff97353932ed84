using System.Net;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;
using AmbientMesh.Lab.Network;

namespace AmbientMesh.Lab.Api.Bootstrap;

/// <summary>What is in every cluster from its first moment.</summary>
internal static class BootstrapObjects
{
    private static readonly WriteOptions Options = WriteOptions.By("kube-apiserver");

    /// <param name="serviceCidrs">Where services get their addresses, the main one first.</param>
    public static void Create(ClusterStore store, string authorityPem, IReadOnlyList<string> serviceCidrs)
    {
        var furniture = new NamespaceContents(store, authorityPem);
        foreach (var name in (string[])["default", "kube-system", "kube-public", "kube-node-lease"])
        {
            store.Create(new("", "namespaces"), new JsonObject { ["metadata"] = new JsonObject { ["name"] = name } }, Options);
            furniture.Furnish(name);
        }
        foreach (var (name, value, about) in (IEnumerable<(string, long, string)>)
            [("system-node-critical", 2000001000, "Used for system critical pods that must not be moved from their current node."),
             ("system-cluster-critical", 2000000000, "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.")])
        {
            store.Create(new("scheduling.k8s.io", "priorityclasses"), new JsonObject
            {
                ["metadata"] = new JsonObject { ["name"] = name },
                ["value"] = JsonTree.Number(value),
                ["description"] = about,
            }, Options);
        }
        foreach (var resource in store.Registry.All.Select(r => (r.Group, r.Version)).Distinct()) ApiService(store, resource.Group, resource.Version);
        BootstrapRoles.Create(store);
        store.Create(new("", "configmaps"), new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = "extension-apiserver-authentication", ["namespace"] = "kube-system" },
            ["data"] = new JsonObject
            {
                ["client-ca-file"] = authorityPem,
                ["requestheader-allowed-names"] = "[\"front-proxy-client\"]",
                ["requestheader-client-ca-file"] = authorityPem,
                ["requestheader-extra-headers-prefix"] = "[\"X-Remote-Extra-\"]",
                ["requestheader-group-headers"] = "[\"X-Remote-Group\"]",
                ["requestheader-username-headers"] = "[\"X-Remote-User\"]",
            },
        }, Options);
        store.Create(new("networking.k8s.io", "servicecidrs"), new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = "kubernetes" },
            ["spec"] = new JsonObject { ["cidrs"] = new JsonArray([.. serviceCidrs.Select(cidr => (JsonNode)cidr)]) },
        }, Options);
    }

    private static void ApiService(ClusterStore store, string group, string version)
    {
        var name = $"{version}.{group}";
        var resource = new GroupResource("apiregistration.k8s.io", "apiservices");
        store.Create(resource, new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = name, ["labels"] = new JsonObject { ["kube-aggregator.kubernetes.io/automanaged"] = "onstart" } },
            ["spec"] = new JsonObject { ["group"] = group, ["version"] = version, ["groupPriorityMinimum"] = JsonTree.Number(group.Length == 0 ? 18000 : 17000), ["versionPriority"] = JsonTree.Number(15) },
        }, Options);
        store.ModifyStatus(resource, "", name, o => o["status"] = new JsonObject
        {
            ["conditions"] = new JsonArray(new JsonObject
            {
                ["type"] = "Available",
                ["status"] = "True",
                ["lastTransitionTime"] = KubernetesTime.Seconds(store.Clock.GetUtcNow()),
                ["reason"] = "Local",
                ["message"] = "Local APIServices are always available",
            }),
        }, Options);
    }

    /// <summary>The <c>kubernetes</c> Service and the endpoint behind it.</summary>
    public static void PublishEndpoint(ClusterStore store, IPEndPoint address)
    {
        store.Create(new("", "services"), new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = "kubernetes", ["namespace"] = "default", ["labels"] = new JsonObject { ["component"] = "apiserver", ["provider"] = "kubernetes" } },
            ["spec"] = new JsonObject
            {
                ["clusterIP"] = (address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6 ? LabAddresses.ApiServiceV6 : LabAddresses.ApiService).ToString(),
                ["ipFamilyPolicy"] = "SingleStack",
                ["ports"] = new JsonArray(new JsonObject { ["name"] = "https", ["port"] = JsonTree.Number(443), ["targetPort"] = JsonTree.Number(address.Port) }),
            },
        }, Options);
        var ip = address.Address.ToString();
        var family = address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork ? "IPv4" : "IPv6";
        store.Create(new("", "endpoints"), new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = "kubernetes", ["namespace"] = "default", ["labels"] = new JsonObject { ["endpointslice.kubernetes.io/skip-mirror"] = "true" } },
            ["subsets"] = new JsonArray(new JsonObject
            {
                ["addresses"] = new JsonArray(new JsonObject { ["ip"] = ip }),
                ["ports"] = new JsonArray(new JsonObject { ["name"] = "https", ["port"] = JsonTree.Number(address.Port), ["protocol"] = "TCP" }),
            }),
        }, Options);
        store.Create(new("discovery.k8s.io", "endpointslices"), new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = "kubernetes", ["namespace"] = "default", ["labels"] = new JsonObject { ["kubernetes.io/service-name"] = "kubernetes" } },
            ["addressType"] = family,
            ["endpoints"] = new JsonArray(new JsonObject { ["addresses"] = new JsonArray(ip), ["conditions"] = new JsonObject { ["ready"] = true } }),
            ["ports"] = new JsonArray(new JsonObject { ["name"] = "https", ["port"] = JsonTree.Number(address.Port), ["protocol"] = "TCP" }),
        }, Options);
    }
}
