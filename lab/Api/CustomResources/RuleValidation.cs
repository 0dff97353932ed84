using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.CustomResources.Cel;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.CustomResources;

/// <summary>
/// Checks <c>x-kubernetes-validations</c>. A rule this evaluator cannot read or evaluate never refuses an object; it is noted in <see cref="Unchecked"/>.
/// </summary>
internal static class RuleValidation
{
    private static readonly ConcurrentDictionary<string, CelNode?> Parsed = new(StringComparer.Ordinal);
    private static readonly ConcurrentDictionary<string, string> NotChecked = new(StringComparer.Ordinal);

    /// <summary>Rules met so far that could not be evaluated, with the reason.</summary>
    public static IReadOnlyDictionary<string, string> Unchecked => NotChecked;

    /// <summary>Every rule broken; <paramref name="old"/> is null on create and then transition rules do not run.</summary>
    public static List<FieldError> Check(JsonObject o, JsonObject? old, JsonObject? schema)
    {
        var errors = new List<FieldError>();
        if (schema is not null) Walk(o, old, schema, "", errors, isRoot: true);
        return errors;
    }

    private static void Walk(JsonNode? value, JsonNode? old, JsonObject schema, string path, List<FieldError> errors, bool isRoot = false)
    {
        if (value is null) return;
        foreach (var rule in schema.Objects("x-kubernetes-validations")) One(value, old, rule, path, errors);
        switch (value)
        {
            case JsonObject o:
                foreach (var (name, child) in o)
                {
                    if (isRoot && name is "apiVersion" or "kind" or "metadata") continue;
                    var next = schema.Map("properties").Map(name) ?? schema.Map("additionalProperties");
                    if (next is not null) Walk(child, (old as JsonObject)?[name], next, schema.Map("properties").Map(name) is null ? $"{path}[{name}]" : $"{path}.{name}".TrimStart('.'), errors);
                }
                break;
            case JsonArray list when schema.Map("items") is { } items:
                for (var i = 0; i < list.Count; i++) Walk(list[i], Counterpart(list[i], old as JsonArray, schema), items, $"{path}[{i}]", errors);
                break;
        }
    }

    /// <summary>Only items of keyed lists can be told apart over time.</summary>
    private static JsonNode? Counterpart(JsonNode? item, JsonArray? old, JsonObject schema)
    {
        if (old is null || schema.Text("x-kubernetes-list-type") != "map") return null;
        var keys = schema.Texts("x-kubernetes-list-map-keys").ToList();
        return old.FirstOrDefault(o => keys.TrueForAll(k => JsonTree.Same(o.At(k), item.At(k))));
    }

    private static void One(JsonNode value, JsonNode? old, JsonObject rule, string path, List<FieldError> errors)
    {
        var source = rule.Text("rule") ?? "";
        var isTransition = source.Contains("oldSelf", StringComparison.Ordinal);
        if (isTransition && old is null && rule.Flag("optionalOldSelf") != true) return;
        if (rule.Flag("optionalOldSelf") == true)
        {
            NotChecked.TryAdd(source, "optionalOldSelf");
            return;
        }
        if (Parsed.GetOrAdd(source, Parse) is not { } expression) return;
        try
        {
            var evaluator = new CelEvaluator().Bind("self", value);
            if (isTransition) evaluator.Bind("oldSelf", old);
            if (evaluator.Evaluate(expression) is not false) return;
            errors.Add(Broken(value, rule, path, evaluator));
        }
        catch (Exception e) when (e is CelException or OverflowException)
        {
            NotChecked.TryAdd(source, e.Message);
        }
    }

    private static CelNode? Parse(string source)
    {
        try
        {
            return CelParser.Parse(source);
        }
        catch (CelException e)
        {
            NotChecked.TryAdd(source, e.Message);
            return null;
        }
    }

    private static FieldError Broken(JsonNode value, JsonObject rule, string path, CelEvaluator evaluator)
    {
        var message = rule.Text("message") ?? $"failed rule: {rule.Text("rule")}";
        if (rule.Text("messageExpression") is { } expression && Parsed.GetOrAdd(expression, Parse) is { } parsed)
        {
            try
            {
                message = evaluator.Evaluate(parsed) as string ?? message;
            }
            catch (CelException)
            {
                // The fixed message stands, as in Kubernetes.
            }
        }
        var field = path + (rule.Text("fieldPath") ?? "");
        field = field.TrimStart('.');
        if (field.Length == 0) field = "<nil>";
        var shown = value is JsonObject or JsonArray ? "" : value.ToJsonString(Http.Responses.Json);
        return rule.Text("reason") switch
        {
            "FieldValueForbidden" => FieldError.Forbidden(field, message),
            "FieldValueRequired" => FieldError.Required(field, message),
            "FieldValueDuplicate" => FieldError.Duplicate(field, shown),
            _ when shown.Length == 0 => new FieldError("FieldValueInvalid", field, $"Invalid value: {message}"),   // maps and lists are not shown
            _ => FieldError.Invalid(field, shown, message),
        };
    }
}
