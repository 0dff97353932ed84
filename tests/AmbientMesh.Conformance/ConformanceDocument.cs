using System.Text;

namespace AmbientMesh.Conformance;

/// <summary>Makes <c>docs/CONFORMANCE.md</c>: every scenario, the tests that carry its id, and how they ended.</summary>
public static class ConformanceDocument
{
    public static string Render(IReadOnlyList<Scenario> catalog, IReadOnlyList<TestResult> results)
    {
        var tests = results.SelectMany(r => r.Scenarios.Select(id => (id, r))).ToLookup(x => x.id, x => x.r);
        var rows = catalog.Select(s => (Scenario: s, State: State(s, [.. tests[s.Id]]), Tests: tests[s.Id])).ToList();
        var text = new StringBuilder("""
            # Conformance

            Which acceptance scenario is proven by which test. Made by `./mesh test --write-conformance`; a scenario without a test is *open*.
            A scenario may be proven in part on several rings: pure decision, loopback, network namespaces, cluster.


            """);
        text.Append("| state | scenarios |\n|---|---|\n");
        foreach (var group in rows.GroupBy(r => r.State.Split(' ')[0]).OrderBy(g => g.Key, StringComparer.Ordinal)) text.Append($"| {group.Key} | {group.Count()} |\n");
        text.Append("\n| scenario | what | state | tests |\n|---|---|---|---|\n");
        foreach (var (scenario, state, proofs) in rows)
            text.Append($"| {scenario.Id} | {scenario.Title} | {state} | {string.Join("<br>", proofs.Select(TestName).Distinct().Order(StringComparer.Ordinal))} |\n");
        var known = catalog.Select(s => s.Id).ToHashSet(StringComparer.Ordinal);
        foreach (var unknown in tests.Select(t => t.Key).Where(id => !known.Contains(id)).Order(StringComparer.Ordinal))
            text.Append($"| {unknown} | (not in the catalogue) | {Outcome([.. tests[unknown]])} | {string.Join("<br>", tests[unknown].Select(TestName).Distinct().Order(StringComparer.Ordinal))} |\n");
        return text.ToString();
    }

    private static string State(Scenario scenario, IReadOnlyList<TestResult> proofs) =>
        proofs.Count > 0 ? Outcome(proofs) : scenario.WaitsFor.Length > 0 ? $"open ({scenario.WaitsFor})" : "open";

    private static string Outcome(IReadOnlyList<TestResult> proofs) =>
        proofs.Any(p => p.Outcome == "Fail") ? "fails" : proofs.All(p => p.Outcome == "Skip") ? "skipped"
        : proofs.Any(p => p.Outcome == "Skip") ? "passes in part (some tests were skipped)" : "passes";

    // Theories carry their data in the name; the document names the method once.
    private static string TestName(TestResult result) => result.Name.Split('(')[0].Replace("AmbientMesh.", "", StringComparison.Ordinal).Replace('|', '/');
}
