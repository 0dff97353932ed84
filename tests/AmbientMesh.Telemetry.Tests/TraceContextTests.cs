namespace AmbientMesh.Telemetry.Tests;

/// <summary>W3C trace contexts: what is taken from a peer, and what is told the next hop.</summary>
public sealed class TraceContextTests
{
    private const string Told = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    [Fact]
    public void A_trace_goes_on_below_the_span_that_was_told()
    {
        var here = TraceContext.Below(Told)!.Value;
        Assert.Equal("0af7651916cd43dd8448eb211c80319c", here.Id);
        Assert.Equal(0xb7ad6b7169203331, here.ParentSpanId);
        Assert.NotEqual(here.ParentSpanId, here.SpanId);
        Assert.False(here.IsSampled);
        Assert.True(TraceContext.Below(Told[..^2] + "01")!.Value.IsSampled);
        Assert.Equal($"00-{here.Id}-{here.SpanId:x16}-00", here.Header);
    }

    [Fact]
    public void A_new_trace_is_random_and_reads_back()
    {
        var made = TraceContext.New();
        Assert.NotEqual(made.TraceId, TraceContext.New().TraceId);
        Assert.EndsWith("-00", made.Header);
        Assert.EndsWith("-01", TraceContext.New(isSampled: true).Header);
        Assert.Equal(made.TraceId, TraceContext.Below(made.Header)!.Value.TraceId);
        Assert.Equal(made.SpanId, TraceContext.Below(made.Header)!.Value.ParentSpanId);
        Assert.True(TraceContext.TryParseId(made.Id, out var id) && id == made.TraceId);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData(Told + "0")]
    [InlineData("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")]
    [InlineData("00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_00")]
    [InlineData("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")]
    [InlineData("00-00000000000000000000000000000000-b7ad6b7169203331-00")]
    [InlineData("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-00")]
    [InlineData("00-0af7651916cd43dd8448eb211c8031-c-b7ad6b7169203331-00")]
    [InlineData("zz-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")]
    public void What_is_no_trace_context_is_not_taken(string? header) => Assert.Null(TraceContext.Below(header));

    [Theory]
    [InlineData(null)]
    [InlineData("0af7651916cd43dd8448eb211c80319")]
    [InlineData("0af7651916cd43dd8448eb211c80319g")]
    public void What_is_no_id_is_not_read(string? text) => Assert.False(TraceContext.TryParseId(text, out _));
}
