using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Http;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Tests.Api.Replay;

/// <summary>The custom resource definitions a recording presumes.</summary>
internal static class CustomKinds
{
    private static readonly GroupResource Definitions = new("apiextensions.k8s.io", "customresourcedefinitions");

    public static async Task InstallAsync(ApiServer server, IReadOnlyList<Exchange> exchanges, string file)
    {
        if (exchanges.Any(e => e.Target.Contains("/example.test/", StringComparison.Ordinal) || e.Answer.Contains("example.test", StringComparison.Ordinal)) && file != "crd/lifecycle.txt")
        {
            var widget = Recording.Read(Samples.Path("samples/kubernetes/crd/crd-settled.txt")).Select(e => e.Json).OfType<JsonObject>().First(o => o.Kind() == "CustomResourceDefinition");
            await CreateAsync(server, widget);
        }
        if (exchanges.Any(e => e.Target.Contains("gateway.networking.k8s.io", StringComparison.Ordinal)))
            foreach (var definition in YamlText.ParseAll(Samples.Text("crds/gateway-api-v1.6.1-standard.yaml")).Where(d => d.Kind() == "CustomResourceDefinition")) await CreateAsync(server, definition);
    }

    private static async Task CreateAsync(ApiServer server, JsonObject definition)
    {
        var fresh = new JsonObject { ["apiVersion"] = "apiextensions.k8s.io/v1", ["kind"] = "CustomResourceDefinition", ["metadata"] = new JsonObject { ["name"] = definition.Name() }, ["spec"] = definition["spec"]!.DeepClone() };
        server.Store.Create(Definitions, fresh);
        using var watch = server.Store.Watch(Definitions, new(Fields: FieldSelector.Of("metadata.name", definition.Name())));
        await foreach (var e in watch.ReadAllAsync(Patience.Token))
            if (e.Object.Objects("status", "conditions").Any(c => c.Text("type") == "Established" && c.Text("status") == "True")) return;
    }
}
