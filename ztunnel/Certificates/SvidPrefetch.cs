using System.Collections.Immutable;
using AmbientMesh.Model;

namespace AmbientMesh.Ztunnel.Certificates;

/// <summary>Fetches certificates for the node's pods before their first connection, and forgets those of pods that are gone.</summary>
public static class SvidPrefetch
{
    /// <summary>Follows the mesh until cancelled.</summary>
    public static async Task RunAsync(MeshStore mesh, SvidStore svids, CancellationToken cancellationToken)
    {
        var warmed = ImmutableDictionary<SpiffeId, int>.Empty;
        var snapshot = mesh.Current;
        while (true)
        {
            if (!ReferenceEquals(snapshot.LocalIdentities, warmed))
            {
                foreach (var identity in snapshot.LocalIdentities.Keys.Where(id => !warmed.ContainsKey(id))) svids.Warm(identity);
                foreach (var identity in warmed.Keys.Where(id => !snapshot.LocalIdentities.ContainsKey(id))) svids.Forget(identity);
                warmed = snapshot.LocalIdentities;
            }
            snapshot = await mesh.AfterAsync(snapshot, cancellationToken);
        }
    }
}
