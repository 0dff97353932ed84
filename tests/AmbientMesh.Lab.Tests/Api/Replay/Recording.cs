using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace AmbientMesh.Lab.Tests.Api.Replay;

/// <summary>One recorded request with its answer.</summary>
public sealed record Exchange
{
    public required int Line { get; init; }
    public required string Remark { get; init; }
    public required string Method { get; init; }
    public required string Target { get; init; }
    public required IReadOnlyList<(string Name, string Value)> Headers { get; init; }
    public required string Body { get; init; }
    public required int Status { get; init; }
    public required IReadOnlyDictionary<string, string> AnswerHeaders { get; init; }
    public required string Answer { get; init; }

    public string? Header(string name) => Headers.FirstOrDefault(h => h.Name.Equals(name, StringComparison.OrdinalIgnoreCase)).Value;
    public bool IsWatch => Answer.StartsWith("[+", StringComparison.Ordinal) || Target.Contains("watch=", StringComparison.Ordinal);
    public bool IsShortened => Answer.Contains("... (shortened", StringComparison.Ordinal) || Answer.Contains("(line shortened", StringComparison.Ordinal);
    public bool HasShortenedBody => Body.Contains("... (shortened", StringComparison.Ordinal) || Body.Contains("<protobuf", StringComparison.Ordinal);

    /// <summary>The answer's JSON; null when it is none or was shortened.</summary>
    public JsonNode? Json
    {
        get
        {
            try
            {
                return IsShortened ? null : Recording.FirstJson(Answer);
            }
            catch (JsonException)
            {
                return null;
            }
        }
    }
}

/// <summary>Reads the recordings' own format: request, blank line, body, <c>--&gt;</c> answer.</summary>
public static partial class Recording
{
    [GeneratedRegex(@"^(GET|POST|PUT|PATCH|DELETE) (/\S*)( HTTP/1\.1)?$")]
    private static partial Regex RequestLine();
    [GeneratedRegex(@"^--> HTTP/1\.1 (\d+)")]
    private static partial Regex AnswerLine();

    /// <summary>The first JSON object of a text; null when it begins otherwise.</summary>
    public static JsonNode? FirstJson(string text)
    {
        if (!text.StartsWith('{')) return null;
        var reader = new Utf8JsonReader(Encoding.UTF8.GetBytes(text));
        return JsonNode.Parse(ref reader);
    }

    public static List<Exchange> Read(string path)
    {
        var lines = File.ReadAllLines(path);
        var exchanges = new List<Exchange>();
        var remark = "";
        for (var i = 0; i < lines.Length; i++)
        {
            if (lines[i].StartsWith('#') || lines[i].StartsWith("$ ", StringComparison.Ordinal)) remark = lines[i].TrimStart('#', '$', ' ');
            if (RequestLine().Match(lines[i]) is not { Success: true } request) continue;
            var line = i + 1;
            var headers = new List<(string, string)>();
            for (i++; i < lines.Length && lines[i].Contains(": ", StringComparison.Ordinal) && !lines[i].StartsWith('{'); i++)
                headers.Add((lines[i][..lines[i].IndexOf(": ", StringComparison.Ordinal)], lines[i][(lines[i].IndexOf(": ", StringComparison.Ordinal) + 2)..]));
            var body = new StringBuilder();
            while (i < lines.Length && !AnswerLine().IsMatch(lines[i]) && !RequestLine().IsMatch(lines[i]) && !lines[i].StartsWith("=====", StringComparison.Ordinal)) body.Append(lines[i++]).Append('\n');
            if (i >= lines.Length || AnswerLine().Match(lines[i]) is not { Success: true } answer)
            {
                i--;
                continue;
            }
            var answerHeaders = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
            for (i++; i < lines.Length && lines[i].Contains(": ", StringComparison.Ordinal); i++)
                answerHeaders[lines[i][..lines[i].IndexOf(": ", StringComparison.Ordinal)]] = lines[i][(lines[i].IndexOf(": ", StringComparison.Ordinal) + 2)..];
            var text = new StringBuilder();
            while (i < lines.Length && !lines[i].StartsWith("=====", StringComparison.Ordinal) && !lines[i].StartsWith("-- exchange", StringComparison.Ordinal)
                && !RequestLine().IsMatch(lines[i]) && !lines[i].StartsWith("# ", StringComparison.Ordinal)) text.Append(lines[i++]).Append('\n');
            i--;
            exchanges.Add(new Exchange
            {
                Line = line,
                Remark = remark,
                Method = request.Groups[1].Value,
                Target = request.Groups[2].Value,
                Headers = headers,
                Body = body.ToString().Trim('\n'),
                Status = int.Parse(answer.Groups[1].Value),
                AnswerHeaders = answerHeaders,
                Answer = text.ToString().Trim('\n'),
            });
        }
        return exchanges;
    }
}
