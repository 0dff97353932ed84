using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Semantics;

namespace AmbientMesh.Lab.Api.Storage;

/// <content>The end of a namespace.</content>
public sealed partial class ClusterStore
{
    private static readonly GroupResource Namespaces = new("", "namespaces");

    /// <summary>Sets what still holds a namespace; a terminating one that nothing holds is gone with this call.</summary>
    public JsonObject FinalizeNamespace(string name, IReadOnlyList<string> finalizers)
    {
        lock (_gate)
        {
            var current = Get(Namespaces, "", name);
            var next = current.Copy();
            if (finalizers.Count == 0) next["spec"] = new JsonObject();
            else next["spec"] = new JsonObject { ["finalizers"] = new JsonArray([.. finalizers.Select(f => (JsonNode)JsonValue.Create(f)!)]) };
            next = ObjectDecoding.Canonical(Registry.Get(Namespaces), next);
            if (JsonTree.Same(current, next)) return current;
            next = CommitWrite(Namespaces, current, next);
            if (next.IsTerminating() && finalizers.Count == 0 && !next.Finalizers().Any()) CommitRemoval(Namespaces, next);
            return next;
        }
    }
}
