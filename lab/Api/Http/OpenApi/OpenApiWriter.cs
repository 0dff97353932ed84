using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Schema;

namespace AmbientMesh.Lab.Api.Http.OpenApi;

/// <summary>Writes the OpenAPI v3 document of one group and version from the schema tables and custom definitions.</summary>
internal static class OpenApiWriter
{
    private const string Reference = "#/components/schemas/";

    public static JsonObject Document(IReadOnlyList<ApiResource> resources)
    {
        var schemas = new JsonObject();
        var paths = new JsonObject();
        foreach (var resource in resources)
        {
            var name = SchemaName(resource);
            if (resource.Custom is { } custom) schemas[name] = CustomSchema(resource, custom.Schema, schemas);
            else if (resource.Type is not null) Add(resource.Type, schemas, resource);
            else schemas[name] = new JsonObject { ["type"] = "object", ["x-kubernetes-group-version-kind"] = new JsonArray(KindOf(resource)), ["x-kubernetes-preserve-unknown-fields"] = true };
            schemas[name + "List"] = ListSchema(resource, name, schemas);
            AddPaths(paths, resource, name);
        }
        schemas["io.k8s.apimachinery.pkg.apis.meta.v1.Patch"] = new JsonObject { ["description"] = "Patch is provided to give a concrete name and type to the Kubernetes PATCH request body.", ["type"] = "object" };
        return new JsonObject
        {
            ["openapi"] = "3.0.0",
            ["info"] = new JsonObject { ["title"] = "Kubernetes", ["version"] = "1.36" },
            ["paths"] = paths,
            ["components"] = new JsonObject { ["schemas"] = schemas },
        };
    }

    private static string SchemaName(ApiResource r) => r.IsCustom ? $"{string.Join('.', r.Group.Split('.').Reverse())}.{r.Version}.{r.Kind}"
        : r.Type is not null ? NameOf(r.Type) : $"io.k8s.api.{(r.Group.Length == 0 ? "core" : r.Group.Split('.')[0])}.{r.Version}.{r.Kind}";

    private static string NameOf(SchemaType type)
    {
        if (type.Name.StartsWith("meta.", StringComparison.Ordinal)) return $"io.k8s.apimachinery.pkg.apis.{type.Name}";
        if (type.Name.StartsWith("apiextensions.", StringComparison.Ordinal)) return $"io.k8s.apiextensions-apiserver.pkg.apis.{type.Name}";
        if (type.Name.StartsWith("apiregistration.", StringComparison.Ordinal)) return $"io.k8s.kube-aggregator.pkg.apis.{type.Name}";
        return $"io.k8s.api.{type.Name}";
    }

    private static JsonObject KindOf(ApiResource r) => new() { ["group"] = r.Group, ["kind"] = r.Kind, ["version"] = r.Version };

    private static void Add(SchemaType type, JsonObject schemas, ApiResource? kind)
    {
        var name = NameOf(type);
        if (schemas.ContainsKey(name)) return;
        var schema = new JsonObject { ["description"] = $"{type.Name.Split('.')[^1]}.", ["type"] = "object" };
        schemas[name] = schema;
        var required = type.Fields.Where(f => f.IsRequired).Select(f => (JsonNode)JsonValue.Create(f.Name)!).ToArray();
        if (required.Length > 0) schema["required"] = new JsonArray(required);
        var properties = new JsonObject();
        foreach (var field in type.Fields.OrderBy(f => f.Name, StringComparer.Ordinal)) properties[field.Name] = Property(field.Shape, schemas, topLevel: true);
        schema["properties"] = properties;
        if (kind is not null) schema["x-kubernetes-group-version-kind"] = new JsonArray(KindOf(kind));
        if (type.IsAtomic) schema["x-kubernetes-map-type"] = "atomic";
    }

