using System.Reflection;
using AmbientMesh.Kubernetes;
using YamlDotNet.Serialization;

namespace AmbientMesh.Definitions;

/// <summary>The CustomResourceDefinitions of the mesh's own kinds, as files.</summary>
public static class Definition
{
    private const string Header = "# Made by `./mesh crds` from the types in libs/Kubernetes/Objects/Mesh: change those.\n";

    /// <summary>File name and text, one for each kind.</summary>
    public static IReadOnlyList<(string File, string Text)> All()
    {
        var schemas = new SchemaOfType(new Docstrings(typeof(ServiceEntry).Assembly));
        var yaml = new SerializerBuilder().WithQuotingNecessaryStrings().DisableAliases().WithIndentedSequences().Build();
        return [.. new[] { Of<AuthorizationPolicy>(schemas), Of<PeerAuthentication>(schemas), Of<ServiceEntry>(schemas), Of<WorkloadEntry>(schemas) }.Select(d => (d.File, Header + yaml.Serialize(d.Definition)))];
    }

    private static (string File, Map Definition) Of<T>(SchemaOfType schemas) where T : KubernetesObject, IResource<T>
    {
        var type = T.Type;
        var kind = typeof(T).GetCustomAttribute<CustomKindAttribute>() ?? throw new InvalidOperationException($"{typeof(T)} has no {nameof(CustomKindAttribute)}.");
        return ($"{type.Plural}.yaml", new Map
        {
            ["apiVersion"] = "apiextensions.k8s.io/v1",
            ["kind"] = "CustomResourceDefinition",
            ["metadata"] = new Map { ["name"] = type.ToString(), ["labels"] = new Map { ["app.kubernetes.io/part-of"] = "ambientmesh" } },
            ["spec"] = new Map
            {
                ["group"] = type.Group,
                ["scope"] = type.IsNamespaced ? "Namespaced" : "Cluster",
                ["names"] = new Map
                {
                    ["kind"] = type.Kind,
                    ["listKind"] = type.Kind + "List",
                    ["plural"] = type.Plural,
                    ["singular"] = kind.Singular,
                    ["shortNames"] = kind.ShortNames.ToList<object>(),
                    ["categories"] = new List<object> { "istio-io", type.Group.Replace('.', '-') },
                },
                ["versions"] = new[] { type.Version }.Concat(kind.OtherVersions).Select(version => (object)Version<T>(schemas, kind, version, version == type.Version)).ToList(),
            },
        });
    }

    private static Map Version<T>(SchemaOfType schemas, CustomKindAttribute kind, string version, bool isStored)
    {
        var schema = new Map { ["type"] = "object" };
        if (kind.IsSpecRequired) schema["required"] = new List<object> { "spec" };
        schema["properties"] = new Map { ["spec"] = schemas.Of(typeof(T).GetProperty("Spec")!.PropertyType), ["status"] = schemas.Of(typeof(T).GetProperty("Status")!.PropertyType) };
        return new Map
        {
            ["name"] = version,
            ["served"] = true,
            ["storage"] = isStored,
            ["subresources"] = new Map { ["status"] = new Map() },
            ["additionalPrinterColumns"] = Columns(typeof(T)),
            ["schema"] = new Map { ["openAPIV3Schema"] = schema },
        };
    }

    private static List<object> Columns(Type type)
    {
        var columns = type.GetCustomAttributes<PrinterColumnAttribute>().ToLookup(c => c.IsLast, c => (object)new Map { ["name"] = c.Name, ["type"] = "string", ["jsonPath"] = c.JsonPath, ["description"] = c.Description });
        var age = new Map { ["name"] = "Age", ["type"] = "date", ["jsonPath"] = ".metadata.creationTimestamp" };
        return [.. columns[false], age, .. columns[true]];
    }
}
