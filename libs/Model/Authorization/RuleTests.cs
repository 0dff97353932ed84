namespace AmbientMesh.Model.Authorization;

/// <summary>Rules as tests of single terms, each of which says which test comes next: judging a rule is a walk of a few steps. Filled and completed first, then only read.</summary>
/// <remarks>With loops over clauses, matches and lists instead, 1,000 rules of three clauses took 15 µs; so they take 5 (<c>./mesh bench policy</c>).</remarks>
internal sealed class RuleTests
{
    public const int Matches = -1;
    public const int Fails = -2;

    private readonly List<Test> _adding = [];
    private readonly List<int> _addingStarts = [];
    private Test[] _tests = [];
    private int[] _starts = [];

    private readonly record struct Test(int Term, int IfHeld, int IfNot);

    /// <summary>Tests so far: the position of the next one.</summary>
    public int Count => _adding.Count;

    /// <summary>A rule begins.</summary>
    /// <param name="isAny">It matches whatever the connection is; no tests follow.</param>
    public void Begin(bool isAny) => _addingStarts.Add(isAny ? Matches : Count);

    /// <summary>A list: where to go on when one of the terms holds, and when none does.</summary>
    public void Add(ReadOnlySpan<int> terms, int ifAny, int ifNone)
    {
        for (var i = 0; i < terms.Length; i++) _adding.Add(new Test(terms[i], ifAny, i == terms.Length - 1 ? ifNone : Count + 1));
    }

    /// <summary>No further rules follow.</summary>
    public void Complete()
    {
        (_tests, _starts) = ([.. _adding], [.. _addingStarts]);
        _adding.Clear();
        _addingStarts.Clear();
    }

    /// <summary>Whether a rule matches a connection of which exactly the terms in <paramref name="held"/> are true.</summary>
    public bool Hold(int rule, ReadOnlySpan<ulong> held)
    {
        var tests = _tests;
        var at = _starts[rule];
        while (at >= 0)
        {
            ref readonly var test = ref tests[at];
            // A branch, not a choice of values: it can be guessed, and the next step begun before this one is known.
            if ((held[test.Term >> 6] & (1UL << test.Term)) != 0) at = test.IfHeld;
            else at = test.IfNot;
        }
        return at == Matches;
    }
}
