using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;

namespace AmbientMesh.Ztunnel.Dns;

/// <summary>Record types the proxy acts on; others are only passed on. Source: IANA DNS parameters.</summary>
public static class DnsTypes
{
    public const ushort A = 1, CName = 5, Aaaa = 28, Opt = 41, Ixfr = 251, Axfr = 252;
    public const ushort Internet = 1;

    /// <summary>The name of a type as metrics and logs have it; <c>unknown</c> for one outside the closed set.</summary>
    public static string NameOf(ushort type) => type switch
    {
        1 => "a",
        2 => "ns",
        5 => "cname",
        6 => "soa",
        10 => "null",
        12 => "ptr",
        13 => "hinfo",
        15 => "mx",
        16 => "txt",
        25 => "key",
        28 => "aaaa",
        33 => "srv",
        35 => "naptr",
        43 => "ds",
        44 => "sshfp",
        46 => "rrsig",
        47 => "nsec",
        48 => "dnskey",
        50 => "nsec3",
        52 => "tlsa",
        64 => "svcb",
        65 => "https",
        251 => "ixfr",
        252 => "axfr",
        255 => "any",
        257 => "caa",
        _ => "unknown",
    };
}

/// <summary>Response codes the proxy gives by itself. Source: RFC 1035 §4.1.1.</summary>
public enum DnsCode
{
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NotImplemented = 4,
    Refused = 5,
}

/// <summary>The first 12 octets of a message.</summary>
/// <remarks>
/// <code>
///  0 id | 2 QR opcode(4) AA TC RD, RA Z AD CD rcode(4) | 4 questions | 6 answers | 8 authorities | 10 additional     (RFC 1035 §4.1.1, RFC 4035 §3.2)
/// </code>
/// </remarks>
public readonly record struct DnsHeader(ushort Id, ushort Flags, ushort Questions, ushort Answers, ushort Authorities, ushort Additional)
{
    public const int Bytes = 12;
    public const ushort Response = 0x8000, Authoritative = 0x0400, Truncated = 0x0200, RecursionDesired = 0x0100, RecursionAvailable = 0x0080, CheckingDisabled = 0x0010, OpcodeBits = 0x7800;

    public bool IsResponse => (Flags & Response) != 0;
    public bool IsTruncated => (Flags & Truncated) != 0;
    public int Opcode => (Flags & OpcodeBits) >> 11;
    public DnsCode Code => (DnsCode)(Flags & 0xf);

    public static bool TryRead(ReadOnlySpan<byte> message, out DnsHeader header)
    {
        header = default;
        if (message.Length < Bytes) return false;
        header = new DnsHeader(
            BinaryPrimitives.ReadUInt16BigEndian(message), BinaryPrimitives.ReadUInt16BigEndian(message[2..]), BinaryPrimitives.ReadUInt16BigEndian(message[4..]),
            BinaryPrimitives.ReadUInt16BigEndian(message[6..]), BinaryPrimitives.ReadUInt16BigEndian(message[8..]), BinaryPrimitives.ReadUInt16BigEndian(message[10..]));
        return true;
    }
}

public readonly record struct DnsQuestion(DnsName Name, ushort Type, ushort Class);

/// <summary>A resource record; its data stand at <paramref name="DataAt"/> of the message, since names in them may point back into it.</summary>
public readonly record struct DnsRecord(DnsName Owner, ushort Type, ushort Class, uint Ttl, int DataAt, int DataLength);

/// <summary>A message off the wire, read whole or not at all. Pure; safe for hostile bytes: it never reads past them and always ends.</summary>
public sealed record DnsMessage
{
    // The smallest question is a root name, a type and a class; the smallest record has a life time and a length besides.
    private const int SmallestQuestion = 5, SmallestRecord = 11;

    public required DnsHeader Header { get; init; }
    public required ImmutableArray<DnsQuestion> Questions { get; init; }

    /// <summary>Where the questions end and the answers begin.</summary>
    public required int QuestionsEnd { get; init; }
    public required ImmutableArray<DnsRecord> Answers { get; init; }
    public required ImmutableArray<DnsRecord> Authorities { get; init; }
    public required ImmutableArray<DnsRecord> Additional { get; init; }

    /// <summary>Reads a message; false with a reason for anything that is none. Octets after the last record are left alone.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out DnsMessage? message, out string reason)
    {
        message = null;
        if (!DnsHeader.TryRead(bytes, out var header))
        {
            reason = $"{bytes.Length} octets are no header";
            return false;
        }
        // Counts are checked against what can be there before memory is taken for them.
        if (header.Questions * SmallestQuestion + (header.Answers + header.Authorities + header.Additional) * SmallestRecord > bytes.Length - DnsHeader.Bytes)
        {
            reason = "it promises more records than it has octets for";
            return false;
        }
        var at = DnsHeader.Bytes;
        if (!TryReadQuestions(bytes, header.Questions, ref at, out var questions, out reason)) return false;
        var questionsEnd = at;
        if (!TryReadRecords(bytes, header.Answers, ref at, out var answers, out reason)) return false;
        if (!TryReadRecords(bytes, header.Authorities, ref at, out var authorities, out reason)) return false;
        if (!TryReadRecords(bytes, header.Additional, ref at, out var additional, out reason)) return false;
        message = new DnsMessage { Header = header, Questions = questions, QuestionsEnd = questionsEnd, Answers = answers, Authorities = authorities, Additional = additional };
        return true;
    }

    private static bool TryReadQuestions(ReadOnlySpan<byte> bytes, int count, ref int at, out ImmutableArray<DnsQuestion> questions, out string reason)
    {
        var read = ImmutableArray.CreateBuilder<DnsQuestion>(count);
        questions = [];
        reason = "";
        for (var i = 0; i < count; i++)
        {
            if (!DnsName.TryRead(bytes, ref at, out var name, out reason)) return false;
            if (at + 4 > bytes.Length)
            {
                reason = "a question runs past the end";
                return false;
            }
            read.Add(new DnsQuestion(name, BinaryPrimitives.ReadUInt16BigEndian(bytes[at..]), BinaryPrimitives.ReadUInt16BigEndian(bytes[(at + 2)..])));
            at += 4;
        }
        questions = read.MoveToImmutable();
        return true;
    }

    // owner | type 2 | class 2 | ttl 4 | length 2 | data        (RFC 1035 §4.1.3)
    private static bool TryReadRecords(ReadOnlySpan<byte> bytes, int count, ref int at, out ImmutableArray<DnsRecord> records, out string reason)
    {
        var read = ImmutableArray.CreateBuilder<DnsRecord>(count);
        records = [];
        reason = "";
        for (var i = 0; i < count; i++)
        {
            if (!DnsName.TryRead(bytes, ref at, out var owner, out reason)) return false;
            var length = at + 10 <= bytes.Length ? BinaryPrimitives.ReadUInt16BigEndian(bytes[(at + 8)..]) : ushort.MaxValue;
            if (at + 10 + length > bytes.Length)
            {
                reason = "a record runs past the end";
                return false;
            }
            var fixedPart = bytes[at..];
            read.Add(new DnsRecord(owner, BinaryPrimitives.ReadUInt16BigEndian(fixedPart), BinaryPrimitives.ReadUInt16BigEndian(fixedPart[2..]), BinaryPrimitives.ReadUInt32BigEndian(fixedPart[4..]), at + 10, length));
            at += 10 + length;
        }
        records = read.MoveToImmutable();
        return true;
    }
}