    private static JsonObject Property(FieldShape shape, JsonObject schemas, bool topLevel)
    {
        switch (shape.Kind)
        {
            case ShapeKind.Struct:
                Add(shape.Type!, schemas, null);
                var reference = new JsonObject { ["$ref"] = Reference + NameOf(shape.Type!) };
                if (!topLevel) return reference;
                var wrapped = new JsonObject { ["allOf"] = new JsonArray(reference) };
                if (shape.RetainsKeys) wrapped["x-kubernetes-patch-strategy"] = "retainKeys";
                return wrapped;
            case ShapeKind.List:
                return ListOf(shape, schemas);
            case ShapeKind.Map:
                var map = new JsonObject { ["type"] = "object", ["additionalProperties"] = Property(shape.Element!, schemas, topLevel: false) };
                if (shape.IsAtomic) map["x-kubernetes-map-type"] = "atomic";
                return map;
            default:
                return Scalar(shape.Kind);
        }
    }

    private static JsonObject ListOf(FieldShape shape, JsonObject schemas)
    {
        var list = new JsonObject { ["type"] = "array", ["items"] = Property(shape.Element!, schemas, topLevel: false) };
        if (shape.Keys.Count > 0) list["x-kubernetes-list-map-keys"] = new JsonArray([.. shape.Keys.Select(k => (JsonNode)JsonValue.Create(k)!)]);
        list["x-kubernetes-list-type"] = shape.Ownership switch { ListOwnership.Map => "map", ListOwnership.Set => "set", _ => "atomic" };
        if (shape.MergeKey is not null) list["x-kubernetes-patch-merge-key"] = shape.MergeKey;
        if (shape.MergesStrategically) list["x-kubernetes-patch-strategy"] = shape.RetainsKeys ? "merge,retainKeys" : "merge";
        return list;
    }

    private static JsonObject Scalar(ShapeKind kind) => kind switch
    {
        ShapeKind.Text => new JsonObject { ["type"] = "string" },
        ShapeKind.Bytes => new JsonObject { ["type"] = "string", ["format"] = "byte" },
        ShapeKind.Int32 => new JsonObject { ["type"] = "integer", ["format"] = "int32" },
        ShapeKind.Int64 => new JsonObject { ["type"] = "integer", ["format"] = "int64" },
        ShapeKind.Double => new JsonObject { ["type"] = "number", ["format"] = "double" },
        ShapeKind.Boolean => new JsonObject { ["type"] = "boolean" },
        ShapeKind.Time or ShapeKind.MicroTime => new JsonObject { ["type"] = "string", ["format"] = "date-time" },
        ShapeKind.Quantity => new JsonObject { ["oneOf"] = new JsonArray(new JsonObject { ["type"] = "string" }, new JsonObject { ["type"] = "number" }) },
        ShapeKind.IntOrString => new JsonObject { ["format"] = "int-or-string", ["oneOf"] = new JsonArray(new JsonObject { ["type"] = "integer" }, new JsonObject { ["type"] = "string" }) },
        _ => new JsonObject { ["type"] = "object", ["x-kubernetes-preserve-unknown-fields"] = true },
    };

    private static JsonObject CustomSchema(ApiResource resource, JsonObject? schema, JsonObject schemas)
    {
        Add(SchemaTable.Get("meta.v1.ObjectMeta"), schemas, null);
        var result = schema?.Copy() ?? new JsonObject { ["type"] = "object", ["x-kubernetes-preserve-unknown-fields"] = true };
        var properties = result.Ensure("properties");
        properties["apiVersion"] = new JsonObject { ["type"] = "string", ["description"] = "APIVersion defines the versioned schema of this representation of an object." };
        properties["kind"] = new JsonObject { ["type"] = "string", ["description"] = "Kind is a string value representing the REST resource this object represents." };
        properties["metadata"] = new JsonObject { ["description"] = "Standard object's metadata.", ["allOf"] = new JsonArray(new JsonObject { ["$ref"] = Reference + "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" }) };
        result["x-kubernetes-group-version-kind"] = new JsonArray(KindOf(resource));
        return result;
    }

