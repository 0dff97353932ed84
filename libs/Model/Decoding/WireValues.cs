using System.Net;
using Google.Protobuf;

namespace AmbientMesh.Model.Decoding;

/// <summary>A resource that cannot be used; the message is the reason given to the control plane.</summary>
internal sealed class UnusableResourceException(string message) : Exception(message);

/// <summary>Single values of the wire, checked.</summary>
internal static class WireValues
{
    /// <summary>4 or 16 bytes; IPv4-mapped IPv6 becomes IPv4.</summary>
    internal static IPAddress Address(ByteString bytes)
    {
        if (bytes.Length is not (4 or 16)) throw new UnusableResourceException($"failed to parse address, had {bytes.Length} bytes");
        var address = new IPAddress(bytes.Span);
        return address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
    }

    /// <summary>The range of <paramref name="length"/> leading bits; bits after them are ignored.</summary>
    internal static IPNetwork Range(IPAddress address, uint length)
    {
        var bytes = address.GetAddressBytes();
        if (length > bytes.Length * 8) throw new UnusableResourceException($"prefix length {length} is too long for {address}");
        for (var bit = (int)length; bit < bytes.Length * 8; bit++) bytes[bit / 8] &= (byte)~(0x80 >> (bit % 8));
        return new IPNetwork(new IPAddress(bytes), (int)length);
    }

    internal static ushort Port(uint port) => port <= ushort.MaxValue ? (ushort)port : throw new UnusableResourceException($"port {port} is out of range");

    internal static T Known<T>(T value) where T : struct, Enum =>
        Enum.IsDefined(value) ? value : throw new UnusableResourceException($"decode error: unknown enumeration value {Convert.ToInt32(value)}");
}
