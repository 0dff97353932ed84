using System.Diagnostics.CodeAnalysis;

namespace AmbientMesh.Ztunnel.Dns;

public enum DnsTransport { Udp, Tcp }

/// <summary>The extension a client sent (RFC 6891).</summary>
/// <param name="PayloadBytes">Octets the client takes in a datagram.</param>
public readonly record struct Edns(ushort PayloadBytes, byte Version, bool DnssecOk);

/// <summary>What a client asks: one question, and its bytes, which answers repeat as they came.</summary>
public sealed record DnsQuery
{
    private const int PlainUdpBytes = 512;   // RFC 1035 §4.2.1

    public required DnsHeader Header { get; init; }
    public required DnsQuestion Question { get; init; }

    /// <summary>The question as sent, letter case included.</summary>
    public required byte[] QuestionBytes { get; init; }

    /// <summary>Null when the client sent none.</summary>
    public Edns? Edns { get; init; }

    /// <summary>Octets an answer may have.</summary>
    public int Limit(DnsTransport transport) => transport == DnsTransport.Tcp ? ushort.MaxValue : Math.Max((int)(Edns?.PayloadBytes ?? 0), PlainUdpBytes);

    /// <summary>Reads a message that is a question; false with a reason when it has none, several, or is broken.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out DnsQuery? query, out string reason)
    {
        query = null;
        if (!DnsMessage.TryParse(bytes, out var message, out reason)) return false;
        if (message.Questions is not [var question])
        {
            reason = $"it has {message.Questions.Length} questions";
            return false;
        }
        Edns? edns = null;
        foreach (var record in message.Additional)
        {
            if (record.Type != DnsTypes.Opt) continue;
            if (edns is not null)
            {
                reason = "it has several OPT records";
                return false;
            }
            // OPT: class is the payload size; ttl is extended code 8, version 8, DO 1, zero 15 (RFC 6891 §6.1.3)
            edns = new Edns(record.Class, (byte)(record.Ttl >> 16), (record.Ttl & 0x8000) != 0);
        }
        query = new DnsQuery { Header = message.Header, Question = question, QuestionBytes = bytes[DnsHeader.Bytes..message.QuestionsEnd].ToArray(), Edns = edns };
        return true;
    }
}
