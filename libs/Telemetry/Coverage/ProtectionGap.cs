using System.Collections.Frozen;

namespace AmbientMesh.Telemetry.Coverage;

/// <summary>Why a pod that should be in the mesh is not protected by it. A closed set: page, metric and event show the same word.</summary>
/// <remarks>The words are added to, never changed; docs/observe.md says what to do about each.</remarks>
public enum ProtectionGap
{
    /// <summary>No node agent runs on the pod's node.</summary>
    NoNodeAgent,
    /// <summary>The node's agent does not answer, so that nothing verified is known of its pods.</summary>
    NodeAgentSilent,
    /// <summary>The agent has not enrolled it; no more is known.</summary>
    NotEnrolled,
    /// <summary>No ztunnel is connected to the node's agent; the pod is redirected, so its connections are refused.</summary>
    NoZtunnel,
    /// <summary>ztunnel did not take the pod, or has not acknowledged it.</summary>
    NotAcknowledged,
    /// <summary>Its network namespace was not found among the node's processes.</summary>
    NamespaceNotFound,
    /// <summary>The redirect rules cannot be written.</summary>
    RulesNotWritten,
    /// <summary>The kubelet's probes cannot be exempted from the redirection.</summary>
    ProbesNotExempt,
    /// <summary>Its annotation cannot be written: the API server refuses or cannot be reached.</summary>
    AnnotationNotWritten,
    /// <summary>Its annotations ask for something impossible.</summary>
    BadAnnotation,
    /// <summary>It has IPv6 addresses and the node does not redirect IPv6.</summary>
    Ipv6NotRedirected,
}

/// <summary>Why a pod of an enrolled namespace is left out on purpose.</summary>
public enum Exemption
{
    /// <summary>It uses the node's own network.</summary>
    HostNetwork,
    /// <summary>It has a sidecar proxy.</summary>
    Sidecar,
    /// <summary>Its namespace is excluded by the agent's settings.</summary>
    ExcludedNamespace,
    /// <summary>Its own label says so: <c>istio.io/dataplane-mode: none</c>.</summary>
    OptedOut,
    /// <summary>It is a ztunnel itself.</summary>
    Ztunnel,
}

/// <summary>The words of gaps and exemptions: lower case, joined by hyphens.</summary>
public static class Gaps
{
    private static readonly string[] GapWords = [.. Enum.GetValues<ProtectionGap>().Select(gap => Kebab(gap.ToString()))];
    private static readonly string[] ExemptionWords = [.. Enum.GetValues<Exemption>().Select(exemption => Kebab(exemption.ToString()))];
    private static readonly FrozenDictionary<string, ProtectionGap> ByWord = Enum.GetValues<ProtectionGap>().ToFrozenDictionary(Word, StringComparer.Ordinal);

    public static string Word(this ProtectionGap gap) => GapWords[(int)gap];
    public static string Word(this Exemption exemption) => ExemptionWords[(int)exemption];

    /// <summary>The gap of a word; null when there is none.</summary>
    public static ProtectionGap? Parse(string? word) => word is not null && ByWord.TryGetValue(word, out var gap) ? gap : null;

    private static string Kebab(string name) => string.Concat(name.Select((c, i) => char.IsUpper(c) ? (i == 0 ? "" : "-") + char.ToLowerInvariant(c) : $"{c}"));
}