    private static JsonObject ListSchema(ApiResource resource, string name, JsonObject schemas)
    {
        Add(SchemaTable.Get("meta.v1.ListMeta"), schemas, null);
        return new JsonObject
        {
            ["description"] = $"{resource.ListKind} is a list of {resource.Kind}.",
            ["type"] = "object",
            ["required"] = new JsonArray("items"),
            ["properties"] = new JsonObject
            {
                ["apiVersion"] = new JsonObject { ["type"] = "string" },
                ["items"] = new JsonObject { ["type"] = "array", ["items"] = new JsonObject { ["$ref"] = Reference + name } },
                ["kind"] = new JsonObject { ["type"] = "string" },
                ["metadata"] = new JsonObject { ["allOf"] = new JsonArray(new JsonObject { ["$ref"] = Reference + "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta" }) },
            },
            ["x-kubernetes-group-version-kind"] = new JsonArray(new JsonObject { ["group"] = resource.Group, ["kind"] = resource.ListKind, ["version"] = resource.Version }),
        };
    }

    private static readonly string[] WriteParameters = ["dryRun", "fieldManager", "fieldValidation", "force"];

    private static void AddPaths(JsonObject paths, ApiResource r, string schema)
    {
        var root = r.Group.Length == 0 ? $"/api/{r.Version}" : $"/apis/{r.Group}/{r.Version}";
        var collection = r.IsNamespaced ? $"{root}/namespaces/{{namespace}}/{r.Plural}" : $"{root}/{r.Plural}";
        paths[collection] = new JsonObject
        {
            ["get"] = Operation(r, "list", schema + "List", []),
            ["post"] = Operation(r, "post", schema, ["dryRun", "fieldManager", "fieldValidation"]),
        };
        if (r.IsNamespaced) paths[$"{root}/{r.Plural}"] = new JsonObject { ["get"] = Operation(r, "list", schema + "List", []) };
        if (!r.IsStored) return;
        paths[$"{collection}/{{name}}"] = Item(r, schema);
        if (r.HasStatus) paths[$"{collection}/{{name}}/status"] = Item(r, schema);
    }

    private static JsonObject Item(ApiResource r, string schema) => new()
    {
        ["get"] = Operation(r, "get", schema, []),
        ["put"] = Operation(r, "put", schema, ["dryRun", "fieldManager", "fieldValidation"]),
        ["patch"] = Operation(r, "patch", schema, WriteParameters),
        ["delete"] = Operation(r, "delete", schema, ["dryRun"]),
    };

    private static JsonObject Operation(ApiResource r, string action, string schema, string[] parameters)
    {
        var content = new JsonObject { ["application/json"] = new JsonObject { ["schema"] = new JsonObject { ["$ref"] = Reference + schema } } };
        var operation = new JsonObject
        {
            ["operationId"] = $"{action}{r.Version}{r.Kind}{schema.Length}",
            ["parameters"] = new JsonArray([.. parameters.Select(p => new JsonObject
            {
                ["name"] = p, ["in"] = "query", ["schema"] = new JsonObject { ["type"] = p == "force" ? "boolean" : "string", ["uniqueItems"] = true },
            })]),
            ["responses"] = new JsonObject { ["200"] = new JsonObject { ["description"] = "OK", ["content"] = content } },
            ["x-kubernetes-action"] = action,
            ["x-kubernetes-group-version-kind"] = KindOf(r),
        };
        if (action == "patch")
        {
            var patch = new JsonObject { ["$ref"] = Reference + "io.k8s.apimachinery.pkg.apis.meta.v1.Patch" };
            string[] types = r.IsCustom ? ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"]
                : ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"];
            var bodies = new JsonObject();
            foreach (var type in types) bodies[type] = new JsonObject { ["schema"] = patch.Copy() };
            operation["requestBody"] = new JsonObject { ["content"] = bodies };
        }
        return operation;
    }
}
