using System.Collections.Concurrent;
using System.Threading.Channels;
using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.ControlPlane.Translation;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Serving;

/// <summary>What every object is to say about itself, held for whoever writes it. Reading is thread-safe.</summary>
public sealed class StatusReports
{
    private readonly ConcurrentDictionary<(ResourceType Type, ObjectKey Key), StatusReport> _due = new();
    private readonly Channel<bool> _changed = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

    public StatusReports(MeshCollections mesh)
    {
        Follow(mesh.Statuses.Services);
        Follow(mesh.Statuses.ServiceEntries);
        Follow(mesh.Statuses.WorkloadEntries);
        mesh.Policies.AuthorizationPolicyReports.Subscribe(changes => Take(changes.Select(c => (c.Old?.ToStatus(), c.New?.ToStatus()))));
        mesh.Policies.PeerAuthenticationReports.Subscribe(changes => Take(changes.Select(c => (c.Old?.ToStatus(), c.New?.ToStatus()))));
    }

    /// <summary>The reports that their objects do not show yet.</summary>
    public IReadOnlyList<StatusReport> Due => [.. _due.Values];

    /// <summary>Gets an item when reports have changed since the last one was read; one reader at a time.</summary>
    public ChannelReader<bool> Changed => _changed.Reader;

    private void Follow(Collection<ObjectKey, StatusReport> reports) => reports.Subscribe(changes => Take(changes.Select(c => (c.Old, c.New))));

    private void Take(IEnumerable<(StatusReport? Old, StatusReport? New)> changes)
    {
        foreach (var (old, now) in changes)
        {
            var report = (now ?? old)!;
            if (now is { IsDue: true }) _due[(report.Type, report.Key)] = now;
            else _due.TryRemove((report.Type, report.Key), out _);
        }
        _changed.Writer.TryWrite(true);
    }
}
