using System.Buffers.Binary;
using System.Net;
using System.Text;
using AmbientMesh.Model.Tests;
using AmbientMesh.Ztunnel.Dns;
using FsCheck;
using FsCheck.Fluent;

namespace AmbientMesh.Ztunnel.Tests.Dns;

public sealed class DnsMessageTests
{
    /// <summary>A query for a name of the given labels.</summary>
    internal static byte[] Query(string name, ushort type = DnsTypes.A, ushort id = 7, ushort flags = DnsHeader.RecursionDesired, byte[]? additional = null)
    {
        var bytes = new List<byte>();
        void Write(int value) => bytes.AddRange([(byte)(value >> 8), (byte)value]);
        foreach (var field in (int[])[id, flags, 1, 0, 0, additional is null ? 0 : 1]) Write(field);
        foreach (var label in name.Split('.', StringSplitOptions.RemoveEmptyEntries)) bytes.AddRange([(byte)label.Length, .. Encoding.Latin1.GetBytes(label)]);
        bytes.Add(0);
        Write(type);
        Write(1);
        return [.. bytes, .. additional ?? []];
    }

    private static readonly byte[] Opt1232 = [0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0];

    [Fact]
    public void A_query_is_read_with_its_extension()
    {
        Assert.True(DnsQuery.TryParse(Query("WWW.Example.com", DnsTypes.Aaaa, additional: Opt1232), out var query, out _));
        Assert.Equal(("www.example.com", true, DnsTypes.Aaaa), (query.Question.Name.Text, query.Question.Name.IsPlain, query.Question.Type));
        Assert.Equal(new Edns(1232, 0, DnssecOk: true), query.Edns);
        Assert.Equal((1232, 65535), (query.Limit(DnsTransport.Udp), query.Limit(DnsTransport.Tcp)));
    }

    [Fact]
    public void Octets_that_are_no_host_name_are_escaped_and_marked()
    {
        Assert.True(DnsQuery.TryParse(Query("a b.\u00e9"), out var query, out _));
        Assert.Equal((@"a\032b.\233", false), (query.Question.Name.Text, query.Question.Name.IsPlain));
        var dotted = Query("axb.c");
        dotted[14] = (byte)'.';
        Assert.True(DnsQuery.TryParse(dotted, out query, out _));
        Assert.Equal((@"a\046b.c", false), (query.Question.Name.Text, query.Question.Name.IsPlain));
    }

    [Fact]
    public void The_root_is_the_empty_name()
    {
        Assert.True(DnsQuery.TryParse(Query(""), out var query, out _));
        Assert.Equal("", query.Question.Name.Text);
    }

    [Fact]
    public void A_pointer_to_itself_or_forwards_is_refused()
    {
        foreach (var target in (byte[])[12, 14, 200, 0, 11])
        {
            var bytes = Query("");
            byte[] looped = [.. bytes[..12], 0xc0, target, .. bytes[13..]];
            Assert.False(DnsMessage.TryParse(looped, out _, out var reason));
            Assert.Contains("pointer", reason, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(64, true)]
    [InlineData(65, false)]
    public void A_name_may_be_made_of_few_pointers_only(int pointers, bool isRead)
    {
        // label "a" and root, then pointers each of which leads to the one before it
        byte[] bytes = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, (byte)'a', 0, .. Enumerable.Range(0, pointers).SelectMany(n => (int[])[n == 0 ? 12 : 13 + (2 * n)]).SelectMany(target => (byte[])[0xc0, (byte)target])];
        var at = bytes.Length - 2;
        Assert.Equal(isRead, DnsName.TryRead(bytes, ref at, out var name, out var reason));
        Assert.Equal(isRead ? ("a", "") : (null, "a name is made of more than 64 compression pointers"), (name.Text, reason));
    }

    [Fact]
    public void Two_pointers_to_each_other_are_refused()
    {
        // answer owner at 17: label "a", pointer to the question's name, which points at the answer
        byte[] bytes = [0, 1, 0x80, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0xc0, 18, 0, 1, 0, 1, 1, (byte)'a', 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0];
        Assert.False(DnsMessage.TryParse(bytes, out _, out _));
    }

    [Fact]
    public void A_name_as_long_as_allowed_is_read_and_one_octet_more_refused()
    {
        var longest = string.Join('.', Enumerable.Repeat(new string('a', 63), 3).Append(new string('b', 61)));
        Assert.True(DnsQuery.TryParse(Query(longest), out var query, out _));
        Assert.Equal(longest, query.Question.Name.Text);
        Assert.False(DnsQuery.TryParse(Query(longest + "b"), out _, out var reason));
        Assert.Contains("255", reason, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0x40), InlineData(0x80), InlineData(0xbf)]
    public void Unknown_label_types_are_refused(byte type)
    {
        var bytes = Query("abc");
        bytes[12] = type;
        Assert.False(DnsQuery.TryParse(bytes, out _, out var reason));
        Assert.Contains("label", reason, StringComparison.Ordinal);
    }

    [Fact]
    public void A_query_cut_anywhere_is_refused()
    {
        var whole = Query("www.example.com", additional: Opt1232);
        for (var length = 0; length < whole.Length; length++) Assert.False(DnsQuery.TryParse(whole.AsSpan(0, length), out _, out _), $"{length} of {whole.Length} octets");
        Assert.True(DnsQuery.TryParse(whole, out _, out _));
    }

    [Theory]
    [InlineData(4), InlineData(6), InlineData(8), InlineData(10)]
    public void Counts_beyond_what_is_there_take_no_memory(int field)
    {
        var bytes = Query("a");
        BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(field), 65535);
        Assert.False(DnsMessage.TryParse(bytes, out _, out var reason));
        Assert.Contains("promises", reason, StringComparison.Ordinal);
    }

