using System.IO.Compression;
using System.Text;

namespace AmbientMesh.Telemetry.Tests;

/// <summary>Reading samples out of another process's metrics, and compressing one's own.</summary>
public sealed class MetricTextReaderTests
{
    private static List<(string Name, string Values, double Value)> Read(string text)
    {
        var found = new List<(string, string, double)>();
        var reader = new MetricTextReader(["a_total", "b"], ["x", "y"], (name, values, value) => found.Add((name, string.Join('|', values), value)));
        foreach (var line in text.Split('\n')) reader.Line(line);
        return found;
    }

    [Fact]
    public void Wanted_samples_are_read_with_their_labels_in_any_order()
    {
        Assert.Equal([("a_total", "1|2", 3), ("b", "unknown|unknown", 1.5), ("a_total", "q\"\\\n|unknown", 4)],
            Read("# TYPE a counter\na_total{y=\"2\",z=\"9\",x=\"1\"} 3\nb 1.5 1700000000\nabc 1\nb_count 5\na_total{x=\"q\\\"\\\\\\n\"} 4.0"));
    }

    [Theory]
    [InlineData("a_total{x=\"1\" 3")]
    [InlineData("a_total{x=1} 3")]
    [InlineData("a_total{x=\"1\\")]
    [InlineData("a_total{=\"1\"} 3")]
    [InlineData("a_total")]
    [InlineData("a_total ")]
    [InlineData("a_total NaN")]
    [InlineData("a_total +Inf")]
    [InlineData("{x=\"1\"} 3")]
    public void What_is_malformed_is_passed_over(string line) => Assert.Empty(Read(line));

    [Fact]
    public void What_we_write_reads_back()
    {
        var registry = new MetricRegistry();
        registry.Counter("a", "help", "x", "y").With("tab\t\"", "new\nline\\").Add(7);
        Assert.Equal([("a_total", "tab\t\"|new\nline\\", 7)], Read(MetricExposition.Write(registry)));
    }

    [Fact]
    public async Task A_text_beyond_the_limit_is_refused()
    {
        var reader = new MetricTextReader(["a"], [], (_, _, _) => { });
        await reader.ReadAsync(new MemoryStream("a 1\n"u8.ToArray()), 4, Patience.Token);
        await Assert.ThrowsAsync<IOException>(() => reader.ReadAsync(new MemoryStream("a 1\n"u8.ToArray()), 3, Patience.Token));
    }

    [Theory]
    [InlineData(null, null)]
    [InlineData("identity", null)]
    [InlineData("zstd", null)]
    [InlineData("gzip;q=0", null)]
    [InlineData("gzip", "gzip")]
    [InlineData("deflate", "deflate")]
    [InlineData("gzip, deflate, br, zstd", "br")]
    [InlineData("br;q=0.5, GZIP;q=0.9", "gzip")]
    [InlineData("*", "br")]
    [InlineData("br;q=nonsense, gzip", "gzip")]
    public void Answers_are_compressed_as_the_asker_allows(string? accept, string? expected)
    {
        var body = Encoding.ASCII.GetBytes(new string('a', 5000));
        var (sent, encoding) = BodyEncoding.Encode(body, accept);
        Assert.Equal(expected, encoding);
        using var decoded = new MemoryStream();
        using (Stream reader = encoding switch
        {
            "br" => new BrotliStream(new MemoryStream(sent), CompressionMode.Decompress),
            "gzip" => new GZipStream(new MemoryStream(sent), CompressionMode.Decompress),
            "deflate" => new ZLibStream(new MemoryStream(sent), CompressionMode.Decompress),
            _ => new MemoryStream(sent),
        }) reader.CopyTo(decoded);
        Assert.Equal(body, decoded.ToArray());
        if (expected is not null) Assert.True(sent.Length < 500);
    }
}
