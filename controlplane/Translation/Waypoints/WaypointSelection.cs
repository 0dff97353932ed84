using System.Globalization;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation.Waypoints;

/// <summary>Which waypoint an object's traffic goes through. Exactly one case holds.</summary>
internal abstract record WaypointChoice
{
    private WaypointChoice()
    {
    }

    /// <summary>None is asked for.</summary>
    public sealed record None : WaypointChoice
    {
        public static None Instance { get; } = new();
    }

    /// <param name="Waypoint">Takes the traffic.</param>
    /// <param name="Canary">Takes a part of it, or null.</param>
    /// <param name="Note">What is wrong with the canary; empty when nothing is.</param>
    public sealed record Bound(Waypoint Waypoint, Canary? Canary = null, string Note = "") : WaypointChoice;

    /// <summary>One is asked for that cannot be used: traffic goes without (L4-032), and the object says so.</summary>
    /// <param name="Reason">One CamelCase word, reference 3.5.</param>
    public sealed record Refused(string Reason, string Message) : WaypointChoice;
}

/// <param name="Weight">Percent of connections, 0 to 100.</param>
internal sealed record Canary(Waypoint Waypoint, uint Weight);

/// <summary>How waypoints are found; the caller records what is looked at.</summary>
/// <param name="Find">A waypoint by the key of its Gateway.</param>
/// <param name="LabelsOf">Labels of a namespace.</param>
internal sealed record WaypointLookup(Func<ObjectKey, Waypoint?> Find, Func<string, IReadOnlyDictionary<string, string>> LabelsOf);

/// <summary>Chooses waypoints by the rules of reference 3.4. Pure but for the lookup it is given.</summary>
internal static class WaypointSelection
{
    private const string ManagedLabel = "gateway.istio.io/managed";

    /// <summary>For a Service or ServiceEntry.</summary>
    /// <param name="ns">Its namespace.</param>
    /// <param name="labels">Its labels.</param>
    /// <param name="own">What it says itself.</param>
    /// <param name="inherited">What its namespace says.</param>
    /// <param name="staysInNamespace">It is visible in its namespace only, and so may not be bound elsewhere.</param>
    public static WaypointChoice ForService(
        string ns, IReadOnlyDictionary<string, string> labels, WaypointLabels own, WaypointLabels inherited, WaypointLookup lookup, bool staysInNamespace = false)
    {
        if (IsWaypointItself(labels)) return WaypointChoice.None.Instance;
        var said = own.Use.Length > 0 ? own : inherited;
        switch (Resolve(ns, said.Use, said.Namespace, lookup))
        {
            case WaypointChoice.Bound { Waypoint: var waypoint } when staysInNamespace && waypoint.Key.Namespace != ns:
                return new WaypointChoice.Refused("CrossNamespaceWaypointForbidden", $"This entry is visible in its namespace only, but waypoint {waypoint} is in another; use one of namespace {ns}.");
            case WaypointChoice.Bound { Waypoint: var waypoint } when !waypoint.TakesServices:
                return Unsupported(waypoint, "service");
            case WaypointChoice.Bound { Waypoint: var waypoint }:
                return WithCanary(ns, waypoint, own.Canary.Length > 0 || own.Use.Length > 0 ? own : inherited, lookup);
            case var other:
                return other;
        }
    }

    /// <summary>For a pod, WorkloadEntry or endpoint that is no instance of a waypoint.</summary>
    /// <inheritdoc cref="ForService" path="/param"/>
    public static WaypointChoice ForWorkload(string ns, IReadOnlyDictionary<string, string> labels, WaypointLabels own, WaypointLabels inherited, WaypointLookup lookup)
    {
        if (IsWaypointItself(labels)) return WaypointChoice.None.Instance;
        var said = own.Use.Length > 0 ? own : inherited;
        return Resolve(ns, said.Use, said.Namespace, lookup) switch
        {
            // A namespace's waypoint is for services unless it says otherwise: that is no mistake of the workload.
            WaypointChoice.Bound { Waypoint: { TakesWorkloads: false } waypoint } => own.Use.Length > 0 ? Unsupported(waypoint, "workload") : WaypointChoice.None.Instance,
            var other => other,
        };
    }

    private static bool IsWaypointItself(IReadOnlyDictionary<string, string> labels) => labels.GetValueOrDefault(ManagedLabel) is "istio.io-mesh-controller" or "istio.io-eastwest-controller";

    private static WaypointChoice Resolve(string ns, string name, string otherNamespace, WaypointLookup lookup)
    {
        if (name is "" or "none") return WaypointChoice.None.Instance;
        var key = new ObjectKey(otherNamespace.Length > 0 ? otherNamespace : ns, name);
        if (lookup.Find(key) is not { } waypoint)
            return new WaypointChoice.Refused("WaypointIsNotReady", $"Gateway {key} is missing or has no address yet: traffic goes without a waypoint. Create it, or remove the label istio.io/use-waypoint.");
        return waypoint.Admits(ns, () => lookup.LabelsOf(ns))
            ? new WaypointChoice.Bound(waypoint)
            : new WaypointChoice.Refused("AttachmentDenied", $"Gateway {key} does not take objects of namespace {ns}: traffic goes without a waypoint. Allow it in the Gateway's allowedRoutes.namespaces.");
    }

    private static WaypointChoice.Refused Unsupported(Waypoint waypoint, string wanted) =>
        new("UnsupportedTrafficType", $"Waypoint {waypoint} is for traffic type '{waypoint.TrafficType}': traffic goes without it. Set the Gateway's label istio.io/waypoint-for to '{wanted}' or 'all'.");

    private static WaypointChoice.Bound WithCanary(string ns, Waypoint primary, WaypointLabels said, WaypointLookup lookup)
    {
        if (said.Canary is "" or "none") return new WaypointChoice.Bound(primary);
        var weight = 0u;
        if (said.CanaryWeight.Length > 0 && (!uint.TryParse(said.CanaryWeight, NumberStyles.None, CultureInfo.InvariantCulture, out weight) || weight > 100))
            return new WaypointChoice.Bound(primary, Note: $"CanaryInvalidWeight: '{said.CanaryWeight}' is not a whole number from 0 to 100, so the canary takes nothing.");
        switch (Resolve(ns, said.Canary, said.CanaryNamespace, lookup))
        {
            case WaypointChoice.Bound { Waypoint: var canary } when canary.Key == primary.Key:
                return new WaypointChoice.Bound(primary, Note: "CanarySameAsPrimary: the canary is the waypoint itself.");
            case WaypointChoice.Bound { Waypoint: { TakesServices: false } canary }:
                return new WaypointChoice.Bound(primary, Note: $"Canary: {Unsupported(canary, "service").Message}");
            case WaypointChoice.Bound { Waypoint: var canary }:
                return new WaypointChoice.Bound(primary, new Canary(canary, weight));
            case WaypointChoice.Refused refused:
                return new WaypointChoice.Bound(primary, Note: $"Canary {refused.Reason}: {refused.Message}");
            default:
                return new WaypointChoice.Bound(primary);
        }
    }
}
