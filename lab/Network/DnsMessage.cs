using System.Buffers.Binary;
using System.Net;
using System.Text;

namespace AmbientMesh.Lab.Network;

/// <summary>Record types the cluster DNS answers. Source: RFC 1035 §3.2.2, RFC 3596, RFC 2782.</summary>
public enum DnsType : ushort
{
    A = 1,
    CName = 5,
    Soa = 6,
    Ptr = 12,
    Mx = 15,
    Txt = 16,
    Aaaa = 28,
    Srv = 33,
    Any = 255,
}

public enum DnsCode
{
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NoSuchName = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// <summary>A question: a lower-case name without the final dot.</summary>
public sealed record DnsQuestion(ushort Id, string Name, DnsType Type, bool RecursionDesired)
{
    /// <summary>Octets of a datagram that the asker takes, by its EDNS record (RFC 6891 §6.2.3); null without one.</summary>
    public ushort? PayloadBytes { get; init; }
}

/// <summary>One answer: for A and AAAA an address, for CNAME and PTR a name, for SRV both name and numbers, for other types the data themselves.</summary>
public sealed record DnsRecord(string Name, DnsType Type, IPAddress? Address = null, string? Target = null, ushort Port = 0, byte[]? Data = null);

/// <summary>Reads questions and writes answers. Source: RFC 1035 §4.</summary>
/// <remarks>
/// <code>
///  0  id | 2  flags | 4  questions | 6  answers | 8  authorities | 10  additional
/// 12  question: labels (length octet, octets)* 0 | type | class
///     answer:   name | type | class | ttl (4) | length | data
/// </code>
/// </remarks>
public static class DnsMessage
{
    private const int HeaderBytes = 12;
    private const int TimeToLiveSeconds = 5;
    private const ushort Opt = 41;
    private const ushort OwnPayloadBytes = 1232;
    private const int OptBytes = 11;

    /// <summary>Null for bytes that are not a single question; nothing is answered then.</summary>
    public static DnsQuestion? ReadQuestion(ReadOnlySpan<byte> message)
    {
        if (message.Length < HeaderBytes + 5) return null;
        var flags = BinaryPrimitives.ReadUInt16BigEndian(message[2..]);
        if ((flags & 0x8000) != 0 || BinaryPrimitives.ReadUInt16BigEndian(message[4..]) != 1) return null;
        var labels = new List<string>();
        var at = HeaderBytes;
        while (true)
        {
            if (at >= message.Length) return null;
            int length = message[at++];
            if (length == 0) break;
            if (length > 63 || at + length > message.Length || labels.Count > 127) return null;   // a question has no compression
            labels.Add(Encoding.ASCII.GetString(message.Slice(at, length)).ToLowerInvariant());
            at += length;
        }
        if (at + 4 > message.Length) return null;
        return new DnsQuestion(BinaryPrimitives.ReadUInt16BigEndian(message), string.Join('.', labels), (DnsType)BinaryPrimitives.ReadUInt16BigEndian(message[at..]), (flags & 0x0100) != 0)
        {
            PayloadBytes = Payload(message[(at + 4)..]),
        };
    }

    // root name 0 | type 41 | class = payload | ttl 4 | length; askers send it as the only record
    private static ushort? Payload(ReadOnlySpan<byte> additional) =>
        additional.Length >= OptBytes && additional[0] == 0 && BinaryPrimitives.ReadUInt16BigEndian(additional[1..]) == Opt ? BinaryPrimitives.ReadUInt16BigEndian(additional[3..]) : null;

