using AmbientMesh.Protocol.Wds;
using static AmbientMesh.Protocol.Wds.LoadBalancing.Types;
using Kube = AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>How a client spreads connections over a Service's endpoints (reference 4.8, "LB mapping").</summary>
internal static class LoadBalancingChoice
{
    /// <summary>On Services, ServiceEntries and namespaces.</summary>
    public const string DistributionAnnotation = "networking.istio.io/traffic-distribution";

    private static readonly Scope[] SameZone = [Scope.Network, Scope.Region, Scope.Zone];
    private static readonly Scope[] SameNode = [Scope.Network, Scope.Region, Scope.Zone, Scope.Subzone, Scope.Node];

    /// <summary>Null when the Service asks for nothing: any healthy endpoint.</summary>
    /// <param name="inherited">The namespace's wish, where the Service has none.</param>
    public static LoadBalancing? Of(Kube.Service service, string inherited = "")
    {
        var choice = service.Spec.InternalTrafficPolicy == "Local"
            ? new LoadBalancing { Mode = Mode.Strict, RoutingPreference = { Scope.Node } }   // a promise, so it outranks the preferences below
            : Preferred(service.Spec.TrafficDistribution, Annotated(service.Metadata), inherited);
        if (service.Spec.PublishNotReadyAddresses != true) return choice;
        choice ??= new LoadBalancing();
        choice.HealthPolicy = HealthPolicy.AllowAll;
        return choice;
    }

    /// <summary>For a ServiceEntry. One that is passed through goes where the client dialled, whatever is known about it.</summary>
    /// <inheritdoc cref="Of(Kube.Service, string)" path="/param"/>
    public static LoadBalancing? Of(Kube.ServiceEntry entry, string inherited) =>
        entry.Spec.Resolution is null or "" or "NONE" ? new LoadBalancing { Mode = Mode.Passthrough, HealthPolicy = HealthPolicy.AllowAll }
        : Preferred(Annotated(entry.Metadata), inherited);

    private static string? Annotated(Kube.ObjectMeta metadata) => metadata.Annotations.GetValueOrDefault(DistributionAnnotation);

    /// <summary>The first wish that is understood (l7 reference 3.2); null, any endpoint, where none is: a value nobody knows yet is a hint we cannot follow.</summary>
    private static LoadBalancing? Preferred(params ReadOnlySpan<string?> wishes)
    {
        foreach (var wish in wishes)
            switch (wish?.ToLowerInvariant())
            {
                case "preferclose" or "prefersamezone": return Failover(SameZone);
                case "prefersamenode": return Failover(SameNode);
            }
        return null;
    }

    private static LoadBalancing Failover(Scope[] preference) => new() { Mode = Mode.Failover, RoutingPreference = { preference } };
}
