using AmbientMesh.Model;
using AmbientMesh.Model.Explanation;

namespace AmbientMesh.Cli.Explain;

/// <summary>A Kubernetes object behind a resource of the mesh.</summary>
internal sealed record Origin(string Resource, string Kind, string ApiVersion, string Namespace, string Name, long Generation, string ResourceVersion)
{
    public override string ToString() => $"{Kind} {(Namespace.Length > 0 ? $"{Namespace}/" : "")}{Name}{(Generation > 0 ? $", generation {Generation}" : "")}";
}

/// <summary>How a connection ends up. <c>Reason</c> is a word of <see cref="Reasons"/>, empty when it is allowed.</summary>
/// <param name="IsAllowed">Null: not known, for <paramref name="Text"/>'s reason.</param>
/// <param name="Where">Which part decides: <c>source ztunnel</c>, <c>destination ztunnel</c>, <c>nobody</c>.</param>
/// <param name="Resources">Wire names of the resources that decided.</param>
internal sealed record Outcome(bool? IsAllowed, string Where, string Reason, string Text, Decider? DecidedBy, IReadOnlyList<string> Resources)
{
    public static Outcome Allowed(string where, string text) => new(true, where, "", text, null, []);

    public static Outcome Unknown(string where, string text) => new(null, where, "", text, null, []);

    public static Outcome Refused(string where, Reason reason, string text, Decider? by = null, params string[] resources) => new(false, where, reason.Word(), text, by, resources);
}

/// <summary>One way the connection may go, to its end.</summary>
/// <param name="Destination">The pod it arrives at; null outside the mesh, at a waypoint, or when it goes nowhere.</param>
/// <param name="Inbound">What the destination's node says; null when it was not asked.</param>
internal sealed record Branch(RouteReport Route, PodCapture? Destination, InboundExplanation? Inbound, Outcome Outcome);

/// <summary>A resource two nodes hold in different versions: one of them is behind.</summary>
internal sealed record Disagreement(string Kind, string Name, string OneNode, string OtherNode);

/// <summary>A path from its source to its end, every way it may take.</summary>
/// <param name="From"><c>namespace/pod</c>.</param>
/// <param name="SyncProblems">What the control plane says of the ztunnels asked, where that is not in order.</param>
internal sealed record PathExplanation(
    string From, string To, PodCapture Source, OutboundExplanation Outbound, IReadOnlyList<Branch> Branches, IReadOnlyList<Origin> Origins,
    IReadOnlyList<Disagreement> Disagreements, IReadOnlyList<string> SyncProblems, IReadOnlyList<string> Notes)
{
    /// <summary>What all branches come to.</summary>
    public Outcome Outcome { get; } = Together(Outbound, Branches);

    /// <summary>How probable it is that the connection is allowed, 0 to 1.</summary>
    public double AllowedShare { get; } = Math.Clamp(Branches.Where(b => b.Outcome.IsAllowed == true).Sum(b => b.Route.Share), 0, 1);

    public IEnumerable<Origin> OriginsOf(IEnumerable<string> resources)
    {
        var wanted = resources.ToHashSet(StringComparer.Ordinal);
        return Origins.Where(o => wanted.Contains(o.Resource)).DistinctBy(o => (o.Kind, o.Namespace, o.Name));
    }

    private static Outcome Together(OutboundExplanation outbound, IReadOnlyList<Branch> branches)
    {
        if (outbound.Refusal is { } refusal) return new Outcome(false, "source ztunnel", refusal.Reason, refusal.Text, refusal.DecidedBy, outbound.Service is { } asked ? [asked.Resource] : []);
        if (branches.Count == 0) return Outcome.Unknown("nobody", $"the mesh does not know the name {outbound.Name?.Asked}; a name server answers it. Give an address to see further");
        var outcomes = branches.Select(b => b.Outcome).ToList();
        if (outcomes.All(o => o.IsAllowed == outcomes[0].IsAllowed && o.Reason == outcomes[0].Reason)) return outcomes[0];
        var allowed = branches.Where(b => b.Outcome.IsAllowed == true).Sum(b => b.Route.Share);
        var worst = outcomes.Find(o => o.IsAllowed == false) ?? outcomes.First(o => o.IsAllowed != true);   // a refusal that is known tells more than what is not
        return worst with { IsAllowed = outcomes.All(o => o.IsAllowed == false) ? false : null, Text = $"it depends on the endpoint: {allowed:P0} of connections are allowed, others not: {worst.Text}" };
    }
}
