using System.Text.Json.Nodes;

namespace AmbientMesh.Lab.Api.Objects;

/// <summary>Selects objects by labels. Immutable.</summary>
public sealed class LabelSelector
{
    private readonly IReadOnlyList<Requirement> _requirements;
    private LabelSelector(IReadOnlyList<Requirement> requirements) => _requirements = requirements;

    private sealed record Requirement(string Key, string Operator, IReadOnlyList<string> Values);

    /// <summary>Selects everything.</summary>
    public static LabelSelector Everything { get; } = new([]);
    /// <summary>Selects nothing.</summary>
    public static LabelSelector Nothing { get; } = new([new Requirement("", "Nothing", [])]);

    public bool IsEverything => _requirements.Count == 0;

    /// <summary>All of <paramref name="labels"/> must be present with these values.</summary>
    public static LabelSelector Equal(IEnumerable<KeyValuePair<string, string>> labels) =>
        new([.. labels.Select(l => new Requirement(l.Key, "in", [l.Value]))]);

    /// <summary>A <c>metav1.LabelSelector</c> object: null selects nothing, an empty one everything.</summary>
    public static LabelSelector FromObject(JsonObject? selector)
    {
        if (selector is null) return Nothing;
        var requirements = selector.TextMap("matchLabels").Select(l => new Requirement(l.Key, "in", [l.Value])).ToList();
        foreach (var expression in selector.Objects("matchExpressions"))
        {
            var op = expression.Text("operator") switch { "In" => "in", "NotIn" => "notin", "Exists" => "exists", "DoesNotExist" => "!", _ => "Nothing" };
            requirements.Add(new Requirement(expression.Text("key") ?? "", op, [.. expression.Texts("values")]));
        }
        return new LabelSelector(requirements);
    }

    public bool Matches(JsonObject o) => IsEverything || Matches(o.Labels());

    public bool Matches(IReadOnlyDictionary<string, string> labels) => _requirements.All(r => Holds(r, labels));

    private static bool Holds(Requirement r, IReadOnlyDictionary<string, string> labels)
    {
        var has = labels.TryGetValue(r.Key, out var value);
        return r.Operator switch
        {
            "in" => has && r.Values.Contains(value!, StringComparer.Ordinal),
            "notin" => !has || !r.Values.Contains(value!, StringComparer.Ordinal),
            "exists" => has,
            "!" => !has,
            ">" => has && long.TryParse(value, out var left) && left > long.Parse(r.Values[0]),
            "<" => has && long.TryParse(value, out var less) && less < long.Parse(r.Values[0]),
            _ => false,
        };
    }

    /// <summary>The query form: <c>a=b,c!=d,e in (f,g),!h,i&gt;3</c>. Throws 400 with the parser's own words.</summary>
    public static LabelSelector Parse(string? text) => string.IsNullOrWhiteSpace(text) ? Everything : new LabelSelector(new Parser(text).All());

