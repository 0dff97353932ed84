using System.Collections.Immutable;

namespace AmbientMesh.Model;

/// <summary>What traffic to a service's endpoint is for; it decides which ports make an endpoint usable.</summary>
public enum EndpointUse
{
    /// <summary>The application's own port, or a network gateway's HBONE port.</summary>
    Standard,
    /// <summary>A waypoint's HBONE port; a waypoint with an application tunnel need not declare it.</summary>
    Waypoint,
}

/// <summary>An endpoint picked for one connection.</summary>
/// <param name="Port">The port to ask it for.</param>
public sealed record ChosenEndpoint(Workload Workload, ushort Port);

/// <summary>Picks an endpoint of a service for a client (L4 reference §10.4). Pure but for the draw from the given random source.</summary>
public static class EndpointSelection
{
    private const int KeptCandidates = 16 * 1024;

    // Candidates of the choice under way; kept by each thread, since a list for a large service would be the dearest part of a connection.
    [ThreadStatic] private static List<(Workload Workload, ushort Port)>? s_group;

    /// <summary>Null when nothing healthy, near enough, declared and with capacity is there.</summary>
    /// <param name="trace">Told of every endpoint considered; null, as for traffic, costs nothing.</param>
    /// <param name="avoid">Endpoints drawn from only when no other can be, however near they are; null for none. Others of the client's network stand in, and for one that speaks HBONE only
    /// others that do, so that nobody can turn a client to plaintext by keeping it from tunnels.</param>
    public static ChosenEndpoint? Choose(
        MeshSnapshot mesh, Workload client, MeshService service, ushort servicePort, EndpointUse use, Random random, DecisionTrace? trace = null, Predicate<Workload>? avoid = null)
    {
        var group = s_group ??= [];
        group.Clear();
        var considered = trace is null ? null : new List<ConsideredEndpoint>();
        var best = int.MinValue;
        var standIns = StandIns.None;
        if (avoid is not null && (standIns = Needed(mesh, client, service, servicePort, use, avoid)) == StandIns.None) avoid = null;
        foreach (var endpoint in mesh.EndpointArray(service.Key))
        {
            var fitness = Judge(client, service, endpoint, servicePort, use, out var port, out var rank);
            if (avoid is not null && fitness == EndpointFitness.Candidate) fitness = JudgeStandIn(client, endpoint.Workload, standIns, avoid);
            considered?.Add(new ConsideredEndpoint(endpoint, fitness, port, rank));
            if (fitness != EndpointFitness.Candidate || rank < best) continue;
            if (rank > best)
            {
                group.Clear();
                best = rank;
            }
            group.Add((endpoint.Workload, port!.Value));
        }
        if (avoid is not null && group.Count == 0) return Choose(mesh, client, service, servicePort, use, random, trace);
        trace?.Searches.Add(new EndpointSearch(service, use, servicePort, [.. considered!.Select(c => Settled(c, best))]));
        var chosen = Draw(group, random, trace);
        if (group.Count > KeptCandidates) s_group = null;
        else group.Clear();
        return chosen;
    }

    // As below, without an object for each candidate.
    private static ChosenEndpoint? Draw(List<(Workload Workload, ushort Port)> group, Random random, DecisionTrace? trace)
    {
        long total = 0;
        foreach (var (workload, _) in group) total += workload.Capacity;
        if (total == 0) return null;
        trace?.Draws.Add([.. group.Select(c => c.Workload.Capacity)]);
        var draw = random.NextInt64(total);
        foreach (var (workload, port) in group)
        {
            draw -= workload.Capacity;
            if (draw < 0) return new ChosenEndpoint(workload, port);
        }
        return null;
    }

    /// <summary>The port an endpoint serves for a service port; null when it does not serve it.</summary>
    public static ushort? TargetPort(MeshService service, Endpoint endpoint, ushort servicePort, EndpointUse use)
    {
        var declared = service.Ports.Target(servicePort);
        var tunnel = endpoint.Workload.ApplicationTunnel;
        if (declared is null && (use == EndpointUse.Standard || tunnel is null)) return null;
        if (endpoint.TargetPort(servicePort) is { } own) return own;
        if (declared is > 0) return declared;
        return use == EndpointUse.Waypoint && tunnel is not null ? servicePort : null;
    }

    /// <summary>Draws by weight; weight 0 is never drawn. Null when nothing has weight.</summary>
    public static T? Draw<T>(IReadOnlyList<(T Item, uint Weight)> choices, Random random, DecisionTrace? trace = null) where T : class
    {
        long total = 0;
        foreach (var (_, weight) in choices) total += weight;
        if (total == 0) return null;
        trace?.Draws.Add([.. choices.Select(c => c.Weight)]);
        var draw = random.NextInt64(total);
        foreach (var (item, weight) in choices)
        {
            draw -= weight;
            if (draw < 0) return item;
        }
        return null;
    }

