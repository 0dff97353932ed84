using AmbientMesh.ControlPlane.Kubernetes;
using AmbientMesh.Kubernetes;
using AmbientMesh.Telemetry.Coverage;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Coverage;

/// <summary>Asks every node's agent and ztunnel in turn, and puts the picture of the mesh together. Thread-safe.</summary>
/// <remarks>Every replica asks for itself, so that any of them can answer; <see cref="Parallel"/> at a time.</remarks>
internal sealed class CoverageWatch(ClusterWatch cluster, string systemNamespace, TimeSpan interval, TimeProvider clock, ILogger log, HttpMessageHandler? handler = null) : IDisposable
{
    private const int Parallel = 16;

    private readonly NodeScrape _scrape = new(clock, handler);
    private readonly SemaphoreSlim _round = new(1);
    private readonly Lock _gate = new();
    private readonly TrafficLedger _ledger = new();
    private readonly Dictionary<string, PartRecord> _parts = [];   // by pod uid
    private readonly DateTimeOffset _since = clock.GetUtcNow();
    private DateTimeOffset? _oldestZtunnel;
    private (int Limit, MeshCoverage Report)? _recent;
    private HashSet<string> _toldGaps = [];

    private sealed record PartRecord(NodePart Part)
    {
        public DateTimeOffset? LastAnswer { get; init; }
        public string? Problem { get; init; }
        public DateTimeOffset? LastFailure { get; init; }
        public bool IsSilent { get; init; }
        public AgentCoverage? Report { get; init; }
        public IReadOnlyDictionary<string, PodCoverage>? Pods { get; init; }

        public string State => IsSilent ? PartStates.Silent : LastAnswer is null ? PartStates.Unreachable : Problem is null ? PartStates.Fresh : PartStates.Stale;
    }

