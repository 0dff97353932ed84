using System.Text.Json;
using System.Text.Json.Serialization;

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>What a load of the sample program tells (lab/Samples/README.md).</summary>
public sealed record LoadCounts
{
    public int Made { get; init; }
    public int Failed { get; init; }
    public int Reset { get; init; }
    public int LongLivedOpened { get; init; }
    public int LongLivedFinished { get; init; }
    public int LongLivedOpen { get; init; }
    public int LongLivedBroken { get; init; }
    public int LongLivedMessages { get; init; }
    public int SlowestConnectionMs { get; init; }
    public int LongestPauseMs { get; init; }
    public double Seconds { get; init; }
    public IReadOnlyDictionary<string, int> Reasons { get; init; } = new Dictionary<string, int>();

    [JsonIgnore]
    public bool IsWithoutLoss => Failed + Reset + LongLivedBroken == 0;

    /// <summary>Reads the JSON object that ends <paramref name="text"/>.</summary>
    public static LoadCounts Parse(string text) => JsonSerializer.Deserialize<LoadCounts>(text[text.IndexOf('{', StringComparison.Ordinal)..], JsonSerializerOptions.Web)!;

    /// <summary>Two loads seen as one.</summary>
    public static LoadCounts operator +(LoadCounts left, LoadCounts right) => new()
    {
        Made = left.Made + right.Made,
        Failed = left.Failed + right.Failed,
        Reset = left.Reset + right.Reset,
        LongLivedOpened = left.LongLivedOpened + right.LongLivedOpened,
        LongLivedFinished = left.LongLivedFinished + right.LongLivedFinished,
        LongLivedOpen = left.LongLivedOpen + right.LongLivedOpen,
        LongLivedBroken = left.LongLivedBroken + right.LongLivedBroken,
        LongLivedMessages = left.LongLivedMessages + right.LongLivedMessages,
        SlowestConnectionMs = Math.Max(left.SlowestConnectionMs, right.SlowestConnectionMs),
        LongestPauseMs = Math.Max(left.LongestPauseMs, right.LongestPauseMs),
        Seconds = Math.Max(left.Seconds, right.Seconds),
        Reasons = left.Reasons.Concat(right.Reasons).GroupBy(r => r.Key).ToDictionary(g => g.Key, g => g.Sum(r => r.Value)),
    };

    public override string ToString() => JsonSerializer.Serialize(this, JsonSerializerOptions.Web);
}
