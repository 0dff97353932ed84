using System.Net;
using System.Text.Json;

namespace AmbientMesh.Lab.Demo;

/// <summary>A pod of the sample shop as the API server shows it.</summary>
public sealed record ShopPod(string Name, string App, string Node, string Uid, IReadOnlyList<IPAddress> Addresses, int Restarts, string StartedAt, string Redirection)
{
    public bool IsEnrolled => Redirection == "enabled";

    /// <summary>Reads <c>kubectl get pods -o json</c>.</summary>
    public static IReadOnlyList<ShopPod> Parse(string json)
    {
        using var document = JsonDocument.Parse(json);
        return [.. document.RootElement.GetProperty("items").EnumerateArray().Select(Read)];
    }

    private static ShopPod Read(JsonElement pod)
    {
        var (meta, status) = (pod.GetProperty("metadata"), pod.GetProperty("status"));
        var container = status.GetProperty("containerStatuses")[0];
        return new ShopPod(
            meta.GetProperty("name").GetString()!,
            meta.GetProperty("labels").GetProperty("app").GetString()!,
            pod.GetProperty("spec").GetProperty("nodeName").GetString()!,
            meta.GetProperty("uid").GetString()!,
            status.TryGetProperty("podIPs", out var ips) is false ? [] : [.. ips.EnumerateArray().Select(ip => IPAddress.Parse(ip.GetProperty("ip").GetString()!))],
            container.GetProperty("restartCount").GetInt32(),
            container.GetProperty("state").TryGetProperty("running", out var running) ? running.GetProperty("startedAt").GetString()! : "",
            meta.TryGetProperty("annotations", out var annotations) && annotations.TryGetProperty("ambient.istio.io/redirection", out var value) ? value.GetString()! : "");
    }
}
