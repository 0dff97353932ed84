using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Semantics;
using AmbientMesh.Lab.Api.Semantics.Ownership;

namespace AmbientMesh.Lab.Api.Storage;

/// <content>Create, update and patch.</content>
public sealed partial class ClusterStore
{
    /// <summary>Stores a new object; its namespace is that of its metadata. Throws 409 AlreadyExists, 422, 404 for a missing namespace.</summary>
    public JsonObject Create(GroupResource resource, JsonObject o, WriteOptions? options = null) =>
        Create(Registry.Get(resource), o, o.Namespace(), options ?? WriteOptions.Default);

    internal JsonObject Create(ApiResource resource, JsonObject source, string ns, WriteOptions options)
    {
        var rule = RuleOf(resource);
        var o = source.Copy();
        o["kind"] ??= resource.Kind;
        o["apiVersion"] ??= resource.ApiVersion;
        CompleteNewMetadata(resource, o, ns);
        o = ObjectDecoding.Accept(resource, o, options);
        lock (_gate)
        {
            var generated = o.Name().Length == 0 && o.Text("metadata", "generateName") is { Length: > 0 };
            if (generated) o.Metadata()["name"] = o.Text("metadata", "generateName") + Names.RandomSuffix();
            if (resource.HasStatus && !rule.KeepsStatusOnCreate) o.Remove("status");
            rule.Default(o);
            Admit(new AdmissionRequest(this, resource, o, null, "", options));
            FieldOwnership.RecordUpdate(resource, null, o, options, "", _clock.GetUtcNow());
            var metadata = o.Metadata();
            metadata["uid"] = Guid.NewGuid().ToString();
            metadata["creationTimestamp"] = KubernetesTime.Seconds(_clock.GetUtcNow());
            if (rule.HasGeneration) metadata["generation"] = JsonTree.Number(1);
            rule.OnCreate(o, this);
            Validate(resource, rule, o, null);
            Refuse(resource, o, rule.ValidateAmong(o, this));
            if (Table(resource.GroupResource).Find(o.Namespace(), o.Name()) is not null) throw ApiErrors.AlreadyExists(resource.GroupResource, o.Name());
            o = ObjectDecoding.Canonical(resource, o);
            if (resource.IsCustom) o["apiVersion"] = Registry.Get(resource.GroupResource).ApiVersion;
            if (options.IsDryRun) return o;
            return CommitWrite(resource.GroupResource, null, o);
        }
    }

    /// <summary>Replaces an object outside its status. A resourceVersion in its metadata must be current.</summary>
    public JsonObject Update(GroupResource resource, JsonObject o, WriteOptions? options = null) =>
        Write(Registry.Get(resource), o.Namespace(), o.Name(), "", _ => o.Copy(), options ?? WriteOptions.Default);

    /// <summary>Replaces an object's status and nothing else.</summary>
    public JsonObject UpdateStatus(GroupResource resource, JsonObject o, WriteOptions? options = null) =>
        Write(Registry.Get(resource), o.Namespace(), o.Name(), "status", _ => o.Copy(), options ?? WriteOptions.Default);

    /// <summary>Changes the object in place: <paramref name="change"/> gets a private copy of the newest state, so there is no conflict. No change, no write.</summary>
    public JsonObject Modify(GroupResource resource, string ns, string name, Action<JsonObject> change, WriteOptions? options = null) =>
        Write(Registry.Get(resource), ns, name, "", Apply(change), options ?? WriteOptions.Default);

    /// <summary>As <see cref="Modify"/>, for the status.</summary>
    public JsonObject ModifyStatus(GroupResource resource, string ns, string name, Action<JsonObject> change, WriteOptions? options = null) =>
        Write(Registry.Get(resource), ns, name, "status", Apply(change), options ?? WriteOptions.Default);

    private static Func<JsonObject, JsonObject> Apply(Action<JsonObject> change) => current =>
    {
        var copy = current.Copy();
        change(copy);
        return copy;
    };

    /// <summary>Puts a pod on a node, as the scheduler's binding does.</summary>
    public JsonObject BindPod(string ns, string name, string node, WriteOptions? options = null) =>
        Write(Registry.Get(new GroupResource("", "pods")), ns, name, "binding", Apply(pod =>
        {
            if (pod.Text("spec", "nodeName") is { Length: > 0 } bound)
                throw ApiErrors.Conflict(new GroupResource("", "pods/binding"), name, $"pod {name} is already assigned to node \"{bound}\"");
            pod.Ensure("spec")["nodeName"] = node;
            PodConditions.Set(pod, "PodScheduled", "True", _clock.GetUtcNow());
        }), options ?? WriteOptions.By("kube-scheduler"));

    /// <summary>
    /// The one way an existing object changes. <paramref name="make"/> turns the newest state into the wanted one and may be called once only.
    /// </summary>
    internal JsonObject Write(ApiResource resource, string ns, string name, string subresource, Func<JsonObject, JsonObject> make, WriteOptions options)
    {
        var rule = RuleOf(resource);
        lock (_gate)
        {
            var current = Table(resource.GroupResource).Find(ns, name) ?? throw ApiErrors.NotFound(resource.GroupResource, name);
            var next = make(ObjectDecoding.InVersion(resource, current));
            CheckPreconditions(resource, rule, current, next);
            next = ObjectDecoding.Accept(resource, next, options);
            next = MergeByPath(resource, current, next, subresource);
            RestoreMetadata(current, next);
            rule.Default(next);
            Admit(new AdmissionRequest(this, resource, next, current, subresource, options));
            FieldOwnership.RecordUpdate(resource, current, next, options, subresource, _clock.GetUtcNow());
            rule.OnUpdate(next, current, this);
            if (rule.HasGeneration && subresource is not ("status" or "binding") && SpecDiffers(current, next, resource))
                next.Metadata()["generation"] = JsonTree.Number(current.Generation() + 1);
            if (subresource == "status") Refuse(resource, next, rule.ValidateStatus(next, current));
            else if (subresource != "binding") Validate(resource, rule, next, current);
            next = ObjectDecoding.Canonical(resource, next);
            if (resource.IsCustom) next["apiVersion"] = current.ApiVersion();
            return Store(resource, rule, current, next, options);
        }
    }

