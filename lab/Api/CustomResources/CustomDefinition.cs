using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.CustomResources;

/// <summary>From a CustomResourceDefinition to the resources it adds.</summary>
internal static class CustomDefinition
{
    private static readonly string[] Verbs = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

    /// <summary>Its served versions, the best first.</summary>
    public static IEnumerable<ApiResource> Versions(JsonObject definition)
    {
        var spec = definition.Map("spec") ?? [];
        var names = spec.Map("names") ?? [];
        foreach (var version in spec.Objects("versions").Where(v => v.Flag("served") == true).OrderByDescending(v => Http.Discovery.VersionRank(v.Text("name") ?? "")))
        {
            var scale = version.Map("subresources", "scale");
            var hasStatus = version.Map("subresources", "status") is not null;
            List<string> subresources = [];
            if (hasStatus) subresources.Add("status");
            if (scale is not null) subresources.Add("scale");
            var schema = version.Map("schema", "openAPIV3Schema");
            yield return new ApiResource
            {
                Group = spec.Text("group") ?? "",
                Version = version.Text("name") ?? "",
                Plural = names.Text("plural") ?? "",
                Singular = names.Text("singular") ?? "",
                Kind = names.Text("kind") ?? "",
                ListKind = names.Text("listKind") ?? names.Text("kind") + "List",
                IsNamespaced = spec.Text("scope") == "Namespaced",
                ShortNames = [.. names.Texts("shortNames")],
                Categories = [.. names.Texts("categories")],
                Subresources = subresources,
                Verbs = Verbs,
                Custom = new CustomVersion
                {
                    Definition = definition.Name(),
                    Schema = schema,
                    HasStatus = hasStatus,
                    Scale = scale,
                    Columns = [.. version.Objects("additionalPrinterColumns")],
                    IsStorage = version.Flag("storage") == true,
                    SelectableFields = [.. version.Objects("selectableFields").Select(f => (f.Text("jsonPath") ?? "").TrimStart('.'))],
                    DeprecationWarning = version.Flag("deprecated") == true
                        ? version.Text("deprecationWarning") ?? $"{spec.Text("group")}/{version.Text("name")} {names.Text("kind")} is deprecated" : null,
                },
            };
        }
    }
}
