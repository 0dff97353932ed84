using System.Buffers;
using System.Security.Cryptography;
using System.Text.Json;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Model.Explanation;
using AmbientMesh.Ztunnel.Admin;

namespace AmbientMesh.Ztunnel.Explain;

/// <summary>Digests of what a decision rested on, so that two nodes' views can be compared without sending them.</summary>
internal static class HeldResources
{
    public static HeldResource Of(Workload workload) => new("workload", workload.Uid, Digest(json => MeshJson.Write(json, workload)));

    public static HeldResource Of(AuthorizationPolicy policy) => new("policy", policy.Key.ToString(), Digest(json => MeshJson.Write(json, policy)));

    /// <summary>The service with the endpoints that may be used.</summary>
    public static HeldResource Of(MeshService service, MeshSnapshot mesh) => new("service", service.Key.ToString(), Digest(json => MeshJson.Write(json, service, mesh)));

    private static string Digest(Action<Utf8JsonWriter> write)
    {
        var buffer = new ArrayBufferWriter<byte>(1024);
        using (var json = new Utf8JsonWriter(buffer)) write(json);
        return Convert.ToHexStringLower(SHA256.HashData(buffer.WrittenSpan).AsSpan(0, 8));
    }
}
