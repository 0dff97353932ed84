using System.Net;
using System.Text;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Telemetry.Tests;

public sealed class LogLineTests
{
    private static readonly DateTimeOffset Time = DateTimeOffset.Parse("2026-11-21T01:23:24.656059Z").AddTicks(3);

    private static KeyValuePair<string, object?> Field(string key, object? value) => new(key, value);

    private static readonly KeyValuePair<string, object?>[] Rejected =
    [
        Field("src.addr", IPEndPoint.Parse("10.98.0.1:48738")), Field("src.workload", null), Field("dst.addr", IPEndPoint.Parse("10.198.0.2:81")),
        Field("direction", "outbound"), Field("bytes_sent", 4L), Field("error", "no healthy upstream: 10.198.0.2:81"),
    ];

    [Fact]
    public void The_plain_layout_is_the_recorded_one()
    {
        var line = LogLineWriter.Write(new LogLine(Time, LogLevel.Warning, "access", "connection failed", new LogFields("", Rejected), null), LogLayout.Plain);
        Assert.Equal("2026-11-21T01:23:24.656059Z\twarn\taccess\tconnection failed\tsrc.addr=10.98.0.1:48738 dst.addr=10.198.0.2:81 direction=\"outbound\" bytes_sent=4 error=\"no healthy upstream: 10.198.0.2:81\"\n", line);
    }

    [Fact]
    public void The_json_layout_is_the_recorded_one()
    {
        var line = LogLineWriter.Write(new LogLine(Time, LogLevel.Information, "access", "connection complete", new LogFields("", Rejected), null), LogLayout.Json);
        Assert.Equal("{\"level\":\"info\",\"time\":\"2026-11-21T01:23:24.656059Z\",\"scope\":\"access\",\"message\":\"connection complete\",\"src.addr\":\"10.98.0.1:48738\",\"dst.addr\":\"10.198.0.2:81\",\"direction\":\"outbound\",\"bytes_sent\":4,\"error\":\"no healthy upstream: 10.198.0.2:81\"}\n", line);
    }

    [Fact]
    public void A_span_stands_with_the_target_and_the_crate_prefix_is_dropped_only_in_plain()
    {
        var fields = new LogFields("shutdown complete", Field("component", "outbound")) { Span = new LogSpan("proxy", "wl", "default/client") };
        var line = new LogLine(Time, LogLevel.Information, "ztunnel::drain", "shutdown complete", fields, null);
        Assert.EndsWith("\tinfo\tdrain:proxy{wl=default/client}\tshutdown complete\tcomponent=\"outbound\"\n", LogLineWriter.Write(line, LogLayout.Plain));
        Assert.Contains("\"scope\":\"ztunnel::drain\",\"message\":\"shutdown complete\",\"component\":\"outbound\",\"proxy\":{\"wl\":\"default/client\"}}", LogLineWriter.Write(line, LogLayout.Json));
    }

    [Theory]
    [InlineData("x\n2026-01-01T00:00:00Z\tinfo\tfaked\tline")]
    [InlineData("x\r\u2028\u0085y")]
    [Scenario("T-39")]
    public void A_value_from_a_peer_cannot_start_a_line(string hostile)
    {
        var line = LogLineWriter.Write(new LogLine(Time, LogLevel.Error, "access", hostile, new LogFields("", Field("host", hostile), Field("odd", new Uri("http://x/" + Uri.EscapeDataString(hostile)))), new IOException(hostile)), LogLayout.Plain);
        Assert.Equal(4, line.Count(c => c == '\t'));
        Assert.Equal(line.Length - 1, line.IndexOf('\n'));
        Assert.DoesNotContain('\u2028', line);
        Assert.Equal(1, LogLineWriter.Write(new LogLine(Time, LogLevel.Error, "access", hostile, new LogFields("", Field("host", hostile)), null), LogLayout.Json).Count(c => c == '\n'));
    }

    [Fact]
    public async Task Lines_written_through_logging_reach_the_stream_in_order_and_levels_change_at_once()
    {
        var output = new MemoryStream();
        var filter = LogFilter.Parse("info");
        await using (var provider = new MeshLoggerProvider(output, LogLayout.Plain, filter, new FakeTimeProvider()))
        {
            var log = provider.CreateLogger("AmbientMesh.Ztunnel.Outbound.Listener");
            log.LogDebug("hidden");
            log.LogInformation("port {Port}", 15001);
            Assert.True(filter.TryChange("ztunnel::outbound=debug", out _));
            log.LogDebug("shown");
            log.Write(LogLevel.Error, "gone", Field("n", 1));
        }
        var lines = Encoding.UTF8.GetString(output.ToArray()).Split('\n');
        Assert.Equal(["info\toutbound::listener\tport 15001\t", "debug\toutbound::listener\tshown\t", "error\toutbound::listener\tgone\tn=1", ""],
            lines.Select(l => l.Length == 0 ? "" : l[(l.IndexOf('\t') + 1)..]));
    }

    [Fact]
    public void A_target_rule_covers_what_is_below_it_and_nothing_beside_it()
    {
        var filter = LogFilter.Parse("warn,a::b=debug,a::b::c=off");
        Assert.True(filter.IsEnabled("a::b", LogLevel.Debug));
        Assert.True(filter.IsEnabled("a::b::d", LogLevel.Debug));
        Assert.False(filter.IsEnabled("a::b::c", LogLevel.Error));
        Assert.False(filter.IsEnabled("a::bc", LogLevel.Information));
        Assert.True(filter.IsEnabled("other", LogLevel.Warning));
    }

    [Fact]
    public void A_bad_level_names_itself_and_changes_nothing()
    {
        var filter = LogFilter.Parse("info");
        Assert.False(filter.TryChange("debug,x=loud", out var problem));
        Assert.Equal("x=loud", problem);
        Assert.Equal("info", filter.ToString());
    }
}