    /// <summary>Asks again and again until cancelled; never, when the interval is zero.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            await cluster.WaitForSyncAsync(cancellationToken);
            while (true)
            {
                if (interval > TimeSpan.Zero) await TryRefreshAsync(cancellationToken);
                await Task.Delay(interval > TimeSpan.Zero ? interval : Timeout.InfiniteTimeSpan, clock, cancellationToken);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The process ends.
        }
    }

    // Figures that are shown must not end what protects the mesh.
    private async Task TryRefreshAsync(CancellationToken cancellationToken)
    {
        try
        {
            await RefreshAsync(cancellationToken);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            log.LogError("a round of questions for coverage failed, the next one is in {Seconds} s: {Problem}", interval.TotalSeconds, e.Message);
        }
    }

    /// <summary>One round over all parts, now, that ends at the latest after <paramref name="limit"/>: what has not answered by then is left as it was known.</summary>
    public async Task RefreshAsync(TimeSpan limit, CancellationToken cancellationToken)
    {
        using var timer = new CancellationTokenSource(limit, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, cancellationToken);
        try
        {
            await RefreshAsync(either.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            log.LogDebug("not every part answered within {Seconds} s", limit.TotalSeconds);
        }
    }

    /// <summary>One round over all parts, now; rounds do not overlap. Parts that failed last time come last, so that those of dead nodes do not hold up the others.</summary>
    public async Task RefreshAsync(CancellationToken cancellationToken)
    {
        await _round.WaitAsync(cancellationToken);
        try
        {
            var parts = NodeParts.Of(cluster.Pods.Items, systemNamespace).ToList();
            lock (_gate)
            {
                foreach (var part in parts) _parts.TryAdd(part.Uid, new PartRecord(part) { Problem = $"{part.Address} has not been asked yet" });
                parts = [.. parts.OrderBy(part => _parts[part.Uid] is { Problem: not null, LastFailure: not null })];
            }
            var options = new ParallelOptions { MaxDegreeOfParallelism = Parallel, CancellationToken = cancellationToken };
            await System.Threading.Tasks.Parallel.ForEachAsync(parts, options, async (part, token) => Take(part, await _scrape.AskAsync(part, token)));
            lock (_gate)
            {
                var present = parts.Select(part => part.Uid).ToHashSet();
                foreach (var gone in _parts.Keys.Where(uid => !present.Contains(uid)).ToList()) _parts.Remove(gone);
                _ledger.KeepOnly(present);
                _ledger.Mark(clock.GetUtcNow());
            }
            TellGaps();
        }
        finally
        {
            _round.Release();
        }
    }

    /// <summary>As <see cref="Report"/>, but up to a second old: a scrape asks several times.</summary>
    public MeshCoverage RecentReport(int pairs)
    {
        lock (_gate)
        {
            if (_recent is not { } recent || recent.Limit < pairs || clock.GetUtcNow() - recent.Report.Time > TimeSpan.FromSeconds(1)) _recent = recent = (pairs, Report(pairs));
            return recent.Report;
        }
    }

    /// <summary>The picture now, from the last round.</summary>
    /// <param name="pairs">Pairs listed at most.</param>
    public MeshCoverage Report(int pairs)
    {
        lock (_gate)
        {
            var nodes = NodesOf(out var verdicts);
            var all = _ledger.Pairs;
            return new MeshCoverage
            {
                Time = clock.GetUtcNow(),
                Pods = Count(verdicts.Select(v => v.Verdict)),
                Traffic = _ledger.Total,
                BetweenWorkloads = _ledger.BetweenWorkloads,
                TrafficSince = _oldestZtunnel ?? _since,
                LastHour = _ledger.LastHour(clock.GetUtcNow()),
                Gaps = [.. Listed(verdicts, PodStates.Gap).OrderBy(pod => pod.Since ?? DateTimeOffset.MaxValue)],
                Exempt = [.. Listed(verdicts, PodStates.Exempt)],
                Pairs = [.. all.Take(pairs)],
                PairsLeftOut = Math.Max(0, all.Count - pairs),
                Nodes = nodes,
            };
        }
    }

    public void Dispose()
    {
        _scrape.Dispose();
        _round.Dispose();
    }

    private void Take(NodePart part, NodeAnswer answer)
    {
        lock (_gate)
        {
            var before = _parts.GetValueOrDefault(part.Uid) ?? new PartRecord(part);
            var now = clock.GetUtcNow();
            if (answer is NodeAnswer.Counters counters)
            {
                _ledger.Take(part.Uid, counters.Account, isNew: part.StartedAt >= _since);
                if (part.StartedAt is { } started && !(_oldestZtunnel <= started)) _oldestZtunnel = started;
            }
            _parts[part.Uid] = answer switch
            {
                NodeAnswer.Pods told => new PartRecord(part) { LastAnswer = now, Report = told.Report, Pods = told.Report.Pods.ToDictionary(pod => pod.Uid) },
                NodeAnswer.Counters => new PartRecord(part) { LastAnswer = now },
                NodeAnswer.NoFigures => new PartRecord(part) { LastAnswer = now, IsSilent = true, Problem = $"{part.Address} has no such page" },
                NodeAnswer.Failed failed => before with { Part = part, Problem = failed.Problem, LastFailure = now },
                _ => before,
            };
        }
    }

    private List<NodeCoverage> NodesOf(out List<(Pod Pod, PodCoverage Verdict)> verdicts)
    {
        var parts = _parts.Values.ToLookup(record => (record.Part.Node, record.Part.Kind));
        var agents = new Dictionary<string, AgentKnowledge>();
        verdicts = [];
        foreach (var pod in cluster.Pods.Items)
        {
            if (pod.Status.Phase is "Succeeded" or "Failed") continue;
            var node = pod.Spec.NodeName ?? "";
            if (!agents.TryGetValue(node, out var agent)) agents[node] = agent = KnowledgeOf(Newest(parts[(node, NodePartKind.Agent)]));
            verdicts.Add((pod, PodProtection.Judge(pod, cluster.Namespaces.Get("", pod.Namespace), systemNamespace, agent)));
        }
        var byNode = verdicts.ToLookup(v => v.Pod.Spec.NodeName ?? "", v => v.Verdict);
        return
        [
            .. cluster.Nodes.Items.Select(node => node.Name).Order(StringComparer.Ordinal).Select(node => new NodeCoverage
            {
                Node = node,
                Pods = Count(byNode[node]),
                Agent = StateOf(Newest(parts[(node, NodePartKind.Agent)])),
                Ztunnel = StateOf(Newest(parts[(node, NodePartKind.Ztunnel)])),
            }),
        ];
    }

    // While an update runs there are two on a node: the one that answered last.
    private static PartRecord? Newest(IEnumerable<PartRecord> records) => records.MaxBy(record => (record.Problem is null, record.LastAnswer ?? DateTimeOffset.MinValue));

    private static AgentKnowledge KnowledgeOf(PartRecord? record) => record is null ? new AgentKnowledge(PartStates.Missing, null, null) : new AgentKnowledge(record.State, record.Pods, record.Report?.Time);

    private static PartState StateOf(PartRecord? record) => record is null
        ? new PartState { State = PartStates.Missing }
        : new PartState { Pod = record.Part.Pod.ToString(), State = record.State, LastAnswer = record.LastAnswer, Problem = record.Problem };

    private static PodCounts Count(IEnumerable<PodCoverage> verdicts)
    {
        var by = verdicts.CountBy(v => v.State).ToDictionary();
        int Of(string state) => by.GetValueOrDefault(state);
        return new PodCounts
        {
            Expected = Of(PodStates.Verified) + Of(PodStates.Enrolled) + Of(PodStates.Gap) + Of(PodStates.Starting),
            Enrolled = Of(PodStates.Verified) + Of(PodStates.Enrolled),
            Verified = Of(PodStates.Verified),
            Gaps = Of(PodStates.Gap),
            Starting = Of(PodStates.Starting),
            Exempt = Of(PodStates.Exempt),
            Outside = Of(PodProtection.Outside),
        };
    }

    private static IEnumerable<MeshPod> Listed(IEnumerable<(Pod Pod, PodCoverage Verdict)> verdicts, string state) => verdicts
        .Where(v => v.Verdict.State == state)
        .Select(v => new MeshPod { Pod = v.Verdict.Pod, Node = v.Pod.Spec.NodeName ?? "", Reason = v.Verdict.Reason ?? "", Message = v.Verdict.Message, Since = v.Verdict.Since })
        .OrderBy(pod => pod.Pod, StringComparer.Ordinal);

    // Once for each pod and reason; agents tell the owners by events themselves.
    private void TellGaps()
    {
        var gaps = Report(0).Gaps;
        var told = _toldGaps;
        _toldGaps = [.. gaps.Select(gap => $"{gap.Pod} {gap.Reason}")];
        foreach (var gap in gaps.Where(gap => !told.Contains($"{gap.Pod} {gap.Reason}")))
            log.LogWarning("{Pod} on {Node} should be protected and is not: {Reason}: {Message}", gap.Pod, gap.Node, gap.Reason, gap.Message);
    }
}
