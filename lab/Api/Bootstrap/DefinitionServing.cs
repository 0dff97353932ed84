using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.CustomResources;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Bootstrap;

/// <summary>Takes CustomResourceDefinitions into service and out of it.</summary>
internal sealed class DefinitionServing(ClusterStore store)
{
    private static readonly GroupResource Definitions = new("apiextensions.k8s.io", "customresourcedefinitions");

    public void Observe(Change change)
    {
        if (change.Resource == Definitions)
        {
            if (change.After is null) Withdraw(change.Before!);
            else if (change.After.IsTerminating()) Empty(change.After);
            else Serve(change.After);
        }
        else if (change.After is null && store.Registry.Find(change.Resource)?.Custom is { } custom
            && store.TryGet(Definitions, "", custom.Definition) is { } definition && definition.IsTerminating())
        {
            Empty(definition);
        }
    }

    private static GroupResource ResourceOf(JsonObject definition) => new(definition.Text("spec", "group") ?? "", definition.Text("spec", "names", "plural") ?? "");

    private void Serve(JsonObject definition)
    {
        var conflict = Conflict(definition);
        if (conflict is null) store.Registry.SetCustom(ResourceOf(definition), [.. CustomDefinition.Versions(definition)]);
        var now = KubernetesTime.Seconds(store.Clock.GetUtcNow());
        store.ModifyStatus(Definitions, "", definition.Name(), o =>
        {
            var status = o.Ensure("status");
            if (conflict is null) status["acceptedNames"] = JsonTree.CopyNode(o.At("spec", "names"));
            SetCondition(status, "NamesAccepted", conflict is null ? "True" : "False", conflict?.Reason ?? "NoConflicts", conflict?.Message ?? "no conflicts found", now);
            SetCondition(status, "Established", conflict is null ? "True" : "False", conflict is null ? "InitialNamesAccepted" : "NotAccepted",
                conflict is null ? "the initial names have been accepted" : "not all names are accepted", now);
        }, WriteOptions.By("kube-apiserver"));
    }

    private (string Reason, string Message)? Conflict(JsonObject definition)
    {
        var own = ResourceOf(definition);
        var kind = definition.Text("spec", "names", "kind") ?? "";
        foreach (var other in store.Registry.All.Where(r => r.Group == own.Group && r.Plural != own.Resource))
        {
            if (other.ListKind == definition.Text("spec", "names", "listKind")) return ("ListKindConflict", $"{FieldError.Quote(other.ListKind)} is already in use");
            if (other.Kind == kind) return ("KindConflict", $"{FieldError.Quote(kind)} is already in use");
            if (definition.Text("spec", "names", "singular") is { } singular && other.Singular == singular) return ("SingularConflict", $"{FieldError.Quote(singular)} is already in use");
            foreach (var name in definition.Texts("spec", "names", "shortNames"))
                if (other.ShortNames.Contains(name, StringComparer.Ordinal)) return ("ShortNamesConflict", $"{FieldError.Quote(name)} is already in use");
        }
        return null;
    }

    private static void SetCondition(JsonObject status, string type, string value, string reason, string message, string now)
    {
        if (status["conditions"] is not JsonArray conditions) status["conditions"] = conditions = [];
        var condition = conditions.OfType<JsonObject>().FirstOrDefault(c => c.Text("type") == type);
        if (condition is null) conditions.Add(condition = new JsonObject { ["type"] = type });
        if (condition.Text("status") != value) condition["lastTransitionTime"] = now;
        condition["status"] = value;
        condition["reason"] = reason;
        condition["message"] = message;
    }

    /// <summary>A definition that ends takes its objects with it.</summary>
    private void Empty(JsonObject definition)
    {
        var resource = ResourceOf(definition);
        if (store.Registry.Find(resource) is not null)
        {
            foreach (var o in store.List(resource).Items.Where(o => !o.IsTerminating())) store.Delete(resource, o.Namespace(), o.Name());
            if (store.List(resource).Items.Count > 0) return;
        }
        store.Modify(Definitions, "", definition.Name(), o =>
        {
            var rest = o.Finalizers().Where(f => f != DefinitionRule.CleanupFinalizer).Select(f => (JsonNode)JsonValue.Create(f)!).ToArray();
            if (rest.Length == 0) o.Metadata().Remove("finalizers");
            else o.Metadata()["finalizers"] = new JsonArray(rest);
        }, WriteOptions.By("kube-apiserver"));
    }

    private void Withdraw(JsonObject definition)
    {
        store.Registry.SetCustom(ResourceOf(definition), []);
        store.DropTable(ResourceOf(definition));
    }
}
