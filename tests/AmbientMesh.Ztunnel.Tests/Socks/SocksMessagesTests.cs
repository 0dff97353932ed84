using System.Net;
using System.Text;
using AmbientMesh.Model;
using AmbientMesh.Ztunnel.Socks;
using FsCheck;
using FsCheck.Fluent;

namespace AmbientMesh.Ztunnel.Tests.Socks;

/// <summary>What a SOCKS5 client's bytes are taken for (RFC 1928).</summary>
public sealed class SocksMessagesTests
{
    private static byte[] Hex(string text) => Convert.FromHexString(text.Replace(" ", "", StringComparison.Ordinal));

    private static byte[] Named(string name, byte command = 1, ushort port = 80) => [5, command, 0, 3, (byte)name.Length, .. Encoding.ASCII.GetBytes(name), (byte)(port >> 8), (byte)port];

    [Theory]
    [InlineData("", 2)]
    [InlineData("05", 2)]
    [InlineData("05 03 02", 5)]
    [InlineData("05 ff 00", 257)]
    public void A_greeting_is_awaited_to_its_end_and_no_further(string bytes, int length) => Assert.Equal(new SocksRead.Unfinished(length), SocksMessages.ParseGreeting(Hex(bytes)));

    [Theory]
    [InlineData("05 01 00")]
    [InlineData("05 03 02 01 00")]
    public void A_client_that_offers_no_authentication_is_served(string bytes) => Assert.IsType<SocksRead.Greeting>(SocksMessages.ParseGreeting(Hex(bytes)));

    [Theory]
    [InlineData("05 00", "05FF")]         // no method at all
    [InlineData("05 02 01 02", "05FF")]   // GSSAPI, password
    [InlineData("04", "")]                // SOCKS4 would take this answer for something else
    [InlineData("47 45 54", "")]
    public void Any_other_client_is_not(string bytes, string answer) =>
        Assert.Equal(answer, Convert.ToHexString(Assert.IsType<SocksRead.Refused>(SocksMessages.ParseGreeting(Hex(bytes))).Answer.Span));

    [Theory]
    [InlineData("05 01 00 01 0a000002 1f90", "10.0.0.2", 8080)]
    [InlineData("05 01 00 04 fd000000000000000000000000000002 0050", "fd00::2", 80)]
    [InlineData("05 01 00 04 00000000000000000000ffff0a000002 0050", "10.0.0.2", 80)]
    [InlineData("05 01 00 03 08 31302e302e302e32 0050", "10.0.0.2", 80)]   // an address written as a name
    public void An_address_is_taken_as_such(string bytes, string address, int port)
    {
        var asked = Assert.IsType<SocksRead.Connect>(SocksMessages.ParseRequest(Hex(bytes)));
        Assert.Equal((IPAddress.Parse(address), (ushort)port), (asked.Address, asked.Port));
    }

    [Fact]
    public void A_name_is_taken_in_lower_case() => Assert.Equal(new SocksRead.Connect(null, "server.shop", 443), SocksMessages.ParseRequest(Named("Server.Shop", port: 443)));

    [Theory]
    [InlineData("", 5)]
    [InlineData("05 01 00 01", 5)]
    [InlineData("05 01 00 01 0a", 10)]
    [InlineData("05 01 00 04 fd", 22)]
    [InlineData("05 01 00 03 ff", 262)]
    [InlineData("05 02 00 01 0a0000", 10)]   // also one that will be refused: nothing of it is left unread
    public void A_request_is_awaited_to_its_end_and_no_further(string bytes, int length) => Assert.Equal(new SocksRead.Unfinished(length), SocksMessages.ParseRequest(Hex(bytes)));