    /// <param name="limit">Octets the asker takes; a longer answer is cut after whole records and marked so.</param>
    public static byte[] WriteAnswer(DnsQuestion question, DnsCode code, IReadOnlyList<DnsRecord> answers, int limit)
    {
        var bytes = new MemoryStream();
        Write16(bytes, question.Id);
        Write16(bytes, (ushort)(0x8480 | (question.RecursionDesired ? 0x0100 : 0) | (int)code));   // response, authoritative, recursion available
        Write16(bytes, 1);
        Write16(bytes, 0);
        Write16(bytes, code == DnsCode.NoSuchName || answers.Count == 0 ? (ushort)1 : (ushort)0);
        Write16(bytes, 0);
        WriteName(bytes, question.Name);
        Write16(bytes, (ushort)question.Type);
        Write16(bytes, 1);
        var written = 0;
        var truncated = false;
        foreach (var record in answers)
        {
            var before = bytes.Position;
            WriteRecord(bytes, record);
            if (bytes.Position <= limit - (question.PayloadBytes is null ? 0 : OptBytes))
            {
                written++;
                continue;
            }
            bytes.SetLength(before);
            bytes.Position = before;
            truncated = true;
            break;
        }
        if (code == DnsCode.NoSuchName || answers.Count == 0) WriteAuthority(bytes);
        if (question.PayloadBytes is not null) WriteOpt(bytes);
        var result = bytes.ToArray();
        if (question.PayloadBytes is not null) result[11] = 1;
        BinaryPrimitives.WriteUInt16BigEndian(result.AsSpan(6), (ushort)written);
        if (truncated) result[2] |= 0x02;
        return result;
    }

    private static void WriteRecord(MemoryStream bytes, DnsRecord record)
    {
        WriteName(bytes, record.Name);
        Write16(bytes, (ushort)record.Type);
        Write16(bytes, 1);
        Write32(bytes, TimeToLiveSeconds);
        var data = new MemoryStream();
        if (record.Address is { } address)
        {
            data.Write(address.GetAddressBytes());
        }
        else if (record.Data is { } raw)
        {
            data.Write(raw);
        }
        else
        {
            if (record.Type == DnsType.Srv)
            {
                Write16(data, 0);
                Write16(data, 100);
                Write16(data, record.Port);
            }
            WriteName(data, record.Target ?? "");
        }
        Write16(bytes, (ushort)data.Length);
        bytes.Write(data.ToArray());
    }

    private static void WriteOpt(MemoryStream bytes)
    {
        bytes.WriteByte(0);
        Write16(bytes, Opt);
        Write16(bytes, OwnPayloadBytes);
        Write32(bytes, 0);
        Write16(bytes, 0);
    }

    // How long an absent name may be remembered (RFC 2308): short, since services come and go.
    private static void WriteAuthority(MemoryStream bytes)
    {
        WriteName(bytes, LabAddresses.ClusterDomain);
        Write16(bytes, (ushort)DnsType.Soa);
        Write16(bytes, 1);
        Write32(bytes, TimeToLiveSeconds);
        var data = new MemoryStream();
        WriteName(data, $"ns.dns.{LabAddresses.ClusterDomain}");
        WriteName(data, $"hostmaster.{LabAddresses.ClusterDomain}");
        foreach (var number in (uint[])[1, 7200, 1800, 86400, TimeToLiveSeconds]) Write32(data, number);
        Write16(bytes, (ushort)data.Length);
        bytes.Write(data.ToArray());
    }

    private static void WriteName(MemoryStream bytes, string name)
    {
        foreach (var label in name.Split('.', StringSplitOptions.RemoveEmptyEntries))
        {
            var octets = Encoding.ASCII.GetBytes(label);
            bytes.WriteByte((byte)Math.Min(octets.Length, 63));
            bytes.Write(octets, 0, Math.Min(octets.Length, 63));
        }
        bytes.WriteByte(0);
    }

    private static void Write16(MemoryStream bytes, ushort value)
    {
        Span<byte> octets = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16BigEndian(octets, value);
        bytes.Write(octets);
    }

    private static void Write32(MemoryStream bytes, uint value)
    {
        Span<byte> octets = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(octets, value);
        bytes.Write(octets);
    }
}
