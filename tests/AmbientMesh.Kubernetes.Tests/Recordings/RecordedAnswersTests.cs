using System.Collections.Concurrent;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;

namespace AmbientMesh.Kubernetes.Tests;

/// <summary>Every recorded exchange is served again over loopback and asked for by our client, which must read what the real server said.</summary>
public sealed class RecordedAnswersTests
{
    [Fact]
    public void The_recordings_are_found_and_taken_apart()
    {
        var all = Exchanges();
        Assert.True(all.Count >= 700, $"only {all.Count} exchanges were found");
        Assert.All(all, e => Assert.InRange(e.Code, 101, 599));
    }

    [Fact]
    public async Task Our_client_reads_every_recorded_exchange()
    {
        var exchanges = Exchanges();
        RecordedExchange? current = null;
        await using var api = await LoopbackApi.StartAsync((_, context) => ServeAsync(current!, context));
        using var client = api.Client();
        var passedOver = new ConcurrentDictionary<string, int>();
        var problems = new List<string>();
        var read = 0;
        foreach (var exchange in exchanges)
        {
            if (WhyNotForUs(exchange) is { } reason)
            {
                passedOver.AddOrUpdate(reason, 1, (_, n) => n + 1);
                continue;
            }
            current = exchange;
            while (api.Seen.TryRead(out _))
            {
            }
            try
            {
                await new RecordedCall(client, exchange).CheckAsync(Patience.Token);
                await AssertSameRequestAsync(exchange, api);
                read++;
            }
            catch (Exception e)
            {
                problems.Add($"{exchange.Where} {exchange.Method} {exchange.Path}: {e.GetType().Name}: {e.Message.ReplaceLineEndings(" ")}");
            }
        }
        var summary = $"{read} of {exchanges.Count} read; passed over: {string.Join(", ", passedOver.Select(p => $"{p.Value} {p.Key}"))}";
        TestContext.Current.SendDiagnosticMessage(summary);
        Assert.True(problems.Count == 0, $"{summary}\n{string.Join('\n', problems)}");
        Assert.True(read >= 500, summary);
    }

    private static List<RecordedExchange> Exchanges()
    {
        var root = Samples.Path("samples/kubernetes");
        return [.. Directory.EnumerateFiles(root, "*.txt", SearchOption.AllDirectories).Order(StringComparer.Ordinal)
            .SelectMany(f => RecordedExchange.ReadAll(System.IO.Path.GetRelativePath(root, f), File.ReadAllText(f)))];
    }

    // Our client asks for application/json only and never execs, tails logs or reads tables.
    private static string? WhyNotForUs(RecordedExchange e)
    {
        if (e.Code is 101 or 301 or 304) return "upgrades, redirects and not-modified";
        if (e.IsShortened && !e.AnswerBody.StartsWith('{')) return "left out of the recording";
        if (e.AnswerType.Contains("as=Table", StringComparison.Ordinal) || e.AnswerType.Contains("as=Partial", StringComparison.Ordinal) || KindOf(e) is "Table" or "PartialObjectMetadataList" or "PartialObjectMetadata") return "tables and partial objects";
        if (e.AnswerType.Contains("as=APIGroupDiscoveryList", StringComparison.Ordinal)) return "aggregated discovery";
        if (e.Code < 400 && !e.AnswerType.StartsWith("application/json", StringComparison.Ordinal)) return "not JSON (logs, health, protobuf, YAML)";
        if (!e.Path.StartsWith("/api/", StringComparison.Ordinal) && !e.Path.StartsWith("/apis/", StringComparison.Ordinal)) return e.Code < 400 ? null : "paths outside the API";
        return null;
    }

    private static string? KindOf(RecordedExchange e) =>
        e.AnswerBody.Split('\n')[0] is var line && line.StartsWith("{\"type\"", StringComparison.Ordinal) ? (string?)JsonNode.Parse(line)!["object"]?["kind"]
        : e.AnswerBody.StartsWith('{') ? (string?)JsonNode.Parse(e.AnswerBody)!["kind"] : null;

    private static async Task ServeAsync(RecordedExchange exchange, HttpContext context)
    {
        context.Response.StatusCode = exchange.Code;
        context.Response.ContentType = exchange.AnswerType.Length > 0 ? exchange.AnswerType : null;
        await context.Response.Body.WriteAsync(Encoding.UTF8.GetBytes(exchange.AnswerBody), context.RequestAborted);
    }

    private static async Task AssertSameRequestAsync(RecordedExchange exchange, LoopbackApi api)
    {
        var seen = await api.Seen.ReadAsync(Patience.Token);
        Assert.Equal(exchange.Method, seen.Method);
        Assert.Equal(Uri.UnescapeDataString(exchange.Path.Split('?')[0]), Uri.UnescapeDataString(seen.Path));
        if (exchange.Method == "PATCH") Assert.Equal(exchange.RequestHeaders["Content-Type"].Split(';')[0], seen.Headers["Content-Type"].Split(';')[0]);
        if (exchange.Code < 400 && exchange.RequestHeaders.GetValueOrDefault("Content-Type") == "application/merge-patch+json")
            Assert.True(JsonNode.DeepEquals(JsonNode.Parse(exchange.RequestBody), JsonNode.Parse(seen.Body)), "the patch was changed on its way");
    }
}
