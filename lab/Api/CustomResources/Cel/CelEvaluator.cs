using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.CustomResources.Cel;

/// <summary>
/// Evaluates parsed expressions over JSON. Values are null, bool, long, double, string, <see cref="List{T}"/>, <see cref="JsonObject"/>,
/// <see cref="TimeSpan"/>, <see cref="DateTimeOffset"/>, <see cref="Uri"/> and <see cref="System.Net.IPAddress"/>.
/// </summary>
internal sealed class CelEvaluator
{
    private readonly Dictionary<string, object?> _variables = new(StringComparer.Ordinal);

    public CelEvaluator Bind(string name, JsonNode? value)
    {
        _variables[name] = FromJson(value);
        return this;
    }

    public static object? FromJson(JsonNode? node) => node switch
    {
        null => null,
        JsonObject o => o,
        JsonArray a => a.Select(FromJson).ToList(),
        JsonValue v => v.GetValueKind() switch
        {
            JsonValueKind.String => v.ToString(),
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            JsonValueKind.Null => null,
            _ => long.TryParse(v.ToJsonString(), out var whole) ? whole : double.Parse(v.ToJsonString(), System.Globalization.CultureInfo.InvariantCulture),
        },
        _ => null,
    };

    /// <summary>Throws <see cref="CelException"/> for anything that has no value.</summary>
    public object? Evaluate(CelNode node) => node switch
    {
        CelNode.Literal l => l.Value,
        CelNode.Variable v => _variables.TryGetValue(v.Name, out var value) ? value : throw new CelException($"no variable {v.Name}"),
        CelNode.Member m => Field(Evaluate(m.Target), m.Name),
        CelNode.Index i => At(Evaluate(i.Target), Evaluate(i.Key)),
        CelNode.ListOf l => l.Items.Select(Evaluate).ToList(),
        CelNode.MapOf m => new JsonObject(m.Entries.Select(e => KeyValuePair.Create(Text(Evaluate(e.Key)), ToJson(Evaluate(e.Value))))),
        CelNode.Unary { Operator: "!" } u => !Bool(Evaluate(u.Operand)),
        CelNode.Unary u => Evaluate(u.Operand) switch { long n => -n, double d => (object)-d, _ => throw new CelException("- needs a number") },
        CelNode.Choice c => Bool(Evaluate(c.Condition)) ? Evaluate(c.Then) : Evaluate(c.Else),
        CelNode.Binary b => Binary(b),
        CelNode.Call c => Call(c),
        _ => throw new CelException("unknown expression"),
    };

    private static JsonNode? ToJson(object? value) => value switch
    {
        null => null,
        JsonNode n => JsonTree.CopyNode(n),
        string s => JsonValue.Create(s),
        bool b => JsonValue.Create(b),
        long n => JsonTree.Number(n),
        double d => JsonValue.Create(d),
        List<object?> l => new JsonArray([.. l.Select(ToJson)]),
        _ => throw new CelException("a value without JSON form"),
    };

    private static bool Bool(object? value) => value is bool b ? b : throw new CelException("not a boolean");
    public static string Text(object? value) => value as string ?? throw new CelException("not text");

    private static object? Field(object? target, string name)
    {
        // Names that are CEL keywords or hold other characters are escaped in rules.
        var key = name.StartsWith("__", StringComparison.Ordinal) && name.EndsWith("__", StringComparison.Ordinal) ? name[2..^2] : name.Replace("__dash__", "-", StringComparison.Ordinal).Replace("__dot__", ".", StringComparison.Ordinal).Replace("__slash__", "/", StringComparison.Ordinal);
        return target is JsonObject o && o.TryGetPropertyValue(key, out var value) ? FromJson(value) : throw new CelException($"no such key: {key}");
    }

    private static object? At(object? target, object? key) => target switch
    {
        List<object?> list when key is long i && i >= 0 && i < list.Count => list[(int)i],
        JsonObject o when key is string name && o.TryGetPropertyValue(name, out var value) => FromJson(value),
        _ => throw new CelException("no such element"),
    };

    private object? Binary(CelNode.Binary b)
    {
        if (b.Operator is "&&" or "||") return Logic(b);
        var left = Evaluate(b.Left);
        var right = Evaluate(b.Right);
        return b.Operator switch
        {
            "==" => Same(left, right),
            "!=" => !Same(left, right),
            "in" => right switch
            {
                List<object?> list => list.Exists(i => Same(i, left)),
                JsonObject o => left is string key && o.ContainsKey(key),
                _ => throw new CelException("in needs a list or map"),
            },
            "<" => Order(left, right) < 0,
            "<=" => Order(left, right) <= 0,
            ">" => Order(left, right) > 0,
            ">=" => Order(left, right) >= 0,
            _ => Arithmetic(b.Operator, left, right),
        };
    }