    /// <summary>Whether an endpoint could be used, before it is compared with the others.</summary>
    private static EndpointFitness Judge(Workload client, MeshService service, Endpoint endpoint, ushort servicePort, EndpointUse use, out ushort? port, out int rank)
    {
        (port, rank) = (null, int.MinValue);
        if (!MeshSnapshot.MayServe(service, endpoint)) return EndpointFitness.Unhealthy;
        if ((port = TargetPort(service, endpoint, servicePort, use)) is null) return EndpointFitness.PortNotServed;
        if (!IsReachable(endpoint.Workload, client)) return EndpointFitness.Unreachable;
        if (Rank(service.LoadBalancing, client, endpoint.Workload) is not { } near) return EndpointFitness.OutOfScope;
        rank = near;
        return EndpointFitness.Candidate;
    }

    private static ConsideredEndpoint Settled(ConsideredEndpoint considered, int best) => considered switch
    {
        { Fitness: EndpointFitness.Candidate } when considered.Rank < best => considered with { Fitness = EndpointFitness.Farther },
        { Fitness: EndpointFitness.Candidate, Endpoint.Workload.Capacity: 0 } => considered with { Fitness = EndpointFitness.NoCapacity },
        _ => considered,
    };

    private enum StandIns { None, Any, Protected }

    /// <summary>What the endpoints to avoid must be replaced by.</summary>
    private static StandIns Needed(MeshSnapshot mesh, Workload client, MeshService service, ushort servicePort, EndpointUse use, Predicate<Workload> avoid)
    {
        var needed = StandIns.None;
        foreach (var endpoint in mesh.EndpointArray(service.Key))
        {
            if (Judge(client, service, endpoint, servicePort, use, out _, out _) != EndpointFitness.Candidate || !avoid(endpoint.Workload)) continue;
            if (endpoint.Workload.SpeaksHbone) return StandIns.Protected;
            needed = StandIns.Any;
        }
        return needed;
    }

    private static EndpointFitness JudgeStandIn(Workload client, Workload endpoint, StandIns needed, Predicate<Workload> avoid)
    {
        if (avoid(endpoint)) return EndpointFitness.Avoided;
        if (endpoint.Capacity == 0) return EndpointFitness.NoCapacity;   // it must not stand before a farther one
        return endpoint.Network != client.Network || (needed == StandIns.Protected && !endpoint.SpeaksHbone) ? EndpointFitness.NoStandIn : EndpointFitness.Candidate;
    }

    private static bool IsReachable(Workload endpoint, Workload client) =>
        !endpoint.Addresses.IsEmpty || endpoint.Hostname.Length > 0 || (endpoint.NetworkGateway is not null && endpoint.Network != client.Network);

    /// <summary>Higher is nearer; null when the endpoint may not be used at all.</summary>
    private static int? Rank(LoadBalancing balancing, Workload client, Workload endpoint)
    {
        var scopes = balancing.Preference;
        switch (balancing.Mode)
        {
            case LoadBalancingMode.Strict:
                foreach (var scope in scopes)
                    if (!Shares(scope, client, endpoint)) return null;
                return 0;
            case LoadBalancingMode.Failover:
                return FailoverRank(scopes, client, endpoint);
            default:
                return 0;
        }
    }

    private static int FailoverRank(ImmutableArray<LocalityScope> scopes, Workload client, Workload endpoint)
    {
        var rank = 0;
        var first = 0;
        if (scopes is [LocalityScope.Network, ..])
        {
            // The own network is worth more than everything after it together; another network does not end the comparison.
            if (Shares(LocalityScope.Network, client, endpoint)) rank += scopes.Length;
            first = 1;
        }
        for (var i = first; i < scopes.Length && Shares(scopes[i], client, endpoint); i++) rank++;
        return rank;
    }

    private static bool Shares(LocalityScope scope, Workload client, Workload endpoint) => scope switch
    {
        LocalityScope.Region => client.Locality.Region == endpoint.Locality.Region,
        LocalityScope.Zone => client.Locality.Zone == endpoint.Locality.Zone,
        LocalityScope.Subzone => client.Locality.Subzone == endpoint.Locality.Subzone,
        LocalityScope.Node => client.Node == endpoint.Node,
        LocalityScope.Cluster => client.ClusterId == endpoint.ClusterId,
        LocalityScope.Network => client.Network == endpoint.Network,
        _ => true,
    };
}
