namespace AmbientMesh.Lab.Tests.Api.Replay;

/// <summary>Recordings that are not replayed, each with its reason.</summary>
internal static class NotReplayed
{
    /// <summary>Whole files.</summary>
    public static IReadOnlyDictionary<string, string> Files { get; } = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["kubectl/cp.txt"] = "needs running containers: covered by the cluster tests",
        ["kubectl/exec.txt"] = "needs running containers: covered by the cluster tests",
        ["kubectl/exec-tty.txt"] = "needs running containers: covered by the cluster tests",
        ["kubectl/exec-spdy.txt"] = "SPDY is not served: kubectl speaks WebSocket first",
        ["kubectl/logs.txt"] = "needs running containers: covered by the cluster tests",
        ["kubectl/port-forward.txt"] = "needs running containers",
        ["kubectl/port-forward-spdy.txt"] = "SPDY is not served",
        ["kubectl/degraded-servers.txt"] = "servers that lack something on purpose",
        ["auth/token-review.txt"] = "the recording holds no real tokens: the same cases are in TokenTests",
        ["auth/token-review-of-pod-tokens.txt"] = "the recording holds no real tokens: the same cases are in TokenTests",
        ["discovery/openapi-v2.txt"] = "OpenAPI v2 is not served; kubectl does without it",
        ["discovery/openapi-v3-root.txt"] = "documents are generated from the lab's own tables",
        ["discovery/openapi-v3-fetch.txt"] = "documents are generated from the lab's own tables",
        ["discovery/openapi-v3-widgets-full.txt"] = "documents are generated from the lab's own tables",
    };

    /// <summary>Single exchanges: file and line.</summary>
    private static readonly Dictionary<string, string> Exchanges = new(StringComparer.Ordinal)
    {
        ["auth/access-reviews.txt:130"] = "which of several granting bindings is named depends on their order",
        ["auth/access-reviews.txt:170"] = "rules come in the order of the bindings, which the recording's server had by chance",
        ["crd/defaulting-pruning-validation.txt:180"] = "the recording lost the second of the duplicate keys: covered by DuplicateKeysTests",
        ["crd/gateway-api.txt:23"] = "definitions are listed in the order of their arrival",
        ["crd/gateway-api.txt:147"] = "definitions are listed in the order of their arrival",
        ["crd/gateway-api.txt:208"] = "the recording holds one group only",
        ["crd/lifecycle.txt:299"] = "served a moment after the create: covered by the kubectl tests",
        ["crd/versions-and-deletion.txt:240"] = "the recording holds the status only",
        ["crd/versions-and-deletion.txt:498"] = "the definition's create is not recorded",
        ["crd/versions-and-deletion.txt:532"] = "the definition's create is not recorded",
        ["crd/versions-and-deletion.txt:546"] = "follows a change that is not recorded",
        ["crd/versions-and-deletion.txt:690"] = "a moment after the delete: covered by the kubectl tests",
        ["crd/versions-and-deletion.txt:704"] = "a moment after the delete: covered by the kubectl tests",
        ["kubectl/apply-server-side.txt:199"] = "controllers had written in between",
        ["kubectl/apply-server-side.txt:416"] = "follows an exchange that is not replayed",
        ["tables/variants.txt:264"] = "metadata alone does not make the objects again",
        ["kubectl/apply-server-side.txt:498"] = "controllers had written in between",
        ["kubectl/apply-server-side.txt:973"] = "follows a migration of managedFields by whole JSON patches",
        ["kubectl/apply-server-side.txt:1195"] = "a JSON patch that tests the recording's own resourceVersion",
        ["kubectl/apply-server-side.txt:1468"] = "follows a migration of managedFields by whole JSON patches",
        ["kubectl/delete.txt:339"] = "a moment after a foreground delete, which the collector may have finished: covered by the kubectl tests",
        ["kubectl/diff.txt:480"] = "the object's earlier owner is not recorded",
        ["kubectl/label-annotate-patch-scale.txt:2514"] = "controllers had written in between",
        ["kubectl/label-annotate-patch-scale.txt:2787"] = "controllers had written in between",
        ["kubectl/rollout.txt:761"] = "a JSON patch that tests a template not recorded",
        ["objects/node.txt:202"] = "the lab does not serve nodes/proxy",
        ["objects/services.txt:488"] = "the recording's cluster had a DNS Service at that address: covered by ServiceTests",
        ["objects/services.txt:590"] = "the lab is a dual-stack cluster, the recorded one is not",
        ["objects/services.txt:625"] = "the lab is a dual-stack cluster, the recorded one is not",
        ["objects/services.txt:680"] = "the lab does not mirror allocations as IPAddress objects",
        ["semantics/errors.txt:244"] = "the object's create is not recorded",
        ["semantics/events-api.txt:125"] = "the lab has one set of checks for both shapes of Events",
        ["semantics/events-api.txt:289"] = "the lab has one set of checks for both shapes of Events",
        ["semantics/immutable-fields.txt:272"] = "the message holds a diff of Go structs",
        ["semantics/list-chunks.txt:196"] = "the recording's other objects are not recorded",
        ["semantics/list-resourceversion.txt:255"] = "a past state that is not recorded: covered by ClusterStoreTests",
        ["semantics/owner-gc.txt:117"] = "a moment before the collector: covered by GarbageCollectionTests",
        ["semantics/owner-gc.txt:213"] = "a moment before the collector: covered by GarbageCollectionTests",
        ["semantics/subresources-generation.txt:492"] = "controllers had written in between",
        ["semantics/watch.txt:177"] = "the object's create is not recorded",
    };

    public static string? Reason(string file, Exchange exchange)
    {
        if (Exchanges.TryGetValue($"{file}:{exchange.Line}", out var reason)) return reason;
        if (exchange.IsWatch) return "a stream over time: covered by the watch tests";
        if (exchange.HasShortenedBody) return "the recording holds no whole body";
        if (exchange.Header("Upgrade") is not null) return "a protocol upgrade";
        return null;
    }

    /// <summary>The account behind a recording's bearer token.</summary>
    public static string AccountOf(string file) => file switch
    {
        _ when file.StartsWith("auth/", StringComparison.Ordinal) => "auth/alice",
        _ => "sem/weak",
    };
}
