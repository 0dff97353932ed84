namespace AmbientMesh.Ztunnel.Tests;

public sealed class IdleTrimTests
{
    private const long Mega = 1024 * 1024;

    [Theory]
    [InlineData(10 * Mega, 10 * Mega, 0, true)]             // a burst is over
    [InlineData(10 * Mega, 9 * Mega, 0, false)]             // still busy
    [InlineData(11 * Mega, 11 * Mega, 10 * Mega, false)]    // not worth it
    [InlineData(13 * Mega, 13 * Mega, 10 * Mega, true)]
    public void Memory_is_given_back_when_quiet_and_worth_it(long now, long atLastLook, long atLastTrim, bool due) =>
        Assert.Equal(due, IdleTrim.IsDue(new(now, 0), new(atLastLook, 0), atLastTrim));

    [Theory]
    [InlineData(100 * Mega, 90 * Mega, false)]   // carrying bytes allocates nothing, and must not be held up
    [InlineData(100 * Mega, 100 * Mega - 1000, true)]
    public void While_connections_carry_bytes_nothing_is_collected(long now, long atLastLook, bool due) =>
        Assert.Equal(due, IdleTrim.IsDue(new(10 * Mega, now), new(10 * Mega, atLastLook), 0));
}
