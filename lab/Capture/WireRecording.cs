using System.Net;
using System.Text;

namespace AmbientMesh.Lab.Capture;

/// <summary>What a capture saw, put back into byte streams, with the questions a proof asks of it.</summary>
public sealed class WireRecording
{
    private readonly Dictionary<TcpFlow, List<byte[]>> _flows;

    public WireRecording(IEnumerable<TcpSegment> segments) =>
        _flows = segments.GroupBy(s => s.Flow).ToDictionary(g => g.Key, g => Reassemble([.. g]));

    public IReadOnlyCollection<TcpFlow> Flows => _flows.Keys;

    /// <summary>Flows with both ends among <paramref name="addresses"/>.</summary>
    public IEnumerable<TcpFlow> Between(IReadOnlySet<IPAddress> addresses) =>
        _flows.Keys.Where(f => addresses.Contains(f.Source.Address) && addresses.Contains(f.Destination.Address));

    /// <summary>The bytes of a flow in order: one piece, or several where sequence numbers are missing in between, as when ports are used again.</summary>
    public IReadOnlyList<byte[]> Pieces(TcpFlow flow) => _flows[flow];

    public long Bytes(TcpFlow flow) => _flows[flow].Sum(piece => (long)piece.Length);

    /// <summary>The flows that carried <paramref name="text"/> readable.</summary>
    public IEnumerable<TcpFlow> Showing(string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        return _flows.Where(f => f.Value.Any(piece => piece.AsSpan().IndexOf(bytes) >= 0)).Select(f => f.Key);
    }

    /// <summary>True when each piece of the flow is, from its first byte to its last, a chain of TLS records (RFC 8446 §5.1). The last record may be cut.</summary>
    public bool IsOnlyTls(TcpFlow flow) => _flows[flow].All(IsOnlyTls);

    private static bool IsOnlyTls(byte[] piece)
    {
        var bytes = piece.AsSpan();
        while (bytes.Length >= 5)
        {
            var (type, major, minor, length) = (bytes[0], bytes[1], bytes[2], (bytes[3] << 8) | bytes[4]);
            if (type is < 20 or > 23 || major != 3 || minor > 3 || length is 0 or > 16384 + 256) return false;
            bytes = bytes[Math.Min(bytes.Length, 5 + length)..];
        }
        return true;
    }

    /// <summary>The first bytes of a flow, unprintable ones as dots.</summary>
    public string Preview(TcpFlow flow, int length) =>
        string.Concat(_flows[flow].SelectMany(piece => piece).Take(length).Select(b => b is >= 0x20 and < 0x7F ? (char)b : '.'));

    // A bridge shows each frame once per port, so segments repeat; later ones may overlap earlier ones (retransmission). What is missing is never bridged: a piece ends there.
    private static List<byte[]> Reassemble(TcpSegment[] segments)
    {
        var pieces = new List<byte[]>();
        var first = segments[0].Sequence;
        var ordered = segments.Select(s => (Offset: (int)(s.Sequence - first), s.Payload)).OrderBy(s => s.Offset).ToList();
        var start = ordered[0].Offset;
        using var piece = new MemoryStream();
        var next = start;
        foreach (var (offset, payload) in ordered)
        {
            var skip = next - offset;
            if (skip >= payload.Length) continue;
            if (skip < 0)
            {
                pieces.Add(piece.ToArray());
                piece.SetLength(0);
                skip = 0;
            }
            piece.Write(payload.Span[skip..]);
            next = offset + payload.Length;
        }
        pieces.Add(piece.ToArray());
        return pieces;
    }
}
