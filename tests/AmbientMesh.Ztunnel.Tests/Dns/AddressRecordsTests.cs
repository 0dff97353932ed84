using System.Net;
using System.Net.Sockets;
using AmbientMesh.Model;
using AmbientMesh.Ztunnel.Dns;
using FsCheck;
using FsCheck.Fluent;

namespace AmbientMesh.Ztunnel.Tests.Dns;

public sealed class AddressRecordsTests
{
    private static byte[] Answer(string name, ushort type, int code, int answers, string records) =>
        [.. Count(AddressRecords.Question(name, type)!, code, answers), .. Convert.FromHexString(records.Replace(" ", "", StringComparison.Ordinal))];

    private static byte[] Count(byte[] question, int code, int answers)
    {
        (question[2], question[3], question[7]) = (0x81, (byte)(0x80 | code), (byte)answers);
        return question;
    }

    [Fact]
    public void Addresses_are_those_of_the_end_of_the_chain_of_aliases()
    {
        // db.example -> a.b (ttl 60) -> 10.0.0.1 (ttl 30), 10.0.0.2 (ttl 90); a record of another name does not count
        var bytes = Answer("db.example", 1, 0, 4, "c00c 0005 0001 0000003c 0005 0161016200 0161016200 0001 0001 0000001e 0004 0a000001 0161016200 0001 0001 0000005a 0004 0a000002 0163016200 0001 0001 00000001 0004 0a000009");
        var read = AddressRecords.Read(bytes, DnsTypes.A);
        Assert.Equal(["10.0.0.1", "10.0.0.2"], read.Addresses.Select(a => a.ToString()));
        Assert.Equal((TimeSpan.FromSeconds(30), null), (read.Lifetime, read.Problem));
    }

    [Fact]
    public void No_record_no_name_and_a_loop_give_no_address()
    {
        Assert.Equal((0, null), Brief(Answer("db.example", 1, 0, 0, "")));
        Assert.Equal((0, "no such name"), Brief(Answer("db.example", 1, 3, 0, "")));
        Assert.Equal((0, "the server answered with code 2"), Brief(Answer("db.example", 1, 2, 0, "")));
        Assert.Equal((0, null), Brief(Answer("db.example", 1, 0, 1, "c00c 0005 0001 0000003c 0002 c00c")));
        Assert.Equal((0, null), Brief(Answer("db.example", 1, 0, 1, "c00c 0001 0001 0000003c 0003 0a0000")));
        Assert.NotNull(Brief([1, 2, 3]).Problem);

        static (int, string? Problem) Brief(byte[] bytes) => AddressRecords.Read(bytes, DnsTypes.A) is var read ? (read.Addresses.Length, read.Problem) : default;
    }

    [Fact]
    public void Any_bytes_give_addresses_or_a_problem_and_nothing_else()
    {
        Prop.ForAll(ArbMap.Default.ArbFor<byte[]>(), bytes => _ = AddressRecords.Read(bytes, DnsTypes.A)).QuickCheckThrowOnFailure();
    }

    [Theory]
    [InlineData("a..b"), InlineData(""), InlineData("ü.example")]
    public void What_is_no_host_name_is_not_asked(string name) => Assert.Null(AddressRecords.Question(name, DnsTypes.A));

    [Fact]
    public void Too_long_names_are_not_asked()
    {
        Assert.Null(AddressRecords.Question(new string('a', 64), DnsTypes.A));
        Assert.Null(AddressRecords.Question(string.Join('.', Enumerable.Repeat(new string('a', 63), 4)), DnsTypes.A));
        Assert.NotNull(AddressRecords.Question(string.Join('.', Enumerable.Repeat(new string('a', 63), 3)), DnsTypes.A));
    }

    [Fact]
    public void The_preferred_family_is_taken_where_it_is_there_and_a_forbidden_one_never()
    {
        var both = new HostLookup([IPAddress.Parse("10.0.0.1"), IPAddress.Parse("fd00::1")], "");
        var random = new Random(1);
        Assert.Equal("10.0.0.1", both.Choose(AddressFamily.InterNetwork, IpFamilies.Automatic, random)?.ToString());
        Assert.Equal("fd00::1", both.Choose(AddressFamily.InterNetworkV6, IpFamilies.Automatic, random)?.ToString());
        Assert.Equal("10.0.0.1", both.Choose(AddressFamily.InterNetworkV6, IpFamilies.IPv4Only, random)?.ToString());
        Assert.Equal("10.0.0.1", new HostLookup([IPAddress.Parse("10.0.0.1")], "").Choose(AddressFamily.InterNetworkV6, IpFamilies.Dual, random)?.ToString());
        Assert.Null(new HostLookup([IPAddress.Parse("10.0.0.1")], "").Choose(AddressFamily.InterNetwork, IpFamilies.IPv6Only, random));
        Assert.Equal(2, Enumerable.Range(0, 100).Select(_ => new HostLookup([IPAddress.Parse("10.0.0.1"), IPAddress.Parse("10.0.0.2")], "").Choose(AddressFamily.InterNetwork, IpFamilies.Automatic, random)).Distinct().Count());
    }
}
