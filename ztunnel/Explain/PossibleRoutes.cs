using System.Collections.Immutable;
using System.Net;
using AmbientMesh.Model;
using AmbientMesh.Ztunnel.Outbound;

namespace AmbientMesh.Ztunnel.Explain;

/// <summary>One outcome of the routing decision.</summary>
/// <param name="Share">How probable it is, 0 to 1.</param>
internal sealed record PossibleRoute(OutboundRoute Route, double Share, DecisionTrace Trace);

/// <summary>Every outcome the routing decision may have, found by making <see cref="OutboundRouter.Decide"/> itself draw each item in turn.</summary>
internal static class PossibleRoutes
{
    /// <summary>The outcomes, at most <paramref name="limit"/>.</summary>
    /// <param name="hasMore">There are others.</param>
    /// <param name="avoid">As for <see cref="OutboundSettings"/>.</param>
    public static IReadOnlyList<PossibleRoute> Of(MeshSnapshot mesh, Workload source, IPEndPoint destination, string network, int limit, out bool hasMore, Predicate<Workload>? avoid = null)
    {
        var found = new List<PossibleRoute>();
        var pending = new Stack<ImmutableArray<int>>();
        pending.Push([]);
        while (found.Count < limit && pending.TryPop(out var prefix))
        {
            var trace = new DecisionTrace();
            var draws = new PrescribedDraws(prefix, trace);
            var route = OutboundRouter.Decide(mesh, source, destination, new OutboundSettings(network, draws, trace, avoid));
            found.Add(new PossibleRoute(route, draws.Share, trace));
            // Draws beyond the prescribed ones took their first item; the others are outcomes of their own.
            for (var i = draws.Taken.Count - 1; i >= prefix.Length; i--)
                for (var other = trace.Draws[i].Length - 1; other > draws.Taken[i]; other--)
                    if (trace.Draws[i][other] > 0) pending.Push([.. draws.Taken.Take(i), other]);
        }
        hasMore = pending.Count > 0;
        return found;
    }

    /// <summary>Draws the prescribed items, then the first with weight each time. It relies on the trace being told of the weights before the draw.</summary>
    private sealed class PrescribedDraws(ImmutableArray<int> prescribed, DecisionTrace trace) : Random
    {
        public List<int> Taken { get; } = [];
        public double Share { get; private set; } = 1;

        public override long NextInt64(long maxValue)
        {
            var weights = trace.Draws[^1];
            var item = Taken.Count < prescribed.Length ? prescribed[Taken.Count] : FirstWithWeight(weights);
            Taken.Add(item);
            Share *= (double)weights[item] / maxValue;
            long before = 0;
            for (var i = 0; i < item; i++) before += weights[i];
            return before;
        }

        private static int FirstWithWeight(ImmutableArray<uint> weights)
        {
            var i = 0;
            while (weights[i] == 0) i++;
            return i;
        }
    }
}
