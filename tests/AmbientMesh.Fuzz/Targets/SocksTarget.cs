using System.Buffers.Binary;
using System.Text;
using AmbientMesh.Ztunnel.Socks;

namespace AmbientMesh.Fuzz.Targets;

/// <summary>What an application says to the SOCKS5 listener: the same however its bytes are cut, never reading into what is for the destination.</summary>
public sealed class SocksTarget : FuzzTarget
{
    private delegate SocksRead Parser(ReadOnlySpan<byte> bytes);

    public override string Name => "socks";
    public override string Purpose => "SOCKS5 greetings and requests: the same however they are cut and whatever follows, bounded, and one destination read again as itself";

    public override IEnumerable<byte[]> Seeds() =>
    [
        [5, 1, 0],
        [5, 3, 2, 1, 0],
        [5, 1, 0, 1, 10, 0, 0, 1, 0, 80],
        [5, 1, 0, 4, .. new byte[15], 1, 0, 80],
        [5, 1, 0, 3, 6, .. "a.Test"u8, 0, 80],
        [5, 1, 0, 3, 8, .. "10.0.0.1"u8, 0, 80],
        [5, 2, 0, 1, 10, 0, 0, 1, 0, 80],
    ];

    public override void Run(byte[] input)
    {
        ReadBothWays(SocksMessages.ParseGreeting, input);
        if (ReadBothWays(SocksMessages.ParseRequest, input) is SocksRead.Connect found) Again(found);
    }

    private static SocksRead ReadBothWays(Parser parse, byte[] input)
    {
        var (read, length) = AsTheProxyDoes(parse, input);
        var whole = parse(input);
        Demand.Equal(Told(whole), Told(read), "the same in pieces as at once");
        if (read is SocksRead.Unfinished) return read;
        byte[] followed = [.. input.AsSpan(0, length), 0, 255, 5];
        Demand.Equal(Told(read), Told(parse(followed)), "the same whatever follows");
        return read;
    }

    // Reads on to what is asked for, as long as there is more.
    private static (SocksRead Read, int Length) AsTheProxyDoes(Parser parse, byte[] input)
    {
        var have = 0;
        while (parse(input.AsSpan(0, have)) is var read)
        {
            if (read is not SocksRead.Unfinished more) return (read, have);
            Demand.That(more.Length > have && more.Length <= SocksMessages.MaxBytes, $"{more.Length} bytes asked for after {have}");
            if (more.Length > input.Length) return (parse(input), input.Length);
            have = more.Length;
        }
        throw new InvalidOperationException();
    }

    private static void Again(SocksRead.Connect found)
    {
        Demand.That(found.Port > 0 && found.Host.Length is > 0 and <= 253, "a destination");
        Demand.Equal(found.Host, found.Host.ToLowerInvariant(), "lower case");
        var host = Encoding.ASCII.GetBytes(found.Host);
        byte[] address = found.Address is { } ip ? [ip.GetAddressBytes().Length == 4 ? (byte)1 : (byte)4, .. ip.GetAddressBytes()] : [3, (byte)host.Length, .. host];
        byte[] request = [5, 1, 0, .. address, 0, 0];
        BinaryPrimitives.WriteUInt16BigEndian(request.AsSpan(request.Length - 2), found.Port);
        Demand.Equal(Told(found), Told(SocksMessages.ParseRequest(request)), "read again as itself");
    }

    private static string Told(SocksRead read) => read is SocksRead.Refused refused ? $"{Convert.ToHexString(refused.Answer.Span)} {refused.Problem}" : $"{read}";
}
