using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace AmbientMesh.Model.Authorization;

/// <summary>The address ranges something may lie in, by number.</summary>
internal sealed class NetworkTerms(TermNumbers numbers)
{
    private readonly Dictionary<Range, (int Number, IPNetwork Network)> _ranges = [];
    private readonly List<(bool IsV6, int Length)> _lengths = [];

    public int Number(IPNetwork network)
    {
        var isV6 = network.BaseAddress.AddressFamily == AddressFamily.InterNetworkV6;
        var range = Range.Of(Range.Bits(network.BaseAddress), isV6, network.PrefixLength);
        if (_ranges.TryGetValue(range, out var known)) return known.Number;
        if (!_lengths.Contains((isV6, network.PrefixLength))) _lengths.Add((isV6, network.PrefixLength));
        var number = numbers.Next();
        _ranges[range] = (number, network);
        return number;
    }

    public void Mark(IPAddress address, Span<ulong> held)
    {
        if (_lengths.Count == 0) return;
        // Ranges and addresses may be written as IPv4 or as IPv6 that stands for it: both are looked up, and the range itself has the last word.
        var given = Range.Bits(address);
        var isV6 = address.AddressFamily == AddressFamily.InterNetworkV6;
        var v6 = isV6 ? given : ((UInt128)0xffff << 32) | (given >> 96);
        var v4 = isV6 ? given << 96 : given;
        foreach (var (rangeIsV6, length) in _lengths)
            if (_ranges.TryGetValue(Range.Of(rangeIsV6 ? v6 : v4, rangeIsV6, length), out var found) && found.Network.Contains(address)) TermNumbers.Set(held, found.Number);
    }

    /// <summary>The leading bits of an address, and how many count.</summary>
    private readonly record struct Range(UInt128 Leading, bool IsV6, int Length)
    {
        public static Range Of(UInt128 bits, bool isV6, int length) => new(length == 0 ? 0 : bits & (UInt128.MaxValue << (128 - length)), isV6, length);

        /// <summary>The address's bits, the first one leftmost.</summary>
        public static UInt128 Bits(IPAddress address)
        {
            Span<byte> bytes = stackalloc byte[16];
            bytes.Clear();
            address.TryWriteBytes(bytes, out _);
            return BinaryPrimitives.ReadUInt128BigEndian(bytes);
        }
    }
}
