using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Tests.Api.Replay;

/// <summary>Stand-ins for objects a recording presumes without showing them.</summary>
internal static class SampleObjects
{
    public static JsonObject Of(ApiResource resource, string ns, string name)
    {
        var o = new JsonObject
        {
            ["kind"] = resource.Kind,
            ["apiVersion"] = resource.ApiVersion,
            ["metadata"] = new JsonObject { ["name"] = name, ["uid"] = Guid.NewGuid().ToString(), ["creationTimestamp"] = "2026-11-21T01:00:00Z", ["labels"] = new JsonObject { ["app"] = "web" } },
        };
        if (ns.Length > 0) o.Metadata()["namespace"] = ns;
        switch (resource.Plural)
        {
            case "deployments" or "replicasets" or "daemonsets" or "statefulsets":
                o["spec"] = new JsonObject { ["replicas"] = JsonTree.Number(2), ["selector"] = new JsonObject { ["matchLabels"] = new JsonObject { ["app"] = "web" } }, ["template"] = Template() };
                break;
            case "pods":
                o["spec"] = Template()["spec"]!.DeepClone();
                o["spec"]!["nodeName"] = "node-1";
                o["status"] = new JsonObject { ["phase"] = "Running" };
                break;
            case "services":
                o["spec"] = new JsonObject
                {
                    ["type"] = "ClusterIP",
                    ["clusterIP"] = "10.96.1.1",
                    ["clusterIPs"] = new JsonArray("10.96.1.1"),
                    ["ports"] = new JsonArray(new JsonObject { ["port"] = JsonTree.Number(80), ["protocol"] = "TCP", ["targetPort"] = JsonTree.Number(80) }),
                };
                break;
            case "configmaps":
                o["data"] = new JsonObject { ["a"] = "1" };
                if (name == "frozen") o["immutable"] = true;
                break;
            case "widgets":
                o["spec"] = new JsonObject { ["color"] = "red", ["replicas"] = JsonTree.Number(1), ["ports"] = new JsonArray() };
                break;
        }
        return o;
    }

    private static JsonObject Template() => new()
    {
        ["metadata"] = new JsonObject { ["labels"] = new JsonObject { ["app"] = "web" } },
        ["spec"] = new JsonObject { ["containers"] = new JsonArray(new JsonObject { ["name"] = "web", ["image"] = "sample.local/busybox:1" }) },
    };
}
