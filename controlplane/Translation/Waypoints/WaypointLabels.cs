namespace AmbientMesh.ControlPlane.Translation.Waypoints;

/// <summary>What an object's labels and annotations say about waypoints (reference 3.1, 3.2). Empty strings where nothing is said.</summary>
/// <param name="Use">Name of a Gateway, or <c>none</c>.</param>
/// <param name="Namespace">Of that Gateway.</param>
/// <param name="Canary">Name of a second Gateway.</param>
/// <param name="CanaryNamespace">Of the second.</param>
/// <param name="CanaryWeight">As written.</param>
/// <param name="IngressUse">As written.</param>
internal sealed record WaypointLabels(string Use, string Namespace, string Canary, string CanaryNamespace, string CanaryWeight, string IngressUse)
{
    private const string UseLabel = "istio.io/use-waypoint";

    public static WaypointLabels None { get; } = new("", "", "", "", "", "");

    /// <summary>The word that opts out.</summary>
    public bool OptsOut => Use == "none";

    /// <summary>Ingress goes through the waypoint; null when nothing is said.</summary>
    public bool? Ingress => IngressUse.ToLowerInvariant() switch { "true" or "1" or "t" => true, "" => null, _ => false };

    public static WaypointLabels Of(IReadOnlyDictionary<string, string> labels, IReadOnlyDictionary<string, string> annotations)
    {
        var said = new WaypointLabels(
            labels.GetValueOrDefault(UseLabel, ""), labels.GetValueOrDefault(UseLabel + "-namespace", ""),
            labels.GetValueOrDefault(UseLabel + "-canary", ""), labels.GetValueOrDefault(UseLabel + "-canary-namespace", ""),
            annotations.GetValueOrDefault(UseLabel + "-canary-weight", ""), labels.GetValueOrDefault("istio.io/ingress-use-waypoint", ""));
        return said == None ? None : said;
    }
}
