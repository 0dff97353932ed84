using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Http;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Tests.Api.Replay;

/// <summary>The requests recorded against a real cluster get answers of the same status and shape from the lab's API server.</summary>
public sealed class RecordedRequestsTests(ITestOutputHelper output)
{
    private const string Folder = "samples/kubernetes";

    /// <summary>Files of request-answer recordings, relative to the folder.</summary>
    public static TheoryData<string> Files()
    {
        var root = Path.Combine(Samples.Root, "..", "shared", Folder);
        var data = new TheoryData<string>();
        if (!Directory.Exists(root))
        {
            data.Add("absent");
            return data;
        }
        foreach (var group in (string[])["auth", "crd", "discovery", "kubectl", "objects", "semantics", "tables"])
            foreach (var file in Directory.GetFiles(Path.Combine(root, group), "*.txt").Order(StringComparer.Ordinal))
                if (Recording.Read(file).Count > 0 && !NotReplayed.Files.ContainsKey($"{group}/{Path.GetFileName(file)}")) data.Add($"{group}/{Path.GetFileName(file)}");
        return data;
    }

    [Theory]
    [MemberData(nameof(Files))]
    public async Task A_recorded_request_gets_the_same_status_and_shape(string file)
    {
        var exchanges = Recording.Read(Samples.Path($"{Folder}/{file}"));
        await using var server = await ReplayServer.StartAsync(NotReplayed.AccountOf(file));
        await CustomKinds.InstallAsync(server.Server, exchanges, file);
        var (passed, skipped) = (0, 0);
        var failures = new List<string>();
        for (var i = 0; i < exchanges.Count; i++)
        {
            var exchange = exchanges[i];
            if (NotReplayed.Reason(file, exchange) is { } reason)
            {
                skipped++;
                output.WriteLine($"skipped {file}:{exchange.Line} {exchange.Method} {exchange.Target}: {reason}");
                continue;
            }
            var before = exchanges.Take(i).ToList();
            server.Prepare(exchange, info => LastKnown(before, exchange, info));
            var differences = await DifferencesAsync(server, exchange);
            await server.AdoptAsync(exchange);
            if (differences.Count == 0) passed++;
            else failures.Add($"{file}:{exchange.Line} {exchange.Remark}\n  {exchange.Method} {exchange.Target}\n    {string.Join("\n    ", differences)}");
        }
        output.WriteLine($"{file}: {passed} alike, {failures.Count} different, {skipped} not replayed");
        Assert.True(failures.Count == 0, string.Join("\n", failures));
    }

    private static async Task<List<string>> DifferencesAsync(ReplayServer server, Exchange exchange)
    {
        var (status, type, body) = await server.SendAsync(exchange);
        if (status != exchange.Status) return [$"status {status} (recorded {exchange.Status}): {(body.Length > 400 ? body[..400] : body)}"];
        var differences = new List<string>();
        var expected = exchange.AnswerHeaders.GetValueOrDefault("Content-Type", "").Split(';')[0];
        if (expected.Length > 0 && type.Split(';')[0] != expected && expected != "application/vnd.kubernetes.protobuf") differences.Add($"content type {type} (recorded {expected})");
        if (exchange.Json is { } json) differences.AddRange(ShapeComparison.Compare(json, Recording.FirstJson(body)));
        else if (expected == "text/plain" && !exchange.IsShortened && !exchange.Target.Contains("verbose", StringComparison.Ordinal)
            && exchange.Answer.Trim() != body.Trim()) differences.Add($"body {body} (recorded {exchange.Answer})");
        return differences;
    }

    /// <summary>The newest recorded state of the object a request is about: before it, else in its own answer.</summary>
    private static JsonObject? LastKnown(List<Exchange> before, Exchange current, RequestInfo info)
    {
        foreach (var exchange in before.AsEnumerable().Reverse().Append(current))
        {
            if (exchange.Json is not JsonObject answer || exchange.Status >= 300) continue;
            if (answer.Name() == info.Name && answer.Namespace() == (info.Resource == "namespaces" ? "" : info.Namespace) && answer.Kind() is not ("Scale" or "Status" or "Table" or "PartialObjectMetadata")) return answer;
            foreach (var item in answer.Objects("items"))
            {
                if (item.Name() != info.Name || item.Namespace() != info.Namespace || !answer.Kind().EndsWith("List", StringComparison.Ordinal) || answer.Kind() == "PartialObjectMetadataList") continue;
                var copy = item.Copy();
                copy["kind"] = answer.Kind()[..^4];
                copy["apiVersion"] = answer.ApiVersion();
                return copy;
            }
        }
        return null;
    }
}