    private ref struct Parser(string text)
    {
        private readonly List<string> _tokens = Tokens(text);
        private int _at = 0;

        private string Peek => _at < _tokens.Count ? _tokens[_at] : "";
        private string Next() => _at < _tokens.Count ? _tokens[_at++] : "";

        public List<Requirement> All()
        {
            var all = new List<Requirement>();
            while (true)
            {
                all.Add(One());
                var separator = Next();
                if (separator.Length == 0) return all;
                if (separator != ",") throw ApiErrors.BadRequest($"unable to parse requirement: found '{separator}', expected: ',' or 'end of string'");
                if (Peek.Length == 0) throw ApiErrors.BadRequest("unable to parse requirement: found '', expected: identifier after ','");
            }
        }

        private Requirement One()
        {
            if (Peek == "!")
            {
                Next();
                return new Requirement(Key(), "!", []);
            }
            var key = Key();
            switch (Peek)
            {
                case "" or ",":
                    return new Requirement(key, "exists", []);
                case "=" or "==":
                    Next();
                    return new Requirement(key, "in", [Value()]);
                case "!=":
                    Next();
                    return new Requirement(key, "notin", [Value()]);
                case ">" or "<":
                    var op = Next();
                    var number = Value();
                    if (!long.TryParse(number, out _))
                        throw ApiErrors.BadRequest($"unable to parse requirement: values[0][{key}]: Invalid value: \"{number}\": for 'Gt', 'Lt' operators, the value must be an integer");
                    return new Requirement(key, op, [number]);
                case "in" or "notin":
                    return new Requirement(key, Next(), Set());
                default:
                    throw ApiErrors.BadRequest($"unable to parse requirement: found '{Peek}', expected: in, notin, =, ==, !=, gt, lt");
            }
        }

        private string Key()
        {
            var token = Next();
            if (token is "" or "," or "=" or "==" or "!=" or ">" or "<" or "(" or ")")
                throw ApiErrors.BadRequest($"unable to parse requirement: found '{token}', expected: identifier");
            if (Names.QualifiedNameProblem(token) is { } problem)
                throw ApiErrors.BadRequest($"unable to parse requirement: <nil>: Invalid value: \"{token}\": {problem}");
            return token;
        }

        private string Value()
        {
            if (Peek is "" or ",") return "";
            var token = Next();
            if (token is "=" or "==" or "!=" or ">" or "<" or "(" or ")" or "!")
                throw ApiErrors.BadRequest($"unable to parse requirement: found '{token}', expected: identifier");
            return token;
        }

        private List<string> Set()
        {
            if (Next() != "(") throw ApiErrors.BadRequest($"unable to parse requirement: found '{Peek}', expected: '('");
            var values = new List<string>();
            while (Peek != ")")
            {
                if (Peek.Length == 0) throw ApiErrors.BadRequest("unable to parse requirement: found '', expected: ',' or ')'");
                if (Peek == ",") Next();
                values.Add(Peek is ")" or "," ? "" : Next());
            }
            Next();
            return values;
        }

        private static List<string> Tokens(string text)
        {
            var tokens = new List<string>();
            for (var i = 0; i < text.Length;)
            {
                var c = text[i];
                if (char.IsWhiteSpace(c))
                {
                    i++;
                }
                else if (c is ',' or '(' or ')' or '>' or '<')
                {
                    tokens.Add(c.ToString());
                    i++;
                }
                else if (c is '=' or '!')
                {
                    var two = i + 1 < text.Length && text[i + 1] == '=';
                    tokens.Add(text.Substring(i, two ? 2 : 1));
                    i += two ? 2 : 1;
                }
                else
                {
                    var start = i;
                    while (i < text.Length && !char.IsWhiteSpace(text[i]) && text[i] is not (',' or '(' or ')' or '>' or '<' or '=' or '!')) i++;
                    tokens.Add(text[start..i]);
                }
            }
            return tokens;
        }
    }
}

/// <summary>Selects objects by a few fields. Immutable.</summary>
public sealed class FieldSelector
{
    private readonly IReadOnlyList<(string Field, bool Equal, string Value)> _terms;
    private FieldSelector(IReadOnlyList<(string, bool, string)> terms) => _terms = terms;

    public static FieldSelector Everything { get; } = new([]);
    public bool IsEverything => _terms.Count == 0;

    /// <summary>The value an exact <c>metadata.name=</c> term asks for; null without one.</summary>
    public string? Name => _terms.FirstOrDefault(t => t is { Field: "metadata.name", Equal: true }).Value;

    public static FieldSelector Of(string field, string value) => new([(field, true, value)]);

    /// <summary>The query form: <c>a=b,c!=d</c>. Throws 400 when malformed.</summary>
    public static FieldSelector Parse(string? text)
    {
        if (string.IsNullOrEmpty(text)) return Everything;
        var terms = new List<(string, bool, string)>();
        foreach (var term in text.Split(','))
        {
            if (term.Length == 0) continue;
            var at = term.IndexOf('=', StringComparison.Ordinal);
            if (at < 0) throw ApiErrors.BadRequest($"invalid selector: '{text}'; can't understand '{term}'");
            var equal = at == 0 || term[at - 1] != '!';
            var field = equal ? term[..at] : term[..(at - 1)];
            if (field.Any(c => char.IsWhiteSpace(c))) throw ApiErrors.BadRequest($"invalid selector: '{text}'; can't understand '{term}'");
            var value = term[(at + 1)..];
            terms.Add((field, equal, value.StartsWith('=') ? value[1..] : value));
        }
        return new FieldSelector(terms);
    }

    /// <summary>The same terms over renamed fields.</summary>
    public FieldSelector Rename(Func<string, string> rename) => new([.. _terms.Select(t => (rename(t.Field), t.Equal, t.Value))]);

    /// <summary>Names of the fields asked for.</summary>
    public IEnumerable<string> Fields => _terms.Select(t => t.Field);

    public bool Matches(JsonObject o) => _terms.All(t => (Read(o, t.Field) == t.Value) == t.Equal);

    private static string Read(JsonObject o, string field)
    {
        var node = field switch
        {
            "reportingComponent" => o.At("reportingComponent") is { } r && r.Text() is not "" ? r : o.At("source", "component"),
            "source" => o.At("source", "component"),
            "spec.unschedulable" or "spec.hostNetwork" => o.At(field.Split('.')) ?? JsonValue.Create(false),
            "status.successful" => o.At("status", "succeeded") ?? JsonTree.Number(0),
            "status.podIP" => o.At("status", "podIP"),
            _ => o.At(field.Split('.')),
        };
        return node switch { null => "", JsonValue v when v.Text() is { } text => text, _ => node.ToJsonString() };
    }
}
