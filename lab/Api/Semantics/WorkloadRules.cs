using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Semantics;

/// <summary>Kinds that hold a pod template behind a selector.</summary>
internal abstract class WorkloadRule : KindRule
{
    public override bool HasGeneration => true;

    public override void Default(JsonObject o)
    {
        var spec = o.Ensure("spec");
        PodDefaults.Spec(spec.Ensure("template", "spec"));
        DefaultSpec(spec);
    }

    protected abstract void DefaultSpec(JsonObject spec);

    protected virtual bool SelectorIsImmutable => true;

    public override IEnumerable<FieldError> Validate(JsonObject o, JsonObject? old)
    {
        if (o.Number("spec", "replicas") is < 0 and var replicas)
            yield return FieldError.Invalid("spec.replicas", $"{replicas}", "must be greater than or equal to 0");
        var selector = o.Map("spec", "selector");
        if (selector is null) yield return FieldError.Required("spec.selector");
        else if (selector is { Count: 0 }) yield return FieldError.Invalid("spec.selector", "{}", "empty selector is invalid for deployment");
        var labels = o.TextMap("spec", "template", "metadata", "labels");
        if (selector is null || !LabelSelector.FromObject(selector).Matches(labels))
            yield return FieldError.Invalid("spec.template.metadata.labels", o.Map("spec", "template", "metadata", "labels")?.ToJsonString() ?? "null",
                "`selector` does not match template `labels`");
        foreach (var error in PodValidation.Spec(o.Map("spec", "template", "spec") ?? [], "spec.template.spec")) yield return error;
        if (o.Text("spec", "template", "spec", "restartPolicy") is { } restart && restart != "Always")
            yield return FieldError.Unsupported("spec.template.spec.restartPolicy", FieldError.Quote(restart), ["Always"]);
        if (old is not null && SelectorIsImmutable && !JsonTree.Same(selector, old.Map("spec", "selector")))
            yield return FieldError.Invalid("spec.selector", selector?.ToJsonString() ?? "null", "field is immutable");
    }
}

internal sealed class DeploymentRule : WorkloadRule
{
    protected override void DefaultSpec(JsonObject spec)
    {
        spec.Default("replicas", 1);
        spec.Default("revisionHistoryLimit", 10);
        spec.Default("progressDeadlineSeconds", 600);
        var strategy = spec.Ensure("strategy");
        if (strategy.Text("type") is null or "") strategy["type"] = "RollingUpdate";
        if (strategy.Text("type") != "RollingUpdate") return;
        var rolling = strategy.Ensure("rollingUpdate");
        rolling.Default("maxUnavailable", "25%");
        rolling.Default("maxSurge", "25%");
    }

    public override IEnumerable<FieldError> Validate(JsonObject o, JsonObject? old)
    {
        foreach (var error in base.Validate(o, old)) yield return error;
        if (o.Text("spec", "strategy", "type") == "Recreate" && o.Map("spec", "strategy", "rollingUpdate") is not null)
            yield return FieldError.Forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'");
    }
}

internal sealed class ReplicaSetRule : WorkloadRule
{
    protected override void DefaultSpec(JsonObject spec) => spec.Default("replicas", 1);
}

internal sealed class DaemonSetRule : WorkloadRule
{
    private const string TemplateGeneration = "deprecated.daemonset.template.generation";

    protected override void DefaultSpec(JsonObject spec)
    {
        spec.Default("revisionHistoryLimit", 10);
        var strategy = spec.Ensure("updateStrategy");
        strategy.Default("type", "RollingUpdate");
        if (strategy.Text("type") != "RollingUpdate") return;
        var rolling = strategy.Ensure("rollingUpdate");
        rolling.Default("maxUnavailable", 1);
        rolling.Default("maxSurge", 0);
    }

    public override void OnCreate(JsonObject o, ClusterStore store) => o.Metadata().Ensure("annotations")[TemplateGeneration] = "1";

