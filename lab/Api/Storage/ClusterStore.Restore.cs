using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.Storage;

/// <content>Putting saved state back.</content>
public sealed partial class ClusterStore
{
    /// <summary>Puts an object back exactly as it was saved, uid and all; only its resourceVersion is new. Nothing is defaulted, admitted or validated.</summary>
    internal JsonObject Restore(GroupResource resource, JsonObject saved)
    {
        lock (_gate) return CommitWrite(resource, Table(resource).Find(saved.Namespace(), saved.Name()), saved.Copy());
    }

    /// <summary>Continues the count of revisions from <paramref name="revision"/>, where that is ahead.</summary>
    internal void AdvanceTo(long revision)
    {
        lock (_gate) _revision = Math.Max(_revision, revision);
    }

    /// <summary>Takes an object out at once, whatever holds it. False when there is none.</summary>
    internal bool Discard(GroupResource resource, string ns, string name)
    {
        lock (_gate)
        {
            if (Table(resource).Find(ns, name) is not { } o) return false;
            CommitRemoval(resource, o);
            return true;
        }
    }
}
