using System.Text.Json.Nodes;
using AmbientMesh.Protocol.Security;

namespace AmbientMesh.ControlPlane.Translation.Policy;

/// <summary>One rule of an AuthorizationPolicy as ztunnel can judge it (reference 5.4). Pure.</summary>
/// <remarks>
/// Where a rule asks for more than ztunnel sees, the result is never weaker than what was written: an ALLOW rule is left out whole; of a DENY rule the unjudgeable
/// parts are dropped, which denies more, and a DENY rule of which nothing is left denies everything. Istio lets such a rule never fire, and a rule one of whose
/// alternatives is unjudgeable deny the others alone: <see cref="MeshScope.IgnoresUnjudgedDenials"/>.
/// A value that cannot be read is no reason to allow either: the part of the DENY rule it stands in is taken to hold.
/// </remarks>
internal sealed class RuleTranslation
{
    private readonly string _policyNamespace;
    private readonly List<string> _unjudged = [];
    private readonly List<string> _unusable = [];

    private RuleTranslation(string policyNamespace) => _policyNamespace = policyNamespace;

    /// <summary>What one alternative of a clause has come to.</summary>
    /// <param name="Holds">It had a value that cannot be read and nothing else: taken to hold.</param>
    private readonly record struct Alternative(Match Match, bool Holds)
    {
        public bool IsEmpty => Match.CalculateSize() == 0;
    }

    /// <param name="action">Of the policy.</param>
    /// <param name="policyNamespace">Where service accounts without a namespace are.</param>
    /// <param name="rule">One entry of <c>spec.rules</c>.</param>
    /// <param name="notes">Told what is not as written.</param>
    /// <param name="ignoresUnjudgedDenials">A DENY rule denies only what can be judged, if anything.</param>
    /// <returns>Null when the rule is left out.</returns>
    public static Rule? Translate(Protocol.Security.Action action, string policyNamespace, JsonObject rule, ICollection<string> notes, bool ignoresUnjudgedDenials = false)
    {
        var translation = new RuleTranslation(policyNamespace);
        var clauses = translation.Read(rule);
        var result = action == Protocol.Security.Action.Allow ? translation.Allowing(clauses) : Denying(clauses, ignoresUnjudgedDenials);
        translation.Tell(action, result, notes);
        return result;
    }

    private List<List<Alternative>> Read(JsonObject rule)
    {
        List<List<Alternative>> clauses = [];
        foreach (var (field, value) in rule)
            switch (field)
            {
                case "from": Add(clauses, Entries(value, field).Select(e => Wrapped(e, "source", PolicyAttributes.Source))); break;
                case "to": Add(clauses, Entries(value, field).Select(e => Wrapped(e, "operation", PolicyAttributes.Operation))); break;
                case "when": foreach (var condition in Entries(value, field)) Add(clauses, [Condition(condition)]); break;
                default: _unjudged.Add(field); Add(clauses, [new Alternative(new Match(), Holds: false)]); break;
            }
        return clauses;
    }

    private static void Add(List<List<Alternative>> clauses, IEnumerable<Alternative> alternatives)
    {
        var clause = alternatives.ToList();
        if (clause.Count > 0) clauses.Add(clause);
    }

    /// <summary>The entries of a list; null stands for one that is no object.</summary>
    private static IEnumerable<JsonObject?> Entries(JsonNode? list, string field) => list switch
    {
        null => [],
        JsonArray entries => entries.Select(entry => entry as JsonObject),
        _ => throw new FormatException($"spec.rules has a {field} that is not a list."),
    };

    private Alternative Wrapped(JsonObject? entry, string inner, Func<string, PolicyAttributes.Writer?> known)
    {
        if (entry is null || entry[inner] is not (null or JsonObject)) return Unreadable(inner);
        foreach (var (field, _) in entry.Where(e => e.Key != inner)) _unjudged.Add(field);
        return Fill((entry[inner] as JsonObject ?? []).Select(e => (e.Key, e.Value, known(e.Key))));
    }

    private Alternative Condition(JsonObject? condition)
    {
        if (condition is null || PolicyObject.TextOf(condition["key"]) is not { Length: > 0 } key) return Unreadable("when");
        return Fill(condition.Where(e => e.Key != "key").Select(e => (PolicyAttributes.Condition(key, e.Key) is null ? key : e.Key, e.Value, PolicyAttributes.Condition(key, e.Key))));
    }

    private Alternative Fill(IEnumerable<(string Field, JsonNode? Value, PolicyAttributes.Writer? Writer)> fields)
    {
        var match = new Match();
        var isUnreadable = false;
        foreach (var (field, value, writer) in fields)
        {
            if (value is null or JsonArray { Count: 0 }) continue;
            if (writer is null)
            {
                _unjudged.Add(field);
                continue;
            }
            try
            {
                writer(match, PolicyObject.Strings(value, field), _policyNamespace);
            }
            catch (FormatException problem)
            {
                isUnreadable = true;
                _unusable.Add($"{field}: {problem.Message}");
            }
        }
        return new Alternative(match, isUnreadable && match.CalculateSize() == 0);
    }

    private Alternative Unreadable(string field)
    {
        _unusable.Add($"an entry of {field} cannot be read.");
        return new Alternative(new Match(), Holds: true);
    }

    private Rule? Allowing(List<List<Alternative>> clauses) => _unjudged.Count + _unusable.Count > 0 ? null : Of(clauses);

    private static Rule? Denying(List<List<Alternative>> clauses, bool ignoresUnjudged)
    {
        // A clause one of whose alternatives came to nothing no longer says whom the rule spares; those that do remain. Where none does, nobody is known to be spared.
        var restricting = clauses.Where(c => !c.Exists(a => a.IsEmpty)).ToList();
        if (restricting.Count > 0 || clauses.Count == 0 || !ignoresUnjudged) return Of(restricting);
        var judged = clauses.Where(c => !c.Exists(a => a.Holds)).Select(c => c.Where(a => !a.IsEmpty).ToList()).ToList();
        return judged.Exists(c => c.Count == 0) ? null : Of(judged);
    }

    private static Rule Of(List<List<Alternative>> clauses) => new() { Clauses = { clauses.Select(c => new Clause { Matches = { c.Select(a => a.Match) } }) } };

    private void Tell(Protocol.Security.Action action, Rule? result, ICollection<string> notes)
    {
        if (_unusable.Count > 0) notes.Add($"Unusable: {string.Join("; ", _unusable.Distinct())}");
        if (_unjudged.Count > 0) notes.Add($"ztunnel cannot judge {string.Join(", ", _unjudged.Distinct().Order(StringComparer.Ordinal))}; a waypoint is needed for that.");
        if (_unusable.Count + _unjudged.Count == 0) return;
        notes.Add((action, result) switch
        {
            (Protocol.Security.Action.Allow, _) => "ALLOW rules with such values are left out, so less is allowed than written.",
            (_, null) => "A DENY rule with nothing else in it never fires.",
            (_, { Clauses.Count: 0 }) => "A DENY rule that spares nobody for certain without them denies every connection; attach the policy to a waypoint with targetRefs.",
            _ => "DENY rules are enforced without such values, so more is denied than written.",
        });
    }
}
