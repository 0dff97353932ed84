using System.Runtime.InteropServices;

namespace AmbientMesh.Model.Authorization;

/// <summary>What rules ask for, as one run of numbers: from it they are filed and their tests made.</summary>
/// <remarks>
/// <code>
/// rule     = required clause*
/// required = length list*        the clauses with one alternative, together: all lists hold
/// clause   = length match*       any match holds
/// match    = length list*        all lists hold
/// list     = count term*         one of the terms holds; with a count below zero none of them does
/// </code>
/// A length counts the numbers that follow it in its part.
/// </remarks>
internal sealed class RuleCode
{
    private readonly List<int> _code = [];
    private readonly List<int> _starts = [0];

    /// <summary>Adds a rule, unless it can never match; rules are numbered from 0. What it asks for gets numbers where it has none yet.</summary>
    public bool TryAdd(PolicyRule rule, PolicyTerms terms)
    {
        foreach (var clause in rule.Clauses)
            if (!clause.Alternatives.IsEmpty && clause.Alternatives.All(match => match.IsEmpty)) return false;
        var required = Begin();
        foreach (var clause in rule.Clauses)
            if (TheOnly(clause) is { } match) terms.Write(match, _code);
        End(required);
        foreach (var clause in rule.Clauses)
        {
            if (clause.Alternatives.IsEmpty || TheOnly(clause) is not null) continue;
            var alternatives = Begin();
            foreach (var match in clause.Alternatives)
            {
                if (match.IsEmpty) continue;   // never holds
                var lists = Begin();
                terms.Write(match, _code);
                End(lists);
            }
            End(alternatives);
        }
        _starts.Add(_code.Count);
        return true;
    }

    /// <summary>Appends a rule's tests; what is asked for most often is tested first, since it tells most rules apart from the connection.</summary>
    public void WriteTests(int rule, int[] uses, RuleTests tests)
    {
        var rest = this[rule];
        var required = Part(ref rest);
        tests.Begin(isAny: required.IsEmpty && rest.IsEmpty);
        Write(required, rest.IsEmpty ? RuleTests.Matches : tests.Count + CountTerms(required), RuleTests.Fails);
        while (!rest.IsEmpty)
        {
            var clause = Part(ref rest);
            var after = rest.IsEmpty ? RuleTests.Matches : tests.Count + CountTermsOfMatches(clause);
            while (!clause.IsEmpty)
            {
                var match = Part(ref clause);
                Write(match, after, clause.IsEmpty ? RuleTests.Fails : tests.Count + CountTerms(match));
            }
        }

        void Write(Span<int> lists, int ifAll, int ifNot)
        {
            while (!lists.IsEmpty)
            {
                var isAny = lists[0] > 0;
                var terms = Terms(ref lists);
                if (terms.Length > 1) terms.Sort((one, other) => uses[other].CompareTo(uses[one]));
                var ifThis = lists.IsEmpty ? ifAll : tests.Count + terms.Length;
                tests.Add(terms, isAny ? ifThis : ifNot, isAny ? ifNot : ifThis);
            }
        }
    }

    /// <summary>By term, how often it is asked for.</summary>
    public int[] CountUses(int terms)
    {
        var uses = new int[terms];
        for (var rule = 0; rule < _starts.Count - 1; rule++)
        {
            var rest = this[rule];
            Count(Part(ref rest));
            while (!rest.IsEmpty)
                for (var clause = Part(ref rest); !clause.IsEmpty;) Count(Part(ref clause));
        }
        return uses;

        void Count(Span<int> lists)
        {
            while (!lists.IsEmpty)
            {
                foreach (var term in Terms(ref lists)) uses[term]++;
            }
        }
    }

    /// <summary>Finds the terms without all of which a rule cannot hold and which are asked for least often; false when it can hold without any.</summary>
    public bool TryFindRarest(int rule, int[] uses, List<int> found)
    {
        var rest = this[rule];
        var best = Rarest(Part(ref rest), uses, out var fewest);
        found.Clear();
        found.AddRange(best);
        while (!rest.IsEmpty)
        {
            var clause = Part(ref rest);
            var sum = 0L;
            for (var matches = clause; !matches.IsEmpty && sum < fewest;)
            {
                Rarest(Part(ref matches), uses, out var few);
                sum = few == long.MaxValue ? few : sum + few;
            }
            if (sum >= fewest) continue;
            fewest = sum;
            found.Clear();
            while (!clause.IsEmpty) found.AddRange(Rarest(Part(ref clause), uses, out _));
        }
        return fewest < long.MaxValue;
    }

    private static Span<int> Rarest(Span<int> lists, int[] uses, out long fewest)
    {
        var best = Span<int>.Empty;
        fewest = long.MaxValue;
        while (!lists.IsEmpty)
        {
            var isAny = lists[0] > 0;
            var terms = Terms(ref lists);
            if (!isAny) continue;
            var sum = 0L;
            foreach (var term in terms) sum += uses[term];
            if (sum >= fewest) continue;
            best = terms;
            fewest = sum;
        }
        return best;
    }

    private static int CountTerms(Span<int> lists)
    {
        var count = 0;
        while (!lists.IsEmpty) count += Terms(ref lists).Length;
        return count;
    }

    private static int CountTermsOfMatches(Span<int> matches)
    {
        var count = 0;
        while (!matches.IsEmpty) count += CountTerms(Part(ref matches));
        return count;
    }

    private Span<int> this[int rule] => CollectionsMarshal.AsSpan(_code)[_starts[rule].._starts[rule + 1]];

    private static PolicyMatch? TheOnly(PolicyClause clause) => clause.Alternatives is [{ IsEmpty: false } only] ? only : null;

    private static Span<int> Part(scoped ref Span<int> rest)
    {
        var part = rest.Slice(1, rest[0]);
        rest = rest[(part.Length + 1)..];
        return part;
    }

    private static Span<int> Terms(scoped ref Span<int> lists)
    {
        var terms = lists.Slice(1, Math.Abs(lists[0]));
        lists = lists[(terms.Length + 1)..];
        return terms;
    }

    private int Begin()
    {
        _code.Add(0);
        return _code.Count;
    }

    private void End(int begun) => _code[begun - 1] = _code.Count - begun;
}