    public override void OnUpdate(JsonObject o, JsonObject old, ClusterStore store)
    {
        var generation = long.TryParse(old.Text("metadata", "annotations", TemplateGeneration), out var g) ? g : 1;
        if (!JsonTree.Same(o.At("spec", "template"), old.At("spec", "template"))) generation++;
        o.Metadata().Ensure("annotations")[TemplateGeneration] = generation.ToString();
    }
}

internal sealed class StatefulSetRule : WorkloadRule
{
    protected override void DefaultSpec(JsonObject spec)
    {
        spec.Default("replicas", 1);
        spec.Default("revisionHistoryLimit", 10);
        spec.Default("podManagementPolicy", "OrderedReady");
        var strategy = spec.Ensure("updateStrategy");
        strategy.Default("type", "RollingUpdate");
        if (strategy.Text("type") == "RollingUpdate") strategy.Ensure("rollingUpdate").Default("partition", 0);
        var retention = spec.Ensure("persistentVolumeClaimRetentionPolicy");
        retention.Default("whenDeleted", "Retain");
        retention.Default("whenScaled", "Retain");
        foreach (var claim in spec.Objects("volumeClaimTemplates"))
        {
            claim.Ensure("spec").Default("volumeMode", "Filesystem");
            claim.Ensure("status").Default("phase", "Pending");
        }
    }
}

internal sealed class JobRule : WorkloadRule
{
    protected override void DefaultSpec(JsonObject spec)
    {
        spec.Default("parallelism", 1);
        if (spec["completions"] is null && spec["parallelism"].Number() == 1) spec.Default("completions", 1);
        spec.Default("backoffLimit", 6);
        spec.Default("completionMode", "NonIndexed");
        spec.Default("suspend", false);
        spec.Default("podReplacementPolicy", "TerminatingOrFailed");
    }

    public override void OnCreate(JsonObject o, ClusterStore store)
    {
        if (o.Flag("spec", "manualSelector") == true) return;
        var spec = o.Ensure("spec");
        var labels = spec.Ensure("template", "metadata", "labels");
        foreach (var (key, value) in (IEnumerable<(string, string)>)
            [("batch.kubernetes.io/controller-uid", o.Uid()), ("batch.kubernetes.io/job-name", o.Name()), ("controller-uid", o.Uid()), ("job-name", o.Name())])
            labels[key] = value;
        spec["selector"] = new JsonObject { ["matchLabels"] = new JsonObject { ["batch.kubernetes.io/controller-uid"] = o.Uid() } };
    }

    public override IEnumerable<FieldError> Validate(JsonObject o, JsonObject? old)
    {
        foreach (var error in PodValidation.Spec(o.Map("spec", "template", "spec") ?? [], "spec.template.spec")) yield return error;
        if (o.Text("spec", "template", "spec", "restartPolicy") is { } restart && restart is not ("OnFailure" or "Never"))
            yield return FieldError.Unsupported("spec.template.spec.restartPolicy", FieldError.Quote(restart), ["OnFailure", "Never"]);
    }
}

internal sealed class CronJobRule : KindRule
{
    public override bool HasGeneration => true;

    public override void Default(JsonObject o)
    {
        var spec = o.Ensure("spec");
        spec.Default("concurrencyPolicy", "Allow");
        spec.Default("suspend", false);
        spec.Default("successfulJobsHistoryLimit", 3);
        spec.Default("failedJobsHistoryLimit", 1);
        PodDefaults.Spec(spec.Ensure("jobTemplate", "spec", "template", "spec"));
    }
}

internal sealed class ReplicationControllerRule : WorkloadRule
{
    protected override void DefaultSpec(JsonObject spec)
    {
        spec.Default("replicas", 1);
        if (spec["selector"] is null && spec.Map("template", "metadata", "labels") is { } labels) spec["selector"] = labels.Copy();
    }

    public override IEnumerable<FieldError> Validate(JsonObject o, JsonObject? old) => PodValidation.Spec(o.Map("spec", "template", "spec") ?? [], "spec.template.spec");
}