    private JsonObject Store(ApiResource resource, KindRule rule, JsonObject current, JsonObject next, WriteOptions options)
    {
        if (JsonTree.Same(FieldOwnership.WithoutTimes(current), FieldOwnership.WithoutTimes(next))) return current;
        if (options.IsDryRun) return next;
        if (next.IsTerminating() && !next.Finalizers().Any() && !rule.IsHeld(next) && IsReadyToGo(next))
        {
            CommitRemoval(resource.GroupResource, current);
            return next;
        }
        return CommitWrite(resource.GroupResource, current, next);
    }

    private static bool IsReadyToGo(JsonObject o) => (o.Number("metadata", "deletionGracePeriodSeconds") ?? 0) == 0;

    private static void CheckPreconditions(ApiResource resource, KindRule rule, JsonObject current, JsonObject next)
    {
        if (next.Uid() is { Length: > 0 } uid && uid != current.Uid())
        {
            var key = $"/registry/{(resource.Group.Length > 0 && !resource.IsCustom ? "" : resource.IsCustom ? resource.Group + "/" : "")}{resource.Plural}/{ObjectTable.Key(current.Namespace(), current.Name())}";
            throw ApiErrors.Conflict(resource.GroupResource, current.Name(),
                $"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {current.Uid()}");
        }
        var version = next.Text("metadata", "resourceVersion");
        if (string.IsNullOrEmpty(version))
        {
            if (!rule.AllowsUnconditionalUpdate)
                throw ApiErrors.Invalid(resource.Group, resource.Plural, current.Name(),
                    [FieldError.Invalid("metadata.resourceVersion", resource.IsCustom ? "0" : "0x0", "must be specified for an update")]);
        }
        else if (version != current.Text("metadata", "resourceVersion"))
        {
            throw ApiErrors.Modified(resource.GroupResource, current.Name());
        }
    }

    /// <summary>The main path leaves status alone, /status leaves all else alone.</summary>
    private static JsonObject MergeByPath(ApiResource resource, JsonObject current, JsonObject next, string subresource)
    {
        if (subresource == "status")
        {
            var merged = current.Copy();
            // Controllers of built-in kinds note revisions and the like together with the status.
            if (!resource.IsCustom)
            {
                if (next.Map("metadata", "annotations") is { } annotations) merged.Metadata()["annotations"] = annotations.Copy();
                else merged.Metadata().Remove("annotations");   // the last one was taken away
            }
            merged["apiVersion"] = next["apiVersion"]?.DeepClone();
            if (next["status"] is { } status) merged["status"] = JsonTree.CopyNode(status);
            else merged.Remove("status");
            if (next.List("metadata", "managedFields") is { } managed) merged.Metadata()["managedFields"] = JsonTree.CopyNode(managed);
            return merged;
        }
        if (resource.HasStatus && subresource != "binding")
        {
            if (current["status"] is { } status) next["status"] = JsonTree.CopyNode(status);
            else next.Remove("status");
        }
        return next;
    }

    private static readonly string[] ServerOwnedMetadata =
        ["name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink", "generateName"];

    private static void RestoreMetadata(JsonObject current, JsonObject next)
    {
        var metadata = next.Metadata();
        foreach (var field in ServerOwnedMetadata)
        {
            if (current.At("metadata", field) is { } value) metadata[field] = JsonTree.CopyNode(value);
            else metadata.Remove(field);
        }
    }

    private static bool SpecDiffers(JsonObject current, JsonObject next, ApiResource resource)
    {
        foreach (var key in current.Select(p => p.Key).Union(next.Select(p => p.Key)))
        {
            if (key is "metadata" or "apiVersion" or "kind" || (key == "status" && resource.HasStatus)) continue;
            if (!JsonTree.Same(current[key], next[key])) return true;
        }
        return false;
    }

    private void Admit(AdmissionRequest request)
    {
        foreach (var step in Admission) step(request);
    }

    private static void Validate(ApiResource resource, KindRule rule, JsonObject o, JsonObject? old) =>
        Refuse(resource, o, [.. MetadataRules.Validate(resource, rule, o, old), .. rule.Validate(o, old)]);

    private static void Refuse(ApiResource resource, JsonObject o, IEnumerable<FieldError> errors)
    {
        var all = errors.ToList();
        if (all.Count > 0) throw ApiErrors.Invalid(resource.Group, resource.Kind, o.Name(), all);
    }

    private static void CompleteNewMetadata(ApiResource resource, JsonObject o, string ns)
    {
        if (o["metadata"] is not (null or JsonObject)) return;   // decoding says what is wrong
        var metadata = o.Metadata();
        if (resource.IsNamespaced)
        {
            if (o.Namespace().Length == 0) metadata["namespace"] = ns;
            else if (o.Namespace() != ns) throw ApiErrors.BadRequest("the namespace of the provided object does not match the namespace sent on the request");
        }
        else if (o.Namespace().Length > 0)
        {
            metadata.Remove("namespace");
        }
        if (o.Text("metadata", "resourceVersion") is { Length: > 0 }) throw ApiErrors.BadRequest("resourceVersion should not be set on objects to be created");
        foreach (var field in (string[])["uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"])
            metadata.Remove(field);
    }
}
