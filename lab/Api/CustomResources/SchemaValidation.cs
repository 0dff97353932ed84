using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using AmbientMesh.Lab.Api.CustomResources.Cel;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.CustomResources;

/// <summary>Checks an object against the value rules of its OpenAPI schema (all but <c>x-kubernetes-validations</c>).</summary>
internal sealed class SchemaValidation
{
    private static readonly ConcurrentDictionary<string, Regex?> Patterns = new(StringComparer.Ordinal);
    private readonly List<FieldError> _errors = [];
    private readonly List<FieldError> _enumErrors = [];
    private readonly List<FieldError> _listErrors = [];

    /// <summary>Every violation, in the order Kubernetes reports them: values, enumerations, lists.</summary>
    public static List<FieldError> Check(JsonObject o, JsonObject? schema)
    {
        var run = new SchemaValidation();
        if (schema is not null) run.Value(o, schema, "", isRoot: true);
        return [.. run._errors, .. run._enumErrors, .. run._listErrors];
    }

    private void Value(JsonNode? value, JsonObject schema, string path, bool isRoot = false)
    {
        if (value is null)
        {
            if (schema.Flag("nullable") != true && schema.Text("type") is { } wanted) WrongType(path, wanted, "null");
            return;
        }
        if (!HasType(value, schema, path)) return;
        switch (value)
        {
            case JsonObject o:
                Object(o, schema, path, isRoot);
                break;
            case JsonArray list:
                List(list, schema, path);
                break;
            case JsonValue v when v.GetValueKind() == JsonValueKind.String:
                Text(v.ToString(), schema, path);
                break;
            case JsonValue v when v.GetValueKind() == JsonValueKind.Number:
                Number(v, schema, path);
                break;
        }
        if (schema.List("enum") is { } allowed && !allowed.Any(a => JsonTree.Same(a, value)))
            _enumErrors.Add(new FieldError("FieldValueNotSupported", path, $"Unsupported value: {value.ToJsonString(Http.Responses.Json)}: supported values: {string.Join(", ", allowed.Select(a => a?.ToJsonString(Http.Responses.Json)))}"));
        Combinations(value, schema, path);
    }

    private bool HasType(JsonNode value, JsonObject schema, string path)
    {
        var actual = TypeOf(value);
        if (schema.Flag("x-kubernetes-int-or-string") == true)
        {
            if (actual is "integer" or "string") return true;
            WrongType(path, "integer,string", actual);
            return false;
        }
        if (schema.Text("type") is not { } wanted || wanted == actual || (wanted == "number" && actual == "integer")) return true;
        WrongType(path, wanted, actual);
        return false;
    }

    private static string TypeOf(JsonNode value) => value.GetValueKind() switch
    {
        JsonValueKind.Object => "object",
        JsonValueKind.Array => "array",
        JsonValueKind.String => "string",
        JsonValueKind.Number => long.TryParse(value.ToJsonString(), out _) || (double.TryParse(value.ToJsonString(), CultureInfo.InvariantCulture, out var d) && d == Math.Floor(d)) ? "integer" : "number",
        _ => "boolean",
    };

    private void WrongType(string path, string wanted, string actual) =>
        _errors.Add(new FieldError("FieldValueTypeInvalid", path, $"Invalid value: \"{actual}\": {path} in body must be of type {wanted}: \"{actual}\""));

    private void Invalid(string path, string shown, string what) => _errors.Add(FieldError.Invalid(path, shown, $"{path} in body {what}"));

    private void Object(JsonObject o, JsonObject schema, string path, bool isRoot)
    {
        var prefix = path.Length == 0 ? "" : path + ".";
        foreach (var name in schema.Texts("required"))
            if (!o.ContainsKey(name)) _errors.Add(FieldError.Required(prefix + name));
        foreach (var (name, value) in o.OrderBy(p => p.Key, StringComparer.Ordinal))
        {
            if (isRoot && name is "apiVersion" or "kind" or "metadata") continue;
            if (schema.Map("properties").Map(name) is { } property) Value(value, property, prefix + name);
            else if (schema.Map("additionalProperties") is { } others) Value(value, others, $"{path}.{name}".TrimStart('.'));
        }
        if (schema.Number("maxProperties") is { } max && o.Count > max) _errors.Add(new FieldError("FieldValueTooMany", path, $"Too many: {o.Count}: must have at most {max} items"));
        if (schema.Number("minProperties") is { } min && o.Count < min) Invalid(path, $"{o.Count}", $"should have at least {min} properties");
    }

    private void List(JsonArray list, JsonObject schema, string path)
    {
        if (schema.Number("maxItems") is { } max && list.Count > max) _errors.Add(new FieldError("FieldValueTooMany", path, $"Too many: {list.Count}: must have at most {max} items"));
        if (schema.Number("minItems") is { } min && list.Count < min) Invalid(path, $"{list.Count}", $"should have at least {min} items");
        if (schema.Map("items") is { } items)
            for (var i = 0; i < list.Count; i++) Value(list[i], items, $"{path}[{i}]");
        Duplicates(list, schema, path);
    }

