using System.Diagnostics;
using System.Net;
using AmbientMesh.Hbone;
using AmbientMesh.Model;
using AmbientMesh.Model.Explanation;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.Dns;
using AmbientMesh.Ztunnel.Outbound;

namespace AmbientMesh.Ztunnel.Explain;

/// <summary>Explains how a connection leaves a pod. It asks the decisions that traffic asks and writes down what they say. Pure.</summary>
internal static class OutboundExplainer
{
    private const int MaxRoutes = 32;

    /// <summary>The connection of an enrolled pod.</summary>
    /// <param name="asked">Host or address, and port.</param>
    /// <param name="avoid">Endpoints that the pod leaves for others now; null for none.</param>
    public static OutboundExplanation Captured(MeshSnapshot mesh, Workload source, HboneAuthority asked, ExplainSettings settings, Predicate<Workload>? avoid = null)
    {
        var said = new OutboundExplanation { Source = WorkloadReport.Of(source), Asked = asked.ToString(), Resources = [HeldResources.Of(source)] };
        if (Resolve(mesh, source, asked, settings, ref said) is not { } destination) return said;
        var routes = PossibleRoutes.Of(mesh, source, destination, settings.Network, MaxRoutes, out var hasMore, Steady(avoid));
        return Matched(mesh, source.Namespace, destination, settings, said) with
        {
            Searches = Searches(routes),
            Routes = [.. routes.Select(Report)],
            HasMoreRoutes = hasMore,
            Resources = [.. Resources(mesh, source, destination, routes, settings)],
        };
    }

    // Traffic changes what is avoided; every outcome of one explanation is found by the same answer.
    private static Predicate<Workload>? Steady(Predicate<Workload>? avoid)
    {
        if (avoid is null) return null;
        var answers = new Dictionary<string, bool>(StringComparer.Ordinal);
        return workload => answers.TryGetValue(workload.Uid, out var answer) ? answer : answers[workload.Uid] = avoid(workload);
    }

    /// <summary>The connection of a pod that is not enrolled: no proxy decides, the cluster's own routing picks an endpoint of a service.</summary>
    public static OutboundExplanation Direct(MeshSnapshot mesh, string sourceNamespace, HboneAuthority asked, ExplainSettings settings)
    {
        var outsider = new Workload { Uid = "", Namespace = sourceNamespace, Network = settings.Network, SpeaksHbone = false };
        var said = new OutboundExplanation { Asked = asked.ToString() };
        if (Resolve(mesh, outsider, asked, settings, ref said) is not { } destination) return said;
        said = Matched(mesh, sourceNamespace, destination, settings, said);
        var (workload, service) = mesh.Find(new NetworkAddress(settings.Network, destination.Address), sourceNamespace);
        if (service is null)
        {
            var route = new RouteReport { Share = 1, Kind = RouteKind.Tcp, NextHop = destination.ToString(), Peer = workload is null ? null : WorkloadReport.Of(workload) };
            return said with { Routes = [route], Resources = workload is null ? [] : [HeldResources.Of(workload)] };
        }
        var trace = new DecisionTrace();
        _ = EndpointSelection.Choose(mesh, outsider, service, (ushort)destination.Port, EndpointUse.Standard, Random.Shared, trace);
        // Localities and capacities are the mesh's; the cluster's routing takes any ready endpoint that serves the port.
        var usable = trace.Searches[0].Endpoints.Where(e => e.Port is not null && e.Endpoint.Workload.IsHealthy && e.Endpoint.Workload.AddressFor(destination.Address, service.IpFamilies) is not null).ToList();
        var routes = usable.Take(MaxRoutes).Select(e => new RouteReport
        {
            Share = 1.0 / usable.Count,
            Kind = RouteKind.Tcp,
            NextHop = new IPEndPoint(e.Endpoint.Workload.AddressFor(destination.Address, service.IpFamilies)!, e.Port!.Value).ToString(),
            Peer = WorkloadReport.Of(e.Endpoint.Workload),
        }).ToList();
        return said with
        {
            Routes = routes,
            HasMoreRoutes = usable.Count > MaxRoutes,
            Refusal = routes.Count == 0 ? RefusalReports.Of(CloseReason.NoHealthyUpstream(destination, service)) : null,
            Resources = [HeldResources.Of(service, mesh), .. usable.Take(MaxRoutes).Select(e => HeldResources.Of(e.Endpoint.Workload))],
        };
    }

