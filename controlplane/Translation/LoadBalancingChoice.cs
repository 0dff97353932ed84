using AmbientMesh.Protocol.Wds;
using static AmbientMesh.Protocol.Wds.LoadBalancing.Types;
using Kube = AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>How a client spreads connections over a Service's endpoints (reference 4.8, "LB mapping").</summary>
internal static class LoadBalancingChoice
{
    private const string DistributionAnnotation = "networking.istio.io/traffic-distribution";

    private static readonly Scope[] SameZone = [Scope.Network, Scope.Region, Scope.Zone];
    private static readonly Scope[] SameNode = [Scope.Network, Scope.Region, Scope.Zone, Scope.Subzone, Scope.Node];

    /// <summary>Null when the Service asks for nothing: any healthy endpoint.</summary>
    public static LoadBalancing? Of(Kube.Service service)
    {
        var choice = service.Spec.InternalTrafficPolicy == "Local"
            ? new LoadBalancing { Mode = Mode.Strict, RoutingPreference = { Scope.Node } }   // a promise, so it outranks the preferences below
            : Preferred(Distribution(service));
        if (service.Spec.PublishNotReadyAddresses != true) return choice;
        choice ??= new LoadBalancing();
        choice.HealthPolicy = HealthPolicy.AllowAll;
        return choice;
    }

    private static string Distribution(Kube.Service service) =>
        service.Metadata.Annotations.TryGetValue(DistributionAnnotation, out var value) && value.Length > 0 ? value : service.Spec.TrafficDistribution ?? "";

    // A value nobody knows yet is a hint we cannot follow: any endpoint.
    private static LoadBalancing? Preferred(string distribution) =>
        distribution.ToLowerInvariant() switch
        {
            "preferclose" or "prefersamezone" => Failover(SameZone),
            "prefersamenode" => Failover(SameNode),
            _ => null,
        };

    private static LoadBalancing Failover(Scope[] preference) => new() { Mode = Mode.Failover, RoutingPreference = { preference } };
}
