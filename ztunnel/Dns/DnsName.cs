using System.Text;

namespace AmbientMesh.Ztunnel.Dns;

/// <summary>A domain name off the wire, in lower case and without the final dot; the root is the empty text.</summary>
/// <param name="Text">Labels joined by dots; octets that cannot stand in a host name are written <c>\DDD</c> (RFC 1035 §5.1).</param>
/// <param name="IsPlain">Every label is made of letters, digits, hyphens, underscores and asterisks, so that equal texts mean equal names.</param>
public readonly record struct DnsName(string Text, bool IsPlain)
{
    /// <summary>Octets of a name at most, with the length octets and the final zero (RFC 1035 §2.3.4).</summary>
    public const int MaxBytes = 255;
    private const int MaxLabelBytes = 63;
    private const int MaxPointers = 64;   // a writer needs one for a name; without a bound, names that point through one another take the square of their number to read
    private const byte PointerBits = 0xc0;

    /// <summary>Reads the name at <paramref name="at"/>, which is moved behind it; false with a reason for anything that is no name.</summary>
    /// <remarks>
    /// <code>
    /// label:   00LLLLLL octets        (RFC 1035 §3.1)
    /// pointer: 11OOOOOO OOOOOOOO      (RFC 1035 §4.1.4): the rest of the name stands at that offset of the message
    /// </code>
    /// Each pointer must lead to before the place the name, or the part of it read last, began, and there are few of them: so reading always ends, and soon.
    /// </remarks>
    public static bool TryRead(ReadOnlySpan<byte> message, ref int at, out DnsName name, out string reason)
    {
        name = default;
        var text = new StringBuilder(64);
        var plain = true;
        var (position, began, length) = (at, at, 1);
        var pointers = 0;
        while (true)
        {
            if (position >= message.Length) return Fail("a name runs past the end", out reason);
            var octet = message[position];
            if ((octet & PointerBits) == PointerBits)
            {
                if (position + 1 >= message.Length) return Fail("a name runs past the end", out reason);
                var target = (octet & ~PointerBits) << 8 | message[position + 1];
                if (pointers == 0) at = position + 2;
                if (target >= began || target < DnsHeader.Bytes) return Fail("a compression pointer does not lead backwards to a name", out reason);
                if (++pointers > MaxPointers) return Fail($"a name is made of more than {MaxPointers} compression pointers", out reason);
                (position, began) = (target, target);
                continue;
            }
            if (octet > MaxLabelBytes) return Fail($"label type 0x{octet & PointerBits:x2} is unknown", out reason);
            position++;
            if (octet == 0) break;
            if (position + octet > message.Length) return Fail("a label runs past the end", out reason);
            length += octet + 1;
            if (length > MaxBytes) return Fail($"a name is longer than {MaxBytes} octets", out reason);
            if (text.Length > 0) text.Append('.');
            plain &= Append(text, message.Slice(position, octet));
            position += octet;
        }
        if (pointers == 0) at = position;
        name = new DnsName(text.ToString(), plain);
        reason = "";
        return true;
    }

    public override string ToString() => Text + ".";

    private static bool Append(StringBuilder text, ReadOnlySpan<byte> label)
    {
        var plain = true;
        foreach (var octet in label)
        {
            var lower = octet is >= (byte)'A' and <= (byte)'Z' ? (byte)(octet | 0x20) : octet;
            if (lower is (>= (byte)'a' and <= (byte)'z') or (>= (byte)'0' and <= (byte)'9') or (byte)'-' or (byte)'_' or (byte)'*')
            {
                text.Append((char)lower);
                continue;
            }
            plain = false;
            text.Append('\\').Append((char)('0' + (octet / 100))).Append((char)('0' + (octet / 10 % 10))).Append((char)('0' + (octet % 10)));
        }
        return plain;
    }

    private static bool Fail(string why, out string reason)
    {
        reason = why;
        return false;
    }
}
