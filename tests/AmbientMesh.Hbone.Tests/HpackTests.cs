using AmbientMesh.Hbone.Hpack;
using FsCheck;
using FsCheck.Fluent;

namespace AmbientMesh.Hbone.Tests;

public class HpackTests
{
    private static byte[] Encode(HpackEncoder encoder, params HeaderField[] fields)
    {
        var output = new OutputBuffer(64);
        encoder.Encode(fields, output);
        return output.Written.ToArray();
    }

    private static List<HeaderField> Decode(HpackDecoder decoder, byte[] block)
    {
        var fields = new List<HeaderField>();
        Assert.Equal(HpackVerdict.Ok, decoder.Decode(block, fields));
        return fields;
    }

    /// <summary>RFC 7541 C.3 and C.4: the same three requests without and with Huffman code.</summary>
    [Theory]
    [InlineData("828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865", "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565")]
    [InlineData("828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf", "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf")]
    public void The_rfcs_requests_decode(string first, string second, string third)
    {
        var decoder = new HpackDecoder(4096);
        HeaderField[] common = [new(":method", "GET"), new(":scheme", "http"), new(":path", "/"), new(":authority", "www.example.com")];
        Assert.Equal(common, Decode(decoder, Convert.FromHexString(first)));
        Assert.Equal([.. common, new("cache-control", "no-cache")], Decode(decoder, Convert.FromHexString(second)));
        Assert.Equal(
            [new(":method", "GET"), new(":scheme", "https"), new(":path", "/index.html"), new(":authority", "www.example.com"), new("custom-key", "custom-value")],
            Decode(decoder, Convert.FromHexString(third)));
    }

    /// <summary>RFC 7541 C.6: responses over a table of 256 bytes, where entries are evicted.</summary>
    [Fact]
    public void The_rfcs_responses_decode_with_eviction()
    {
        var decoder = new HpackDecoder(4096);
        Decode(decoder, [0x3f, 0xe1, 0x01]);   // the table shrinks to 256 bytes
        var first = Decode(decoder, Convert.FromHexString("488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3"));
        Assert.Equal([new(":status", "302"), new("cache-control", "private"), new("date", "Mon, 21 Oct 2013 20:13:21 GMT"), new("location", "https://www.example.com")], first);
        Assert.Equal("307", Decode(decoder, Convert.FromHexString("4883640effc1c0bf"))[0].Value);
        var third = Decode(decoder, Convert.FromHexString(
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"));
        Assert.Equal(new HeaderField("content-encoding", "gzip"), third[4]);
        Assert.Equal("foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1", third[5].Value);
    }

    [Fact]
    public void Any_header_lists_survive_encoding_and_decoding_in_sequence()
    {
        var text = ArbMap.Default.GeneratorFor<string>().Select(s => new string([.. (s ?? "").Select(c => (char)(c & 0xff))]));
        var name = Gen.Elements(":method", ":status", "baggage", "forwarded", "x", "traceparent", "cookie");
        var field = name.Zip(text, (n, v) => new HeaderField(n, v));
        Prop.ForAll(field.ListOf().ListOf().ToArbitrary(), lists =>
        {
            var encoder = new HpackEncoder();
            var decoder = new HpackDecoder(1 << 20, 100_000);
            return lists.All(list => Decode(decoder, Encode(encoder, [.. list])).SequenceEqual(list));
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(300));
    }

    [Fact]
    public void Any_bytes_survive_huffman_coding()
    {
        Prop.ForAll<byte[]>(bytes =>
        {
            var coded = new byte[HuffmanCode.EncodedLength(bytes)];
            var decoded = new byte[bytes.Length];
            return HuffmanCode.Encode(bytes, coded) == coded.Length && HuffmanCode.TryDecode(coded, decoded, out var written) && decoded.AsSpan(0, written).SequenceEqual(bytes);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(500));
    }

    [Fact]
    public void Any_bytes_at_all_are_decoded_or_refused_and_never_expand_beyond_the_limit()
    {
        Prop.ForAll<byte[]>(bytes =>
        {
            var fields = new List<HeaderField>();
            new HpackDecoder(512).Decode(bytes, fields);
            return fields.Sum(f => f.Size) <= 512;
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(2000));
    }

    [Fact]
    public void A_list_over_the_limit_is_reported_and_the_table_stays_in_step()
    {
        var encoder = new HpackEncoder();
        var decoder = new HpackDecoder(200);
        var fields = new List<HeaderField>();
        Assert.Equal(HpackVerdict.TooLarge, decoder.Decode(Encode(encoder, new("a", new string('x', 100)), new("b", new string('y', 100))), fields));
        Assert.Equal([new HeaderField("b", new string('y', 100))], Decode(decoder, Encode(encoder, new HeaderField("b", new string('y', 100)))));
    }

    [Fact]
    public void A_peer_that_wants_no_table_gets_none()
    {
        var encoder = new HpackEncoder();
        Encode(encoder, new HeaderField("x", "1"));
        encoder.LimitTable(0);
        var block = Encode(encoder, new HeaderField("x", "1"));
        Assert.Equal(0x20, block[0]);
        var decoder = new HpackDecoder(4096);
        Assert.Equal([new HeaderField("x", "1")], Decode(decoder, block));
        Assert.Equal([new HeaderField("x", "1")], Decode(decoder, Encode(encoder, new HeaderField("x", "1"))));
    }
}