    private static IPEndPoint? Resolve(MeshSnapshot mesh, Workload client, HboneAuthority asked, ExplainSettings settings, ref OutboundExplanation said)
    {
        if (asked.Address is { } address)
        {
            var given = new IPEndPoint(address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address, asked.Port);
            said = said with { Destination = given.ToString() };
            return given;
        }
        NameDecision.Answer? found = null;
        foreach (var type in (ushort[])[DnsTypes.A, DnsTypes.Aaaa])
        {
            if (NameResolution.Decide(mesh, client, new DnsQuestion(new DnsName(asked.Host.TrimEnd('.').ToLowerInvariant(), true), type, DnsTypes.Internet), settings.Names) is not NameDecision.Answer answer) continue;
            found ??= answer;
            if (found.Addresses.IsEmpty) found = answer;
        }
        said = said with { Name = new NameReport(asked.Host, found?.Service.Hostname ?? "", [.. (found?.Addresses ?? []).Select(a => a.ToString())]), Service = found is null ? null : ServiceReport.Of(found.Service) };
        if (found is null) return null;
        if (found.Addresses.IsEmpty)
        {
            said = said with { Refusal = RefusalReports.Of(CloseReason.NoHealthyUpstream(new IPEndPoint(IPAddress.Any, asked.Port), found.Service)) with { Text = $"{found.Service.Hostname} has no address: the name is answered without one" } };
            return null;
        }
        var destination = new IPEndPoint(found.Addresses[0], asked.Port);
        said = said with { Destination = destination.ToString() };
        return destination;
    }

    private static OutboundExplanation Matched(MeshSnapshot mesh, string clientNamespace, IPEndPoint destination, ExplainSettings settings, OutboundExplanation said)
    {
        var (workload, service) = mesh.Find(new NetworkAddress(settings.Network, destination.Address), clientNamespace);
        return said with { Workload = workload is null ? null : WorkloadReport.Of(workload), Service = service is null ? said.Service : ServiceReport.Of(service) };
    }

    private static IReadOnlyList<SearchReport> Searches(IReadOnlyList<PossibleRoute> routes)
    {
        var seen = new HashSet<(ServiceName, EndpointUse, ushort)>();
        return [.. routes.SelectMany(r => r.Trace.Searches).Where(s => seen.Add((s.Service.Key, s.Use, s.Port))).Select(Report)];
    }

    private static SearchReport Report(EndpointSearch search) => new(
        ServiceReport.Of(search.Service), search.Port, search.Use == EndpointUse.Waypoint ? "waypoint" : "destination", Mode(search.Service.LoadBalancing),
        [.. search.Endpoints.OrderBy(e => e.Fitness).ThenBy(e => e.Endpoint.Workload.Uid, StringComparer.Ordinal)
            .Select(e => new EndpointReport(WorkloadReport.Of(e.Endpoint.Workload), e.Fitness == EndpointFitness.Candidate, Why(e, search), e.Port, e.Endpoint.Workload.Capacity))]);

    private static string Mode(LoadBalancing balancing)
    {
        var scopes = string.Join(", ", balancing.Preference.Select(s => s.ToString().ToLowerInvariant()));
        var mode = balancing.Mode switch
        {
            LoadBalancingMode.Strict => $"only endpoints of the client's own {scopes}",
            LoadBalancingMode.Failover => $"nearest first by {scopes}",
            LoadBalancingMode.Passthrough => "the address asked for",
            _ => "any endpoint",
        };
        return balancing.AllowsUnhealthy ? mode + ", also unhealthy ones" : mode;
    }