    [Fact]
    public void None_or_two_questions_and_two_extensions_are_no_query()
    {
        Assert.False(DnsQuery.TryParse(new byte[12], out _, out _));
        var two = Query("a");
        two[5] = 2;
        Assert.False(DnsQuery.TryParse([.. two, .. two[12..]], out _, out var reason));
        Assert.Equal("it has 2 questions", reason);
        var doubled = Query("a", additional: [.. Opt1232, .. Opt1232]);
        doubled[11] = 2;
        Assert.False(DnsQuery.TryParse(doubled, out _, out _));
    }

    [Fact]
    public void Any_bytes_are_read_or_refused_and_nothing_else()
    {
        Prop.ForAll(ArbMap.Default.ArbFor<byte[]>(), bytes =>
        {
            _ = DnsMessage.TryParse(bytes, out _, out var reason) || reason.Length > 0;
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void A_damaged_message_is_read_or_refused_and_nothing_else()
    {
        var whole = Answer(3, edns: true, alias: true).Bytes;
        Prop.ForAll(Gen.Choose(0, whole.Length - 1).ToArbitrary(), Gen.Choose(0, 255).ToArbitrary(), (at, value) =>
        {
            var damaged = (byte[])whole.Clone();
            damaged[at] = (byte)value;
            _ = DnsMessage.TryParse(damaged, out _, out _);
            _ = DnsQuery.TryParse(damaged, out _, out _);
        }).QuickCheckThrowOnFailure();
    }

    private static (DnsQuery Query, byte[] Bytes) Answer(int addresses, bool edns = false, bool alias = false, int? limit = null)
    {
        Assert.True(DnsQuery.TryParse(Query("hl.default.svc.cluster.local", additional: edns ? Opt1232 : null), out var query, out _));
        var name = query.Question.Name.Text;
        IPAddress[] all = [.. Enumerable.Range(0, addresses).Select(n => new IPAddress([10, 0, (byte)(n >> 8), (byte)n]))];
        var decision = new NameDecision.Answer(MeshBuilder.ServiceOf("hl"), alias ? "hl.default" : name, alias ? name : null, [.. all]);
        return (query, AnswerWriter.Addresses(query, decision, all, limit ?? query.Limit(DnsTransport.Udp)));
    }

    [Fact]
    public void An_answer_is_read_back_as_it_was_meant()
    {
        var (_, bytes) = Answer(3, edns: true, alias: true);
        Assert.True(DnsMessage.TryParse(bytes, out var message, out var reason), reason);
        Assert.Equal(["hl.default.svc.cluster.local 5", "hl.default 1", "hl.default 1", "hl.default 1"], message.Answers.Select(r => $"{r.Owner.Text} {r.Type}"));
        Assert.All(message.Answers, record => Assert.Equal(30u, record.Ttl));
        Assert.Equal(DnsTypes.Opt, Assert.Single(message.Additional).Type);
        var at = message.Answers[0].DataAt;
        Assert.True(DnsName.TryRead(bytes, ref at, out var target, out _));
        Assert.Equal("hl.default", target.Text);
    }

    [Fact]
    public void What_does_not_fit_is_left_out_and_said_so()
    {
        foreach (var edns in (bool[])[false, true])
        {
            var (query, bytes) = Answer(200, edns);
            Assert.True(bytes.Length <= query.Limit(DnsTransport.Udp), $"{bytes.Length} octets");
            Assert.True(DnsMessage.TryParse(bytes, out var message, out _));
            Assert.True(message.Header.IsTruncated);
            Assert.InRange(message.Answers.Length, 20, 199);
            Assert.Equal(edns, message.Additional.Length == 1);
        }
        var (_, whole) = Answer(200, limit: 65535);
        Assert.True(DnsMessage.TryParse(whole, out var complete, out _));
        Assert.Equal((false, 200), (complete.Header.IsTruncated, complete.Answers.Length));
    }

    [Fact]
    public void Only_the_answer_to_the_question_asked_is_taken()
    {
        var sent = Query("www.Example.com", id: 7);
        Assert.True(DnsQuery.TryParse(sent, out var query, out _));
        var good = Query("WWW.example.COM", id: 99, flags: 0x8180);
        Assert.Equal(Convert.ToHexString([0, 7, .. good[2..]]), Convert.ToHexString(DnsForwarder.Adopt(good, 99, query)!));
        Assert.Null(DnsForwarder.Adopt(good, 98, query));
        Assert.Null(DnsForwarder.Adopt(Query("www.example.org", id: 99, flags: 0x8180), 99, query));
        Assert.Null(DnsForwarder.Adopt(Query("www.example.com", DnsTypes.Aaaa, id: 99, flags: 0x8180), 99, query));
        Assert.Null(DnsForwarder.Adopt(Query("www.example.com", id: 99), 99, query));
        Assert.Null(DnsForwarder.Adopt([0, 99, 0x81, 0x80, 0, 0, 0, 0, 0, 0, 0, 0], 99, query));
        Assert.NotNull(DnsForwarder.Adopt([0, 99, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0], 99, query));
    }
}
