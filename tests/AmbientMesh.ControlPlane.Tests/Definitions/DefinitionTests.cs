using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Tests.Translation;
using AmbientMesh.Definitions;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Tests.Definitions;

/// <summary>The definitions of the mesh's own kinds, made from their C# types.</summary>
public class DefinitionTests
{
    /// <summary>Fields that the compared definitions leave to "unknown fields are kept".</summary>
    private static readonly string[] OwnFields = ["status.addresses"];

    private static Dictionary<string, JsonObject> Ours { get; } = Definition.All().ToDictionary(d => d.File, d => KubernetesObjects.JsonOfYaml(d.Text).Single());

    public static TheoryData<string> Files => [.. Ours.Keys];

    [Theory]
    [MemberData(nameof(Files))]
    public void The_file_in_deploy_is_what_the_types_make(string file)
    {
        var made = Definition.All().Single(d => d.File == file).Text;
        Assert.True(File.ReadAllText(Path.Combine(Samples.Root, "deploy", "crds", file)) == made, $"deploy/crds/{file} is not what the types make; run ./mesh crds");
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Every_field_stands_as_in_the_definitions_of_Istio(string file)
    {
        var ours = Ours[file];
        var theirs = KubernetesObjects.JsonOfYaml(Samples.Text("crds/istio-1.32-dev.yaml")).Single(d => Text(d["metadata"]!["name"]) == Text(ours["metadata"]!["name"]));
        var differences = new List<string>();
        foreach (var part in new[] { "group", "scope", "names" })
            if (Sorted(theirs["spec"]![part]) != Sorted(ours["spec"]![part])) differences.Add($"spec.{part}: {Sorted(theirs["spec"]![part])} there, {Sorted(ours["spec"]![part])} here");
        var versions = Versions(theirs);
        if (Describe(versions) != Describe(Versions(ours))) differences.Add($"versions: {Describe(versions)} there, {Describe(Versions(ours))} here");
        foreach (var (name, version) in versions)
            if (Versions(ours).TryGetValue(name, out var own)) Compare(Schema(version), Schema(own), "", name, differences);
        Assert.True(differences.Count == 0, string.Join("\n", differences));
    }

    private static string Text(JsonNode? node) => (string?)node ?? "";

    private static SortedDictionary<string, JsonObject> Versions(JsonObject definition) => new(definition["spec"]!["versions"]!.AsArray().ToDictionary(v => Text(v!["name"]), v => v!.AsObject()), StringComparer.Ordinal);

    private static string Describe(SortedDictionary<string, JsonObject> versions) =>
        string.Join(", ", versions.Select(v => $"{v.Key} served {v.Value["served"]} stored {v.Value["storage"]} status {v.Value["subresources"]?["status"] is not null}"));

    private static JsonObject Schema(JsonObject version) => version["schema"]!["openAPIV3Schema"]!.AsObject();

    private static string Sorted(JsonNode? node) => node switch
    {
        JsonObject o => "{" + string.Join(",", o.OrderBy(p => p.Key, StringComparer.Ordinal).Select(p => $"{p.Key}:{Sorted(p.Value)}")) + "}",
        JsonArray a => "[" + string.Join(",", a.Select(Sorted).Order(StringComparer.Ordinal)) + "]",
        null => "-",
        var value => value.ToString(),
    };

    /// <summary>Path, type, enumeration, required fields, kind of list; what is kept unknown may be more here.</summary>
    private static void Compare(JsonObject theirs, JsonObject ours, string path, string version, List<string> differences)
    {
        foreach (var word in new[] { "type", "enum", "required", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-int-or-string", "format" })
        {
            if (path.Length == 0 && word == "type") continue;   // the root's type may be left out
            if (Sorted(theirs[word]) != Sorted(ours[word])) differences.Add($"{version} {path}: {word} is {Sorted(theirs[word])} there, {Sorted(ours[word])} here");
        }
        if (theirs["x-kubernetes-preserve-unknown-fields"] is not null && ours["x-kubernetes-preserve-unknown-fields"] is null) differences.Add($"{version} {path}: unknown fields are kept there");
        foreach (var inner in new[] { "items", "additionalProperties" })
            if (theirs[inner] is JsonObject there && ours[inner] is JsonObject here) Compare(there, here, path + (inner == "items" ? "[]" : ".*"), version, differences);
            else if (theirs[inner] is not null != ours[inner] is not null) differences.Add($"{version} {path}: {inner} only on one side");
        var names = (theirs["properties"] as JsonObject ?? []).Select(p => p.Key).ToHashSet();
        foreach (var name in names.Concat((ours["properties"] as JsonObject ?? []).Select(p => p.Key)).Distinct())
        {
            var at = $"{path}.{name}".TrimStart('.');
            var here = ours["properties"]?[name] as JsonObject;
            if (here is null) differences.Add($"{version} {at}: not here");
            else if (theirs["properties"]?[name] is JsonObject there) Compare(there, here, at, version, differences);
            else if (!OwnFields.Contains(at)) differences.Add($"{version} {at}: not there");
        }
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Every_field_is_described_and_every_list_that_a_rule_walks_is_bounded(string file)
    {
        var problems = new List<string>();
        foreach (var (name, version) in Versions(Ours[file])) Check(Schema(version)["properties"]!["spec"]!.AsObject(), "spec", name, problems);
        Assert.True(problems.Count == 0, string.Join("\n", problems));
    }

    // An API server refuses a definition whose rules could cost too much: it takes what has no limit for as long as a request may be.
    private static void Check(JsonObject schema, string path, string version, List<string> problems)
    {
        if (schema["description"] is null && !path.EndsWith(']') && !path.EndsWith('*')) problems.Add($"{version} {path}: not described");
        foreach (var rule in schema["x-kubernetes-validations"] as JsonArray ?? [])
        {
            if (Text(rule!["message"]).Length == 0) problems.Add($"{version} {path}: a rule without message");
            if (Text(rule["rule"]).StartsWith("self.all(", StringComparison.Ordinal) && schema["maxItems"] is null && schema["maxProperties"] is null && !path.EndsWith("portLevelMtls", StringComparison.Ordinal)) problems.Add($"{version} {path}: no limit");
        }
        foreach (var (name, child) in schema["properties"] as JsonObject ?? []) Check(child!.AsObject(), $"{path}.{name}", version, problems);
        if (schema["items"] is JsonObject items) Check(items, $"{path}[]", version, problems);
        if (schema["additionalProperties"] is JsonObject values) Check(values, $"{path}.*", version, problems);
    }

    [Fact]
    public void What_the_control_plane_reads_can_be_read_from_a_full_object()
    {
        var entry = (ServiceEntry)KubernetesObjects.Typed(KubernetesObjects.JsonOfYaml("""
            kind: ServiceEntry
            metadata: {name: e, namespace: shop}
            spec: {hosts: [a.example.com], ports: [{number: 80, name: http, targetPort: 8080}], resolution: STATIC, endpoints: [{address: 192.0.2.1, weight: 5, ports: {http: 81}}], workloadSelector: {labels: {a: b}}}
            status: {observedGeneration: "7", conditions: [{type: X, status: "True", observedGeneration: "3", lastTransitionTime: "2026-01-01T00:00:00Z"}, {type: Y, observedGeneration: 4}]}
            """).Single());
        Assert.Equal((7, 3, 4), (entry.Status.ObservedGeneration, entry.Status.Conditions[0].ObservedGeneration, entry.Status.Conditions[1].ObservedGeneration));
        Assert.Equal((80u, 8080u, 5u, 81u), (entry.Spec.Ports[0].Number, entry.Spec.Ports[0].TargetPort, entry.Spec.Endpoints![0].Weight, entry.Spec.Endpoints[0].Ports!["http"]));
    }
}