    private static string Why(ConsideredEndpoint endpoint, EndpointSearch search) => endpoint.Fitness switch
    {
        EndpointFitness.Candidate => "may be chosen",
        EndpointFitness.Unhealthy => "is not healthy",
        EndpointFitness.PortNotServed => $"serves nothing for port {search.Port}",
        EndpointFitness.Unreachable => "has no address, no host name and no gateway",
        EndpointFitness.OutOfScope => "is outside the service's scope",
        EndpointFitness.Farther => "is farther than others",
        EndpointFitness.NoCapacity => "has capacity 0",
        EndpointFitness.Avoided => "did not answer lately",
        EndpointFitness.NoStandIn => "does not stand in for one that did not answer lately",
        _ => throw new UnreachableException(),
    };

    private static RouteReport Report(PossibleRoute possible) => possible.Route switch
    {
        OutboundRoute.Plaintext plain => new RouteReport { Share = possible.Share, Kind = RouteKind.Tcp, NextHop = plain.Destination.ToString(), Peer = plain.Peer is null ? null : WorkloadReport.Of(plain.Peer) },
        OutboundRoute.Hbone tunnel => new RouteReport
        {
            Share = possible.Share,
            Kind = RouteKind.Hbone,
            NextHop = tunnel.NextHop.ToString(),
            Authority = tunnel.Authority.ToString(),
            ExpectedIdentities = [.. tunnel.Identities.Select(i => i.ToString())],
            Peer = WorkloadReport.Of(tunnel.Peer),
            IsThroughWaypoint = tunnel.IsThroughWaypoint,
        },
        // As the proxy does with it.
        OutboundRoute.DoubleHbone remote => new RouteReport { Share = possible.Share, Kind = RouteKind.DoubleHbone, NextHop = remote.Gateway.ToString(), Authority = remote.Authority.ToString(), Peer = WorkloadReport.Of(remote.Peer), Refusal = RefusalReports.Of(CloseReason.RemoteNetwork(remote.Peer)) },
        OutboundRoute.ByName byName => ByName(possible, byName),
        OutboundRoute.Refused refused => new RouteReport { Share = possible.Share, Kind = RouteKind.Refused, Refusal = RefusalReports.Of(refused.Reason) },
        _ => throw new UnreachableException(),
    };

    // The address is known when a connection is made; until then the name stands for it.
    private static RouteReport ByName(PossibleRoute possible, OutboundRoute.ByName route)
    {
        var report = Report(possible with { Route = route.Then(IPAddress.Any) });
        string? Named(string? endPoint) => endPoint?.Replace(IPAddress.Any.ToString(), route.Peer.Hostname, StringComparison.Ordinal);
        return report with { NextHop = Named(report.NextHop), Authority = Named(report.Authority) };
    }

    private static IEnumerable<HeldResource> Resources(MeshSnapshot mesh, Workload source, IPEndPoint destination, IReadOnlyList<PossibleRoute> routes, ExplainSettings settings)
    {
        var (workload, service) = mesh.Find(new NetworkAddress(settings.Network, destination.Address), source.Namespace);
        var workloads = routes.Select(r => r.Route switch
        {
            OutboundRoute.Hbone tunnel => tunnel.Peer,
            OutboundRoute.Plaintext plain => plain.Peer,
            OutboundRoute.DoubleHbone remote => remote.Peer,
            OutboundRoute.ByName byName => byName.Peer,
            _ => null,
        }).Append(workload).Append(source).OfType<Workload>().DistinctBy(w => w.Uid, StringComparer.Ordinal);
        return workloads.Select(HeldResources.Of).Concat(service is null ? [] : [HeldResources.Of(service, mesh)]);
    }
}
