using System.Diagnostics.CodeAnalysis;
using System.Text.RegularExpressions;

namespace AmbientMesh.Cni.Node.Redirection;

/// <summary>What one pod's annotations and its namespace change about its redirect rules. Source: reference 8.6.</summary>
/// <param name="CapturesDns">Port 53 goes to ztunnel's DNS proxy.</param>
/// <param name="BypassesInbound">Inbound traffic goes straight to the application; outbound is still captured.</param>
/// <param name="RerouteInterfaces">Interfaces of machines behind the pod, whose TCP counts as the pod's own outbound traffic.</param>
public sealed partial record PodRedirectOptions(bool CapturesDns, bool BypassesInbound, IReadOnlyList<string> RerouteInterfaces)
{
    public const string DnsCaptureAnnotation = "ambient.istio.io/dns-capture";
    public const string BypassInboundAnnotation = "ambient.istio.io/bypass-inbound-capture";
    public const string RerouteAnnotation = "istio.io/reroute-virtual-interfaces";

    /// <summary>The pod is leaving: nothing new is captured, and what was captured before still finds its way.</summary>
    public bool IsReleased { get; init; }

    /// <summary>Equal keys mean equal rules.</summary>
    public string Key => $"{(IsReleased ? "released;" : "")}dns={CapturesDns};bypass={BypassesInbound};reroute={string.Join(',', RerouteInterfaces)}";

    /// <summary>Reads a pod's annotations. A boolean that is none counts as absent; an impossible interface name is a problem, for rules made of it would not be the wanted ones.</summary>
    /// <param name="dnsCaptureByDefault">What the pod's namespace says, or else the node.</param>
    public static bool TryRead(IReadOnlyDictionary<string, string>? annotations, bool dnsCaptureByDefault, [NotNullWhen(true)] out PodRedirectOptions? options, [NotNullWhen(false)] out string? problem)
    {
        options = null;
        var interfaces = (annotations?.GetValueOrDefault(RerouteAnnotation) ?? "").Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        problem = interfaces.FirstOrDefault(name => !InterfaceName().IsMatch(name)) is { } bad
            ? $"annotation {RerouteAnnotation} names '{bad}', which is not a network interface name"
            : null;
        if (problem is not null) return false;
        options = new PodRedirectOptions(
            Flag(annotations, DnsCaptureAnnotation) ?? dnsCaptureByDefault,
            Flag(annotations, BypassInboundAnnotation) ?? false,
            interfaces);
        return true;
    }

    /// <summary>What a namespace says about DNS capture of its pods, by its annotation or else its label of that name; null when it says nothing.</summary>
    public static bool? DnsCaptureOf(IReadOnlyDictionary<string, string>? annotations, IReadOnlyDictionary<string, string>? labels) =>
        Flag(annotations, DnsCaptureAnnotation) ?? Flag(labels, DnsCaptureAnnotation);

    // The spellings Go's ParseBool takes, since that is what users have written so far.
    private static bool? Flag(IReadOnlyDictionary<string, string>? annotations, string name) => annotations?.GetValueOrDefault(name) switch
    {
        "1" or "t" or "T" or "true" or "True" or "TRUE" => true,
        "0" or "f" or "F" or "false" or "False" or "FALSE" => false,
        _ => null,
    };

    [GeneratedRegex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$")]
    private static partial Regex InterfaceName();
}