    [Theory, Scenario("T-10")]
    [InlineData("04", SocksReply.GeneralFailure)]
    [InlineData("05 02 00 01 0a000002 1f90", SocksReply.CommandNotSupported)]         // BIND
    [InlineData("05 03 00 01 0a000002 1f90", SocksReply.CommandNotSupported)]         // UDP ASSOCIATE
    [InlineData("05 00 00 01 0a000002 1f90", SocksReply.CommandNotSupported)]
    [InlineData("05 01 00 02 0a", SocksReply.AddressTypeNotSupported)]
    [InlineData("05 01 00 00 0a", SocksReply.AddressTypeNotSupported)]
    [InlineData("05 01 00 01 0a000002 0000", SocksReply.GeneralFailure)]              // port 0
    [InlineData("05 01 00 01 00000000 3aaa", SocksReply.GeneralFailure)]              // any address is this host to the kernel
    [InlineData("05 01 00 04 00000000000000000000000000000000 3aaa", SocksReply.GeneralFailure)]
    [InlineData("05 01 00 04 00000000000000000000ffff00000000 3aaa", SocksReply.GeneralFailure)]
    [InlineData("05 01 00 03 07 302e302e302e30 3aaa", SocksReply.GeneralFailure)]
    [InlineData("05 01 00 03 00 0050", SocksReply.GeneralFailure)]                    // no name
    [InlineData("05 01 00 03 03 612062 0050", SocksReply.GeneralFailure)]             // a blank
    [InlineData("05 01 00 03 02 6100 0050", SocksReply.GeneralFailure)]               // a NUL
    [InlineData("05 01 00 03 02 c3a9 0050", SocksReply.GeneralFailure)]               // not ASCII
    [InlineData("05 01 00 03 03 610d0a 0050", SocksReply.GeneralFailure)]             // a line end, for the log
    public void What_is_not_served_gets_its_reply(string bytes, SocksReply reply)
    {
        var refused = Assert.IsType<SocksRead.Refused>(SocksMessages.ParseRequest(Hex(bytes)));
        Assert.Equal(Convert.ToHexString(SocksMessages.Write(reply)), Convert.ToHexString(refused.Answer.Span));
        Assert.NotEqual("", refused.Problem);
    }

    [Fact]
    public void A_name_longer_than_dns_knows_is_none()
    {
        Assert.IsType<SocksRead.Connect>(SocksMessages.ParseRequest(Named(new string('a', 253))));
        Assert.IsType<SocksRead.Refused>(SocksMessages.ParseRequest(Named(new string('a', 254))));
    }

    [Fact, Scenario("T-09", "T-10")]
    public void Whatever_the_bytes_reading_ends_within_the_longest_message_and_never_goes_back() => Prop.ForAll<byte[]>(bytes =>
    {
        foreach (var parse in (Func<byte[], SocksRead>[])[b => SocksMessages.ParseGreeting(b), b => SocksMessages.ParseRequest(b)])
        {
            byte[] input = bytes.Length > 0 ? [5, .. bytes] : [];
            for (var have = 0; ;)
            {
                if (parse(input[..have]) is not SocksRead.Unfinished unfinished) break;
                Assert.InRange(unfinished.Length, have + 1, SocksMessages.MaxBytes);
                if (unfinished.Length > input.Length) break;
                have = unfinished.Length;
            }
        }
    }).QuickCheckThrowOnFailure();

    [Theory]
    [InlineData(Reason.DeniedByPeer, SocksReply.NotAllowed)]
    [InlineData(Reason.SelfCall, SocksReply.NotAllowed)]
    [InlineData(Reason.ConnectRefused, SocksReply.ConnectionRefused)]
    [InlineData(Reason.RefusedByPeer, SocksReply.ConnectionRefused)]
    [InlineData(Reason.NoHealthyUpstream, SocksReply.HostUnreachable)]
    [InlineData(Reason.NameUnresolved, SocksReply.HostUnreachable)]
    [InlineData(Reason.NoRoute, SocksReply.NetworkUnreachable)]
    [InlineData(Reason.InternalError, SocksReply.GeneralFailure)]
    public void A_reason_has_the_nearest_word(Reason reason, SocksReply reply) => Assert.Equal(reply, SocksIntake.ReplyTo(reason));
}
