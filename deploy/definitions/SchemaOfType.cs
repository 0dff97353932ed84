using System.Reflection;
using System.Text.Json;
using System.Text.Json.Serialization;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.Definitions;

/// <summary>A structural schema (apiextensions.k8s.io/v1, JSONSchemaProps) from a C# type and its attributes.</summary>
internal sealed class SchemaOfType(Docstrings docs)
{
    /// <summary>The schema of an object.</summary>
    public Map Of(Type type)
    {
        var schema = new Map { ["type"] = "object" };
        Describe(schema, docs.Of(type));
        var properties = new Map();
        var required = new List<object>();
        foreach (var property in Properties(type))
        {
            var name = property.GetCustomAttribute<JsonPropertyNameAttribute>()?.Name ?? JsonNamingPolicy.CamelCase.ConvertName(property.Name);
            properties[name] = Of(property);
            if (property.GetCustomAttribute<SchemaAttribute>() is { Required: true }) required.Add(name);
        }
        if (required.Count > 0) schema["required"] = required;
        schema["properties"] = properties;
        if (type.GetCustomAttribute<SchemaAttribute>() is { } limits) Limit(schema, limits);
        Rule(schema, type, onItems: false);
        return schema;
    }

    // Those of a base come first, as they are written.
    private static IEnumerable<PropertyInfo> Properties(Type type) =>
        (type.BaseType is { } parent && parent != typeof(object) ? Properties(parent) : []).Concat(type
            .GetProperties(BindingFlags.Instance | BindingFlags.Public | BindingFlags.DeclaredOnly)
            .Where(p => p.Name != "EqualityContract" && p.GetCustomAttribute<JsonIgnoreAttribute>() is null)
            .OrderBy(p => p.MetadataToken));

    private Map Of(PropertyInfo property)
    {
        var limits = property.GetCustomAttribute<SchemaAttribute>();
        var schema = limits is { IntOrString: true }
            ? new Map { ["x-kubernetes-int-or-string"] = true, ["anyOf"] = new List<object> { new Map { ["type"] = "integer" }, new Map { ["type"] = "string" } } }
            : OfValue(Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType);
        Describe(schema, docs.Of(property));
        if (limits is not null) Limit(schema, limits);
        Rule(schema, property, onItems: false);
        if (Inner(schema) is not { } inner) return schema;
        if (limits is not null) LimitItems(inner, limits);
        Rule(inner, property, onItems: true);
        return schema;
    }

    private Map OfValue(Type type)
    {
        if (type == typeof(string)) return new Map { ["type"] = "string" };
        if (type == typeof(bool)) return new Map { ["type"] = "boolean" };
        if (type == typeof(uint)) return new Map { ["type"] = "integer", ["minimum"] = 0L, ["maximum"] = 4294967295L };
        if (type == typeof(DateTimeOffset)) return new Map { ["type"] = "string", ["format"] = "date-time" };
        if (ItemOf(type, typeof(IReadOnlyList<>)) is [var item]) return new Map { ["type"] = "array", ["items"] = OfValue(item) };
        if (ItemOf(type, typeof(IReadOnlyDictionary<,>)) is [_, var value]) return new Map { ["type"] = "object", ["additionalProperties"] = OfValue(value) };
        return type.IsClass ? Of(type) : throw new NotSupportedException($"a field of type {type}");
    }

    private static Type[] ItemOf(Type type, Type generic) => type.IsGenericType && type.GetGenericTypeDefinition() == generic ? type.GetGenericArguments() : [];

    private static Map? Inner(Map schema) => (schema.GetValueOrDefault("items") ?? schema.GetValueOrDefault("additionalProperties")) as Map;

    private static void Describe(Map schema, string? text)
    {
        if (text is not null) schema["description"] = text;
    }

    private static void Limit(Map schema, SchemaAttribute limits)
    {
        Set(schema, "minLength", limits.MinLength);
        Set(schema, "maxLength", limits.MaxLength);
        Set(schema, "minItems", limits.MinItems);
        Set(schema, "maxItems", limits.MaxItems);
        Set(schema, "minProperties", limits.MinProperties);
        Set(schema, "maxProperties", limits.MaxProperties);
        if (limits.Pattern is { } pattern) schema["pattern"] = pattern;
        if (limits.Enum.Length > 0) schema["enum"] = limits.Enum.ToList<object>();
        if (limits.KeepsUnknown) schema["x-kubernetes-preserve-unknown-fields"] = true;
        if (limits.ListMapKey is not { } key) return;
        schema["x-kubernetes-list-type"] = "map";
        schema["x-kubernetes-list-map-keys"] = new List<object> { key };
    }

    private static void LimitItems(Map schema, SchemaAttribute limits)
    {
        Set(schema, "minLength", limits.ItemMinLength);
        Set(schema, "maxLength", limits.ItemMaxLength);
        if (limits.ItemPattern is { } pattern) schema["pattern"] = pattern;
    }

    private static void Set(Map schema, string name, int value)
    {
        if (value >= 0) schema[name] = (long)value;
    }

    private static void Rule(Map schema, MemberInfo member, bool onItems)
    {
        var rules = member.GetCustomAttributes<RuleAttribute>().Where(r => r.OnItems == onItems).Select(r => (object)new Map { ["rule"] = r.Rule, ["message"] = r.Message }).ToList();
        if (rules.Count == 0) return;
        if (schema.GetValueOrDefault("x-kubernetes-validations") is List<object> there) there.AddRange(rules);
        else schema["x-kubernetes-validations"] = rules;
    }
}

/// <summary>A mapping whose entries stay in the order they were added.</summary>
internal sealed class Map : Dictionary<string, object>
{
    public Map() : base(StringComparer.Ordinal)
    {
    }
}
