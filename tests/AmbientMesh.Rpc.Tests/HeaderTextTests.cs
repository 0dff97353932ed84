using FsCheck;
using FsCheck.Fluent;

namespace AmbientMesh.Rpc.Tests;

/// <summary>The texts in gRPC headers.</summary>
public sealed class HeaderTextTests
{
    [Theory]
    [InlineData("1H", 36000000000)]
    [InlineData("2M", 1200000000)]
    [InlineData("3S", 30000000)]
    [InlineData("4m", 40000)]
    [InlineData("5u", 50)]
    [InlineData("600n", 6)]
    [InlineData("99999999H", 34560000000000)]   // cut at 40 days
    public void Timeouts_are_read(string text, long ticks) => Assert.Equal(ticks, GrpcTimeout.Parse(text)!.Value.Ticks);

    [Theory]
    [InlineData("")]
    [InlineData("S")]
    [InlineData("1")]
    [InlineData("1s")]
    [InlineData("+1S")]
    [InlineData(" 1S")]
    [InlineData("123456789S")]
    public void What_is_no_timeout_is_refused(string text) => Assert.Null(GrpcTimeout.Parse(text));

    [Fact]
    public void A_timeout_is_never_sent_shorter_than_it_is_and_at_most_a_unit_longer() => Prop.ForAll<long>(ticks =>
    {
        var timeout = TimeSpan.FromTicks(1 + Math.Abs(ticks % TimeSpan.FromDays(30).Ticks));
        var text = GrpcTimeout.Format(timeout);
        var read = GrpcTimeout.Parse(text)!.Value;
        return text.Length <= 9 && read >= timeout && read - timeout <= TimeSpan.FromMinutes(1);
    }).QuickCheckThrowOnFailure();

    [Fact]
    public void Any_text_survives_as_printable_ascii() => Prop.ForAll<string>(text =>
    {
        var wellFormed = new string([.. (text ?? "").EnumerateRunes().SelectMany(r => r.ToString())]);
        var encoded = GrpcStatusText.Encode(wellFormed);
        return encoded.All(c => c is >= ' ' and <= '~') && GrpcStatusText.Decode(encoded) == wellFormed;
    }).QuickCheckThrowOnFailure();

    [Theory]
    [InlineData("100%", "100%")]
    [InlineData("%zz", "%zz")]
    [InlineData("%4", "%4")]
    [InlineData("a%20b", "a b")]
    [InlineData("%e2%82%ac", "\u20ac")]
    public void Bad_escapes_stay_as_they_are(string encoded, string text) => Assert.Equal(text, GrpcStatusText.Decode(encoded));

    [Fact]
    public void A_status_text_is_cut_to_what_headers_hold() => Assert.InRange(GrpcStatusText.Encode(new string('\u20ac', 10_000)).Length, GrpcStatusText.MaxBytes, GrpcStatusText.MaxBytes + 12);

    [Fact]
    public void Waits_double_from_the_first_to_the_cap_and_start_again_after_success()
    {
        var backoff = new JitteredBackoff(TimeSpan.FromMilliseconds(10), TimeSpan.FromSeconds(15), jitter: 0);
        var waits = Enumerable.Range(0, 12).Select(_ => backoff.Next().TotalMilliseconds).ToArray();
        Assert.Equal([10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 15000], waits);
        backoff.Reset();
        Assert.Equal(TimeSpan.FromMilliseconds(10), backoff.Next());
    }

    [Fact]
    public void Waits_are_spread_by_the_jitter_and_no_further()
    {
        var waits = Enumerable.Range(0, 1000).Select(i => new JitteredBackoff(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(150), 0.2, new System.Random(i)).Next().TotalSeconds).ToArray();
        Assert.All(waits, wait => Assert.InRange(wait, 0.8, 1.2));
        Assert.True(waits.Max() - waits.Min() > 0.3);
    }
}
