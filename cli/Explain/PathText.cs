using AmbientMesh.Cli.Output;
using AmbientMesh.Model.Explanation;

namespace AmbientMesh.Cli.Explain;

/// <summary>Writes a path for people: one paragraph a hop, then the verdict.</summary>
internal static class PathText
{
    public static void Write(TextWriter output, PathExplanation path, bool isShort)
    {
        output.WriteLine($"{path.From} -> {path.To}");
        if (!isShort)
        {
            Source(output, path);
            Destination(output, path.Outbound);
            foreach (var search in path.Outbound.Searches) Search(output, search);
            Hops(output, path);
            foreach (var group in path.Branches.Where(b => b.Inbound is not null || b.Destination is not null).GroupBy(Likeness)) Arrival(output, [.. group]);
        }
        Doubts(output, path);
        Verdict(output, path);
    }

    private static void Source(TextWriter output, PathExplanation path)
    {
        Title(output, "Source");
        var source = path.Outbound.Source;
        Line(output, path.Source.IsCaptured ? $"captured: {string.Join("; ", path.Source.Facts)}" : $"not captured: {string.Join("; ", path.Source.Facts)}");
        if (path.Source.Problem is { } problem) Line(output, $"BUT {problem}");
        if (path.Source.IsCaptured)
            Line(output, path.Outbound.ServedAs == "Up" ? $"served by the ztunnel of node {path.Outbound.By.Node}, version {path.Outbound.By.Version}" : $"NOT SERVED by the ztunnel of node {path.Outbound.By.Node}{(path.Outbound.ServedAs is { } state ? $" ({state})" : "")}");
        else Line(output, "leaves the pod as it is: no proxy, no identity");
        if (source is not null && path.Source.IsCaptured) Line(output, $"identity {source.Identity}{Certificate(path.Outbound.Certificate)}");
    }

    private static void Destination(TextWriter output, OutboundExplanation said)
    {
        Title(output, "Destination asked for");
        if (said.Name is { } name)
            Line(output, name.Owner.Length > 0 ? $"{name.Asked} is {name.Owner}: {(name.Addresses.Count > 0 ? string.Join(", ", name.Addresses) : "no address")}" : $"{name.Asked} is no name of the mesh: a name server answers it");
        if (said.Destination is { } address && said.Service is { } service) Line(output, $"{address} is service {service.Namespace}/{service.Name} ({service.Hostname}){(service.Waypoint is { } waypoint ? $", to be reached through waypoint {waypoint}" : "")}");
        else if (said.Destination is { } own && said.Workload is { } workload) Line(output, $"{own} is {Name(workload)} on node {workload.Node}{(workload.Waypoint is { } waypoint ? $", to be reached through waypoint {waypoint}" : "")}");
        else if (said.Destination is { } outside) Line(output, $"{outside} belongs to nothing the mesh knows");
    }

    private static void Search(TextWriter output, SearchReport search)
    {
        Title(output, $"Endpoints of service {search.Service.Namespace}/{search.Service.Name}, port {search.Port}{(search.Use == "destination" ? "" : $" ({search.Use})")}: {search.Mode}");
        if (search.Endpoints.Count == 0)
        {
            Line(output, "it has none");
            return;
        }
        var table = new Table("ENDPOINT", "NODE", "ADDRESS", "PORT", "PROTOCOL", "WEIGHT", "CHOICE");
        foreach (var e in search.Endpoints) table.Add(Name(e.Workload), e.Workload.Node, e.Workload.Addresses.FirstOrDefault(), e.Port?.ToString(), e.Workload.Protocol, $"{e.Weight}", e.Why);
        table.Write(output, indent: 2);
    }

