using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.InPod;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Inbound;

/// <summary>Judges open inbound connections again when policies, their workload, or the waypoint they must come through change, and closes those no longer allowed.</summary>
public sealed class PolicyWatch(MeshStore store, Func<IEnumerable<PodContext>> pods, ILogger log)
{
    /// <summary>Follows the mesh until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var before = store.Current;
        while (true)
        {
            var mesh = await store.AfterAsync(before, cancellationToken);
            foreach (var pod in pods()) Judge(pod, before, mesh);
            before = mesh;
        }
    }

    private void Judge(PodContext pod, MeshSnapshot before, MeshSnapshot mesh)
    {
        if (mesh.FindWorkload(pod.Info) is not { } local) return;   // not known now: the verdict it was admitted with stands
        var requiresWaypoint = pod.Services.Settings.RequireWaypoint;
        if (mesh.HasSamePolicies(before) && ReferenceEquals(before.FindWorkload(pod.Info), local) && !(requiresWaypoint && !WaypointRequirement.IsSame(before, mesh, local))) return;
        var policies = Authorizer.PoliciesOf(mesh, local);
        foreach (var missing in policies.Missing) log.Write(LogLevel.Warning, $"policy {missing} of workload {local.Uid} is not known; it is not enforced");
        foreach (var connection in pod.Connections.Open)
        {
            if (connection.Facts is not { } facts) continue;
            if (PolicyJudge.RefusalOfOpen(mesh, local, policies, facts, requiresWaypoint) is not { } refusal) continue;
            connection.Close(refusal);
            log.Write(LogLevel.Information, new LogFields($"connection {connection.View?.Source}({facts.Peer})->{facts.Destination} ({local.Uid}) closed because it's no longer allowed after a policy update") { Span = pod.Span });
        }
    }
}
