using System.Collections.Immutable;

namespace AmbientMesh.Model;

/// <summary>Collects what a routing decision considered, in the order it did. The decision itself writes it, so that an explanation cannot
/// differ from it; nobody else decides anything by it. Not thread-safe; one per decision.</summary>
public sealed class DecisionTrace
{
    /// <summary>Searches for an endpoint: of the service asked for, of a waypoint, of a network gateway.</summary>
    public List<EndpointSearch> Searches { get; } = [];

    /// <summary>The weights of each draw; an item is drawn in proportion to its own.</summary>
    public List<ImmutableArray<uint>> Draws { get; } = [];
}

/// <summary>One search for an endpoint of a service.</summary>
/// <param name="Port">The service port asked for.</param>
public sealed record EndpointSearch(MeshService Service, EndpointUse Use, ushort Port, ImmutableArray<ConsideredEndpoint> Endpoints);

/// <summary>An endpoint that was looked at.</summary>
/// <param name="Port">The port it serves for the service port; null when it serves none.</param>
/// <param name="Rank">How near it is, higher is nearer; only meaningful for those that could be used.</param>
public sealed record ConsideredEndpoint(Endpoint Endpoint, EndpointFitness Fitness, ushort? Port, int Rank);

/// <summary>Why an endpoint is drawn from or not. Tested in this order.</summary>
public enum EndpointFitness
{
    /// <summary>It is drawn from, by its capacity.</summary>
    Candidate,
    /// <summary>It is not healthy, and the service serves by healthy endpoints only.</summary>
    Unhealthy,
    /// <summary>It serves no port for the service port.</summary>
    PortNotServed,
    /// <summary>It has neither address nor hostname nor a gateway of another network.</summary>
    Unreachable,
    /// <summary>The service's strict scope leaves it out.</summary>
    OutOfScope,
    /// <summary>A nearer one can be used.</summary>
    Farther,
    /// <summary>Its capacity is 0.</summary>
    NoCapacity,
    /// <summary>It was not reached lately, and another can be used.</summary>
    Avoided,
    /// <summary>Another was not reached lately, for which it cannot stand in: it is of another network, or speaks no HBONE and the other does.</summary>
    NoStandIn,
}