    private static void Hops(TextWriter output, PathExplanation path)
    {
        if (path.Branches.Count == 0) return;
        Title(output, path.Branches.Count == 1 ? "Next hop" : "Next hop, drawn for each connection");
        foreach (var branch in path.Branches) Line(output, $"{(path.Branches.Count > 1 ? $"{branch.Route.Share,4:P0} " : "")}{Hop(branch.Route)}");
        if (path.Outbound.HasMoreRoutes) Line(output, "… and more, not shown");
    }

    private static string Hop(RouteReport route) => route.Kind switch
    {
        RouteKind.Refused => $"none: {route.Refusal?.Reason}: {route.Refusal?.Text}",
        RouteKind.Hbone when route.IsThroughWaypoint => $"waypoint {Name(route.Peer)} at {route.NextHop} through mutual TLS, asked for {route.Authority}; it must prove to be {string.Join(" or ", route.ExpectedIdentities)}",
        RouteKind.Hbone => $"{Name(route.Peer)} at {route.NextHop} through mutual TLS (HBONE), asked for {route.Authority}; it must prove to be {string.Join(" or ", route.ExpectedIdentities)}",
        RouteKind.DoubleHbone => $"gateway {route.NextHop} of another network, for {route.Authority}: {route.Refusal?.Text}",
        _ => $"{(route.Peer is null ? "outside the mesh" : Name(route.Peer))} at {route.NextHop} in plaintext (TCP)",
    };

    /// <summary>Endpoints whose policies say the same are told once.</summary>
    private static string Likeness(Branch branch) => string.Join('|',
        (branch.Inbound?.Policies ?? []).Select(p => $"{p.Resource}{p.Matches}{p.IsBeyondVerdict}")
        .Concat((branch.Inbound?.RequiredWaypoints ?? []).Select(w => $"{w.Waypoint}{w.IsPeer}")).Concat([branch.Outcome.Reason, $"{branch.Destination?.IsCaptured}", $"{branch.Inbound?.ServedAs}", branch.Inbound?.Destination?.Split(':')[^1] ?? ""]));

    private static void Arrival(TextWriter output, IReadOnlyList<Branch> alike)
    {
        var first = alike[0];
        Title(output, $"Arrival at {string.Join(", ", alike.Take(4).Select(b => Name(b.Route.Peer)))}{(alike.Count > 4 ? $" and {alike.Count - 4} more" : "")}");
        if (first.Destination is { } capture)
        {
            Line(output, capture.IsCaptured ? $"captured: {string.Join("; ", capture.Facts)}" : $"not captured: {string.Join("; ", capture.Facts)}");
            if (capture.Problem is { } problem) Line(output, $"BUT {problem}");
        }
        if (first.Inbound is not { } inbound) return;
        var nodes = string.Join(", ", alike.Select(b => b.Inbound?.By.Node).OfType<string>().Distinct().Order(StringComparer.Ordinal));
        Line(output, $"asked: the ztunnel of {nodes}, version {inbound.By.Version}{(inbound.ServedAs == "Up" ? "" : ", which DOES NOT SERVE the pod")}");
        Line(output, inbound.Peer is { } peer ? $"the client proves to be {peer}, from {inbound.Source}" : $"the client proves no identity, from {inbound.Source}");
        if (inbound.IsMutualTls && inbound.Pod is { } pod) Line(output, $"the pod proves to be {pod.Identity}{Certificate(inbound.Certificate)}");
        if (inbound.Destination is null && inbound.Refusal is { } refused) Line(output, $"refused before policy: {refused.Text}");
        if (inbound.Destination is null) return;
        foreach (var waypoint in inbound.RequiredWaypoints) Line(output, $"this ztunnel asks for the waypoint (REQUIRE_WAYPOINT): {Required(waypoint)}");
        Policies(output, inbound);
    }

    private static string Required(RequiredWaypoint waypoint) => waypoint switch
    {
        { IsPeer: true } => $"the client is {waypoint.Waypoint}, to which {waypoint.BoundBy} is bound",
        { Identities.Count: 0 } => $"{waypoint.BoundBy} is bound to {waypoint.Waypoint}, which DOES NOT EXIST: nobody is let in",
        _ => $"{waypoint.BoundBy} is bound to {waypoint.Waypoint} ({string.Join(" or ", waypoint.Identities)}), which the client IS NOT",
    };

