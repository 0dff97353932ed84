using System.Buffers.Binary;
using System.Net;
using System.Text;

namespace AmbientMesh.Ztunnel.Dns;

/// <summary>Writes the proxy's own answers. Flags, order and compression are those of the recorded ones (samples/ztunnel/dns).</summary>
/// <remarks>Owner names are lower-case and compressed among themselves, not against the question, which is repeated as it was sent.</remarks>
public sealed class AnswerWriter
{
    private const uint TimeToLiveSeconds = 30;
    private const int OptBytes = 11;

    private byte[] _buffer = new byte[512];
    private int _length;
    private readonly Dictionary<string, int> _names = [];

    private AnswerWriter()
    {
    }

    /// <summary>The addresses of a name the mesh knows, in this order; with none, that it has none. What does not fit is left out and the message marked as truncated.</summary>
    /// <param name="limit">Octets the client takes.</param>
    public static byte[] Addresses(DnsQuery query, NameDecision.Answer answer, IReadOnlyList<IPAddress> addresses, int limit)
    {
        var writer = new AnswerWriter();
        var flags = DnsHeader.Response | DnsHeader.Authoritative | DnsHeader.RecursionAvailable | (query.Header.Flags & (DnsHeader.RecursionDesired | DnsHeader.CheckingDisabled));
        writer.Header(query.Header.Id, (ushort)flags, query.QuestionBytes);
        var room = limit - (query.Edns is null ? 0 : OptBytes);
        ushort written = 0;
        var complete = addresses.Count == 0 || answer.Alias is null || writer.TryAdd(ref written, room, () => writer.Alias(answer.Alias, answer.Owner));
        foreach (var address in addresses)
        {
            complete = complete && writer.TryAdd(ref written, room, () => writer.Address(answer.Owner, address));
            if (!complete) break;
        }
        if (query.Edns is { } edns) writer.Opt(edns);
        var bytes = writer.ToArray();
        BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(6), written);
        if (query.Edns is not null) bytes[11] = 1;
        if (!complete) bytes[2] |= DnsHeader.Truncated >> 8;
        return bytes;
    }

    /// <summary>A refusal or failure; recursion is not claimed and no extension repeated.</summary>
    public static byte[] Failure(DnsQuery query, DnsCode code)
    {
        var writer = new AnswerWriter();
        writer.Header(query.Header.Id, FailureFlags(query.Header, code), query.QuestionBytes);
        return writer.ToArray();
    }

    /// <summary>For a message whose question cannot be read: the header alone.</summary>
    public static byte[] Failure(DnsHeader header, DnsCode code)
    {
        var writer = new AnswerWriter();
        writer.Header(header.Id, FailureFlags(header, code), []);
        return writer.ToArray();
    }

    private static ushort FailureFlags(DnsHeader header, DnsCode code) =>
        (ushort)(DnsHeader.Response | (header.Flags & (DnsHeader.OpcodeBits | DnsHeader.RecursionDesired | DnsHeader.CheckingDisabled)) | (int)code);

    private void Header(ushort id, ushort flags, byte[] question)
    {
        Write16(id);
        Write16(flags);
        Write16((ushort)(question.Length > 0 ? 1 : 0));
        Write16(0);
        Write16(0);
        Write16(0);
        Write(question);
    }

    private bool TryAdd(ref ushort written, int limit, Action write)
    {
        var before = _length;
        write();
        if (_length <= limit)
        {
            written++;
            return true;
        }
        _length = before;
        return false;
    }

    private void Address(string owner, IPAddress address)
    {
        Record(owner, address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6 ? DnsTypes.Aaaa : DnsTypes.A);
        var data = address.GetAddressBytes();
        Write16((ushort)data.Length);
        Write(data);
    }

    private void Alias(string owner, string target)
    {
        Record(owner, DnsTypes.CName);
        var lengthAt = _length;
        Write16(0);
        Name(target);
        BinaryPrimitives.WriteUInt16BigEndian(_buffer.AsSpan(lengthAt), (ushort)(_length - lengthAt - 2));
    }

    private void Record(string owner, ushort type)
    {
        Name(owner);
        Write16(type);
        Write16(DnsTypes.Internet);
        Write32(TimeToLiveSeconds);
    }

    private void Opt(Edns edns)
    {
        Write([0]);
        Write16(DnsTypes.Opt);
        Write16(Math.Max(edns.PayloadBytes, (ushort)512));
        Write32(edns.DnssecOk ? 0x8000u : 0);
        Write16(0);
    }

    /// <summary>Writes a plain name, pointing at an earlier occurrence of it or of its end.</summary>
    private void Name(string name)
    {
        var rest = name;
        while (rest.Length > 0)
        {
            if (_names.TryGetValue(rest, out var known))
            {
                Write16((ushort)(0xc000 | known));
                return;
            }
            if (_length < 0x4000) _names[rest] = _length;
            var dot = rest.IndexOf('.');
            var label = dot < 0 ? rest : rest[..dot];
            Write([(byte)label.Length]);
            Write(Encoding.ASCII.GetBytes(label));
            rest = dot < 0 ? "" : rest[(dot + 1)..];
        }
        Write([0]);
    }

    private void Write16(ushort value)
    {
        Span<byte> octets = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16BigEndian(octets, value);
        Write(octets);
    }

    private void Write32(uint value)
    {
        Span<byte> octets = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(octets, value);
        Write(octets);
    }

    private void Write(ReadOnlySpan<byte> octets)
    {
        if (_length + octets.Length > _buffer.Length) Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, _length + octets.Length));
        octets.CopyTo(_buffer.AsSpan(_length));
        _length += octets.Length;
    }

    private byte[] ToArray() => _buffer[.._length];
}