    private void Duplicates(JsonArray list, JsonObject schema, string path)
    {
        var seen = new HashSet<string>(StringComparer.Ordinal);
        for (var i = 0; i < list.Count; i++)
        {
            JsonNode? key = schema.Text("x-kubernetes-list-type") switch
            {
                "set" => list[i],
                "map" => new JsonObject(schema.Texts("x-kubernetes-list-map-keys").Where(k => list[i].At(k) is not null).Select(k => KeyValuePair.Create(k, JsonTree.CopyNode(list[i].At(k))))),
                _ => null,
            };
            if (key is null) continue;
            var text = key.ToJsonString(Http.Responses.Json);
            if (!seen.Add(text)) _listErrors.Add(FieldError.Duplicate($"{path}[{i}]", text));
        }
    }

    private void Text(string text, JsonObject schema, string path)
    {
        var length = text.EnumerateRunes().Count();
        if (schema.Number("maxLength") is { } max && length > max) _errors.Add(FieldError.TooLong(path, $"may not be more than {max} bytes"));
        if (schema.Number("minLength") is { } min && length < min) Invalid(path, FieldError.Quote(text), $"should be at least {min} chars long");
        if (schema.Text("pattern") is { } pattern && Pattern(pattern) is { } regex && !regex.IsMatch(text)) Invalid(path, FieldError.Quote(text), $"should match '{pattern}'");
        if (schema.Text("format") is { } format && !FitsFormat(text, format))
            _errors.Add(new FieldError("FieldValueTypeInvalid", path, $"Invalid value: {FieldError.Quote(text)}: {path} in body must be of type {format}: {FieldError.Quote(text)}"));
    }

    /// <summary>Null for a pattern this platform cannot run: it is then not checked.</summary>
    private static Regex? Pattern(string pattern) => Patterns.GetOrAdd(pattern, static p =>
    {
        try
        {
            return new Regex(CelFunctions.Translate(p), RegexOptions.CultureInvariant, TimeSpan.FromSeconds(1));
        }
        catch (ArgumentException)
        {
            return null;
        }
    });

    private static bool FitsFormat(string text, string format) => format switch
    {
        "date-time" => KubernetesTime.Parse(text) is not null && text.Length >= 20,
        "duration" => Durations.Parse(text) is not null,
        "ipv4" => System.Net.IPAddress.TryParse(text, out var four) && four.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork,
        "ipv6" => System.Net.IPAddress.TryParse(text, out var six) && six.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6,
        "cidr" => System.Net.IPNetwork.TryParse(text, out _),
        "uuid" => Guid.TryParse(text, out _),
        _ => true,
    };

    private void Number(JsonValue value, JsonObject schema, string path)
    {
        var text = value.ToJsonString();
        var number = double.Parse(text, CultureInfo.InvariantCulture);
        double? Bound(string name) => schema[name] is JsonValue b && b.GetValueKind() == JsonValueKind.Number ? double.Parse(b.ToJsonString(), CultureInfo.InvariantCulture) : null;
        if (Bound("maximum") is { } max && (number > max || (schema.Flag("exclusiveMaximum") == true && number == max)))
            Invalid(path, text, schema.Flag("exclusiveMaximum") == true ? $"should be less than {max}" : $"should be less than or equal to {max}");
        if (Bound("minimum") is { } min && (number < min || (schema.Flag("exclusiveMinimum") == true && number == min)))
            Invalid(path, text, schema.Flag("exclusiveMinimum") == true ? $"should be greater than {min}" : $"should be greater than or equal to {min}");
        if (Bound("multipleOf") is { } factor && factor != 0 && number % factor != 0) Invalid(path, text, $"should be a multiple of {factor}");
        if (schema.Text("format") == "int32" && (number > int.MaxValue || number < int.MinValue)) Invalid(path, text, $"must be of type int32: {text}");
    }

    private void Combinations(JsonNode value, JsonObject schema, string path)
    {
        bool Holds(JsonObject branch) => new Func<bool>(() =>
        {
            var probe = new SchemaValidation();
            probe.Value(value, branch, path);
            return probe._errors.Count + probe._enumErrors.Count + probe._listErrors.Count == 0;
        })();
        if (schema.Flag("x-kubernetes-int-or-string") == true) return;
        foreach (var all in schema.Objects("allOf")) Value(value, all, path);
        if (schema.List("anyOf") is { Count: > 0 } && !schema.Objects("anyOf").Any(Holds)) Invalid(path, Shown(value), "must validate at least one schema (anyOf)");
        if (schema.List("oneOf") is { Count: > 0 } && schema.Objects("oneOf").Count(Holds) != 1) Invalid(path, Shown(value), "must validate one and only one schema (oneOf)");
        if (schema.Map("not") is { } not && Holds(not)) Invalid(path, Shown(value), "must not validate the schema (not)");
    }

    private static string Shown(JsonNode value) => value is JsonObject or JsonArray ? $"\"{TypeOf(value)}\"" : value.ToJsonString(Http.Responses.Json);
}