    private static void Policies(TextWriter output, InboundExplanation inbound)
    {
        if (inbound.Policies.Count == 0)
        {
            Line(output, inbound.Refusal is null ? "no policy applies to the pod: everyone is let in" : "no policy applies to the pod");
            return;
        }
        var table = new Table("POLICY", "ACTION", "SCOPE", "VERDICT", "BECAUSE");
        foreach (var p in inbound.Policies) table.Add(p.Object + (p.IsDryRun ? " (dry run)" : ""), p.Action, p.Scope, PolicyVerdict(p), Because(p));
        table.Write(output, indent: 2);
    }

    private static string PolicyVerdict(PolicyReport policy) => policy switch
    {
        { IsMissing: true } => "not held, not enforced",
        { IsDryRun: true } => policy.Matches ? "would match" : "would not match",
        { IsBeyondVerdict: true } => policy.Matches ? "matches (decided before)" : "does not match (decided before)",
        { Matches: true } => policy.Action == "DENY" ? "DENIES" : "allows",
        _ => "does not match",
    };

    private static string? Because(PolicyReport policy)
    {
        if (policy.IsMissing) return "the pod names it and the ztunnel does not hold it";
        for (var i = 0; i < policy.Rules.Count; i++)
            if (policy.Rules[i].Matches) return $"rule {i}: {policy.Rules[i].Text}";
        return policy.Rules.Count == 0 ? "it has no rule" : string.Join("; ", policy.Rules.Select((r, i) => $"rule {i} asks for {r.FailingClause}"));
    }

    private static void Doubts(TextWriter output, PathExplanation path)
    {
        if (path.Disagreements.Count + path.SyncProblems.Count + path.Notes.Count == 0) return;
        Title(output, "Not as it should be");
        foreach (var d in path.Disagreements) Line(output, $"nodes {d.OneNode} and {d.OtherNode} hold different versions of {d.Kind} {d.Name}: one of them is behind");
        foreach (var text in path.SyncProblems.Concat(path.Notes)) Line(output, text);
    }

    private static void Verdict(TextWriter output, PathExplanation path)
    {
        output.WriteLine();
        var outcome = path.Outcome;
        output.WriteLine(outcome switch
        {
            { IsAllowed: true } => $"ALLOWED: {outcome.Text}",
            { IsAllowed: false } => $"REFUSED, {outcome.Reason}: {outcome.Text}",
            { Reason.Length: > 0 } => $"DEPENDS, {outcome.Reason}: {outcome.Text}",
            _ => $"NOT KNOWN: {outcome.Text}",
        });
        if (outcome.DecidedBy is { } by) output.WriteLine($"Decided by {by}, at the {outcome.Where}.");
        foreach (var origin in path.OriginsOf(outcome.Resources)) output.WriteLine($"Object: {origin} (kubectl get {origin.Kind.ToLowerInvariant()} -n {origin.Namespace} {origin.Name})");
        if (Advice.For(path) is { } advice) output.WriteLine($"To change it: {advice}");
    }

    private static string Certificate(CertificateReport? certificate) => certificate switch
    {
        null => ", certificate fetched when it is needed",
        { IsValid: true } => $", certificate valid until {certificate.NotAfter?.UtcDateTime:u}",
        { Problem: { } problem } => $", NO CERTIFICATE: {problem}",
        _ => ", certificate awaited",
    };

    private static string Name(WorkloadReport? workload) => workload is null ? "?" : $"{workload.Namespace}/{workload.Name}";

    private static void Title(TextWriter output, string text)
    {
        output.WriteLine();
        output.WriteLine(text);
    }

    private static void Line(TextWriter output, string text) => output.WriteLine($"  {text}");
}