    /// <summary>An error on one side does not matter when the other side decides.</summary>
    private object? Logic(CelNode.Binary b)
    {
        var decisive = b.Operator == "||";
        try
        {
            if (Bool(Evaluate(b.Left)) == decisive) return decisive;
        }
        catch (CelException) when (RightDecides(b, decisive))
        {
            return decisive;
        }
        return Bool(Evaluate(b.Right));
    }

    private bool RightDecides(CelNode.Binary b, bool decisive)
    {
        try
        {
            return Bool(Evaluate(b.Right)) == decisive;
        }
        catch (CelException)
        {
            return false;
        }
    }

    public static bool Same(object? a, object? b) => (a, b) switch
    {
        (null, null) => true,
        (null, _) or (_, null) => false,
        (long or double, long or double) => Convert.ToDouble(a) == Convert.ToDouble(b),
        (JsonObject x, JsonObject y) => JsonTree.Same(x, y),
        (List<object?> x, List<object?> y) => x.Count == y.Count && x.Zip(y).All(p => Same(p.First, p.Second)),
        _ => a.Equals(b),
    };

    private static int Order(object? a, object? b) => (a, b) switch
    {
        (long x, long y) => x.CompareTo(y),
        (long or double, long or double) => Convert.ToDouble(a).CompareTo(Convert.ToDouble(b)),
        (string x, string y) => string.CompareOrdinal(x, y),
        (TimeSpan x, TimeSpan y) => x.CompareTo(y),
        (DateTimeOffset x, DateTimeOffset y) => x.CompareTo(y),
        (bool x, bool y) => x.CompareTo(y),
        _ => throw new CelException("values without order"),
    };

    private static object Arithmetic(string op, object? a, object? b) => (op, a, b) switch
    {
        ("+", long x, long y) => checked(x + y),
        ("-", long x, long y) => checked(x - y),
        ("*", long x, long y) => checked(x * y),
        ("/", long x, long y) when y != 0 => x / y,
        ("%", long x, long y) when y != 0 => x % y,
        ("+", string x, string y) => x + y,
        ("+", List<object?> x, List<object?> y) => x.Concat(y).ToList(),
        ("+", double x, double y) => x + y,
        ("-", double x, double y) => x - y,
        ("*", double x, double y) => x * y,
        ("/", double x, double y) => x / y,
        ("+", TimeSpan x, TimeSpan y) => x + y,
        _ => throw new CelException($"{op} does not fit its operands"),
    };

    private object? Call(CelNode.Call call)
    {
        if (call.Target is null && call is { Name: "has", Arguments: [CelNode.Member member] }) return Has(member);
        if (call.Target is { } target && call is { Name: "all" or "exists" or "exists_one" or "filter" or "map", Arguments: [CelNode.Variable item, ..] })
            return Macro(call.Name, Evaluate(target), item.Name, call.Arguments);
        var arguments = call.Arguments.Select(Evaluate).ToList();
        return CelFunctions.Call(call.Target is null ? arguments : [Evaluate(call.Target), .. arguments], call.Name, call.Target is not null);
    }

    private bool Has(CelNode.Member member)
    {
        try
        {
            return Field(Evaluate(member.Target), member.Name) is not null;
        }
        catch (CelException e) when (e.Message.StartsWith("no such key: " + member.Name, StringComparison.Ordinal) || e.Message.StartsWith("no such key: " + member.Name.Trim('_'), StringComparison.Ordinal))
        {
            return false;
        }
    }

    private object Macro(string name, object? range, string item, IReadOnlyList<CelNode> arguments)
    {
        var items = range switch
        {
            List<object?> list => list,
            JsonObject o => o.Select(p => (object?)p.Key).ToList(),
            _ => throw new CelException($"{name} needs a list or map"),
        };
        var shadowed = _variables.TryGetValue(item, out var outer);
        try
        {
            var found = new List<object?>();
            foreach (var value in items)
            {
                _variables[item] = value;
                var result = Evaluate(arguments[1]);
                if (name == "map")
                {
                    if (arguments.Count == 3 && !Bool(result)) continue;
                    found.Add(arguments.Count == 3 ? Evaluate(arguments[2]) : result);
                }
                else if (Bool(result))
                {
                    found.Add(value);
                }
            }
            return name switch
            {
                "all" => found.Count == items.Count,
                "exists" => found.Count > 0,
                "exists_one" => found.Count == 1,
                _ => (object)found,
            };
        }
        finally
        {
            if (shadowed) _variables[item] = outer;
            else _variables.Remove(item);
        }
    }
}
