using System.Text.Json;
using System.Text.Json.Nodes;

namespace AmbientMesh.Kubernetes.Tests;

/// <summary>Memory is measured for the whole process, so nothing may run beside these.</summary>
[CollectionDefinition(nameof(Alone), DisableParallelization = true)]
public class Alone;

/// <summary>Objects recorded whole, outside any exchange: pods in every state, slices, nodes.</summary>
[Collection(nameof(Alone))]
public sealed class RecordedObjectsTests
{
    private const int Copies = 2000;

    [Fact]
    public void Our_types_read_every_recorded_object()
    {
        var read = new Dictionary<string, int>();
        foreach (var (where, o) in Objects())
        {
            var kind = (string?)o["kind"] ?? "";
            object? typed = kind switch
            {
                "Pod" => Read<Pod>(o, where),
                "Service" => Read<Service>(o, where),
                "Node" => Read<Node>(o, where),
                "Namespace" => Read<Namespace>(o, where),
                "EndpointSlice" => Read<EndpointSlice>(o, where),
                "ConfigMap" => Read<ConfigMap>(o, where),
                "Deployment" => Read<Deployment>(o, where),
                "ReplicaSet" => Read<ReplicaSet>(o, where),
                "DaemonSet" => Read<DaemonSet>(o, where),
                "Lease" => Read<Lease>(o, where),
                _ => null,
            };
            if (typed is not null) read[kind] = read.GetValueOrDefault(kind) + 1;
        }
        TestContext.Current.SendDiagnosticMessage(string.Join(", ", read.Select(r => $"{r.Value} {r.Key}")));
        Assert.True(read.GetValueOrDefault("Pod") >= 20, $"only {read.GetValueOrDefault("Pod")} pods were found");
    }

    [Fact]
    public void Fifty_thousand_pods_fit_into_a_fifth_of_the_control_planes_memory()
    {
        var pod = Objects().First(o => (string?)o.Json["kind"] == "Pod" && (string?)o.Json["status"]?["phase"] == "Running").Json;
        var bytes = JsonSerializer.SerializeToUtf8Bytes(pod, KubernetesJson.Of<JsonObject>());
        var held = new Pod[Copies];
        var before = GC.GetTotalMemory(forceFullCollection: true);
        for (var i = 0; i < Copies; i++) held[i] = JsonSerializer.Deserialize(bytes, KubernetesJson.Of<Pod>())!;
        var each = (GC.GetTotalMemory(forceFullCollection: true) - before) / Copies;
        GC.KeepAlive(held);
        TestContext.Current.SendDiagnosticMessage($"{each} bytes held per pod of {bytes.Length} bytes of JSON");
        Assert.True(each < 8 * 1024, $"{each} bytes per pod; 50,000 may take 400 MB");
    }

    private static T Read<T>(JsonObject o, string where) where T : KubernetesObject, IResource<T>
    {
        using var document = JsonDocument.Parse(o.ToJsonString());
        Assert.True(ObjectReading.TryRead(document.RootElement, T.Kind, out var read, out var unreadable), $"{where}: {unreadable}");
        Assert.Equal((string?)o["metadata"]!["uid"], read.Metadata.Uid);
        return read;
    }

    /// <summary>Every JSON object that begins and ends in the first column and has a name.</summary>
    private static IEnumerable<(string Where, JsonObject Json)> Objects()
    {
        foreach (var file in Directory.EnumerateFiles(Samples.Path("samples/kubernetes"), "*.txt", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            var lines = File.ReadAllLines(file);
            for (var first = 0; first < lines.Length; first++)
            {
                if (lines[first] != "{") continue;
                var last = Array.IndexOf(lines, "}", first);
                if (last < 0 || lines[first..last].Any(l => l.StartsWith("... (", StringComparison.Ordinal) || l.StartsWith("=====", StringComparison.Ordinal))) continue;
                if (TryParse(string.Join('\n', lines[first..(last + 1)])) is { } o && o["metadata"]?["name"] is not null) yield return ($"{System.IO.Path.GetFileName(file)}:{first + 1}", o);
                first = last;
            }
        }
    }

    private static JsonObject? TryParse(string text)
    {
        try
        {
            return JsonNode.Parse(text) as JsonObject;
        }
        catch (JsonException)
        {
            return null;   // a block with remarks inside
        }
    }
}
