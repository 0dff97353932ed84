using System.Net;
using System.Text;

namespace AmbientMesh.Lab.Capture;

/// <summary>What a capture saw, put back into byte streams, with the questions a proof asks of it.</summary>
public sealed class WireRecording
{
    private readonly Dictionary<TcpFlow, byte[]> _flows;

    public WireRecording(IEnumerable<TcpSegment> segments) =>
        _flows = segments.GroupBy(s => s.Flow).ToDictionary(g => g.Key, g => Reassemble([.. g]));

    public IReadOnlyCollection<TcpFlow> Flows => _flows.Keys;

    /// <summary>Flows with both ends among <paramref name="addresses"/>.</summary>
    public IEnumerable<TcpFlow> Between(IReadOnlySet<IPAddress> addresses) =>
        _flows.Keys.Where(f => addresses.Contains(f.Source.Address) && addresses.Contains(f.Destination.Address));

    /// <summary>The bytes of a flow in order.</summary>
    public ReadOnlySpan<byte> Content(TcpFlow flow) => _flows[flow];

    public long Bytes(TcpFlow flow) => _flows[flow].Length;

    /// <summary>The flows that carried <paramref name="text"/> readable.</summary>
    public IEnumerable<TcpFlow> Showing(string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        return _flows.Where(f => f.Value.AsSpan().IndexOf(bytes) >= 0).Select(f => f.Key);
    }

    /// <summary>True when the flow is, from its first byte to its last, a chain of TLS records (RFC 8446 §5.1). The last record may be cut.</summary>
    public bool IsOnlyTls(TcpFlow flow)
    {
        var bytes = _flows[flow].AsSpan();
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
        string.Concat(_flows[flow].Take(length).Select(b => b is >= 0x20 and < 0x7F ? (char)b : '.'));

    // A bridge shows each frame once per port, so segments repeat; later ones may overlap earlier ones (retransmission).
    private static byte[] Reassemble(TcpSegment[] segments)
    {
        var first = segments[0].Sequence;
        var ordered = segments.Select(s => (Offset: (int)(s.Sequence - first), s.Payload)).OrderBy(s => s.Offset).ToList();
        var start = ordered[0].Offset;
        using var stream = new MemoryStream();
        var next = start;
        foreach (var (offset, payload) in ordered)
        {
            var skip = next - offset;
            if (skip >= payload.Length) continue;
            var fresh = payload.Span[Math.Max(0, skip)..];
            stream.Write(fresh);
            next = offset + payload.Length;
        }
        return stream.ToArray();
    }
}
