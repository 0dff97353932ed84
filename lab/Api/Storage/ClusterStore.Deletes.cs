using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Semantics;

namespace AmbientMesh.Lab.Api.Storage;

/// <content>Deletion: grace, finalizers, propagation.</content>
public sealed partial class ClusterStore
{
    /// <summary>Deletes an object, or marks it where finalizers or a grace period hold it. Throws 404, and 409 for a failed precondition.</summary>
    public DeleteResult Delete(GroupResource resource, string ns, string name, DeleteOptions? options = null) =>
        Delete(Registry.Get(resource), ns, name, options ?? DeleteOptions.Default);

    internal DeleteResult Delete(ApiResource resource, string ns, string name, DeleteOptions options)
    {
        var rule = RuleOf(resource);
        lock (_gate)
        {
            var current = Table(resource.GroupResource).Find(ns, name) ?? throw ApiErrors.NotFound(resource.GroupResource, name);
            CheckPreconditions(resource, current, options);
            var next = current.Copy();
            var finalizers = WithPropagation(current.Finalizers().ToList(), options.Propagation);
            if (!current.IsTerminating()) finalizers = [.. finalizers.Union(rule.FinalizersOnDelete, StringComparer.Ordinal)];
            SetFinalizers(next, finalizers);
            var grace = rule.GracePeriod(current, options);
            if (finalizers.Count == 0 && grace is null or 0 && !rule.IsHeld(next))
            {
                if (!options.IsDryRun) CommitRemoval(resource.GroupResource, current);
                return new DeleteResult(current, true);
            }
            MarkTerminating(current, next, grace ?? 0, hasGrace: grace is not null || finalizers.Count > 0);
            rule.OnTerminating(next);
            if (JsonTree.Same(current, next) || options.IsDryRun) return new DeleteResult(next, false);
            if (rule.HasGeneration && !current.IsTerminating()) next.Metadata()["generation"] = JsonTree.Number(current.Generation() + 1);
            next = ObjectDecoding.Canonical(resource, next);
            return new DeleteResult(CommitWrite(resource.GroupResource, current, next), false);
        }
    }

    private static void CheckPreconditions(ApiResource resource, JsonObject current, DeleteOptions options)
    {
        if (options.Uid is { } uid && uid != current.Uid())
            throw ApiErrors.PreconditionFailed(resource.Kind, current.Name(),
                $"the UID in the precondition ({uid}) does not match the UID in record ({current.Uid()}). The object might have been deleted and then recreated");
        if (options.ResourceVersion is { } version && version != current.Text("metadata", "resourceVersion"))
            throw ApiErrors.PreconditionFailed(resource.Kind, current.Name(),
                $"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({current.Text("metadata", "resourceVersion")}). The object might have been modified");
    }

    private static List<string> WithPropagation(List<string> finalizers, Propagation? propagation)
    {
        if (propagation is null) return finalizers;
        finalizers.RemoveAll(f => f is "foregroundDeletion" or "orphan");
        if (propagation == Propagation.Foreground) finalizers.Add("foregroundDeletion");
        if (propagation == Propagation.Orphan) finalizers.Add("orphan");
        return finalizers;
    }

    private static void SetFinalizers(JsonObject o, List<string> finalizers)
    {
        if (finalizers.Count == 0) o.Metadata().Remove("finalizers");
        else o.Metadata()["finalizers"] = new JsonArray([.. finalizers.Select(f => (JsonNode)JsonValue.Create(f)!)]);
    }

    private void MarkTerminating(JsonObject current, JsonObject next, long grace, bool hasGrace)
    {
        var metadata = next.Metadata();
        var known = current.Number("metadata", "deletionGracePeriodSeconds");
        if (current.IsTerminating() && (known is null || grace >= known)) return;   // only ever shortened
        if (!current.IsTerminating() || known != grace)
        {
            var start = _clock.GetUtcNow();
            metadata["deletionTimestamp"] = KubernetesTime.Seconds(start.AddSeconds(grace));
        }
        if (hasGrace) metadata["deletionGracePeriodSeconds"] = JsonTree.Number(grace);
    }

    /// <summary>Deletes everything selected; the answer lists what was there.</summary>
    internal ObjectList DeleteCollection(ApiResource resource, Selection selection, DeleteOptions options)
    {
        lock (_gate)
        {
            var selected = List(resource.GroupResource, selection).Items;
            var deleted = new List<JsonObject>(selected.Count);
            foreach (var o in selected) deleted.Add(Delete(resource, o.Namespace(), o.Name(), options).Object);
            return new ObjectList(deleted, _revision);
        }
    }
}
