using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Google.Protobuf;

namespace AmbientMesh.ControlPlane.Translation;

/// <summary>Addresses of Kubernetes objects as the wire carries them: 4 or 16 bytes, IPv4-mapped IPv6 as IPv4.</summary>
internal static class WireAddress
{
    /// <exception cref="FormatException"><paramref name="text"/> is not an IP address; the message names <paramref name="owner"/>.</exception>
    public static IPAddress Parse(string text, string owner)
    {
        if (!IPAddress.TryParse(text, out var address) || text.Contains('%')) throw new FormatException($"{owner} has the address '{text}', which is not an IP address.");
        return address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
    }

    /// <summary>Reads an address (a range of one) or a CIDR range; bits behind the prefix are cleared, as the API server lets them be written.</summary>
    public static bool TryRange(string text, out IPNetwork range)
    {
        range = default;
        var slash = text.IndexOf('/');
        if (text.Contains('%') || !IPAddress.TryParse(slash < 0 ? text : text[..slash], out var address)) return false;
        if (address.IsIPv4MappedToIPv6) address = address.MapToIPv4();
        var length = BitsOf(address);
        if (slash >= 0 && (!int.TryParse(text.AsSpan(slash + 1), NumberStyles.None, CultureInfo.InvariantCulture, out length) || length > BitsOf(address))) return false;
        range = new IPNetwork(Masked(address, length), length);
        return true;
    }

    /// <summary>32 or 128.</summary>
    public static int BitsOf(IPAddress address) => address.AddressFamily == AddressFamily.InterNetwork ? 32 : 128;

    private static IPAddress Masked(IPAddress address, int length)
    {
        var bytes = address.GetAddressBytes();
        for (var bit = length; bit < bytes.Length * 8; bit++) bytes[bit / 8] &= (byte)~(0x80 >> (bit % 8));
        return new IPAddress(bytes);
    }

    public static ByteString Of(IPAddress address) => ByteString.CopyFrom(address.GetAddressBytes());
}

/// <summary>Ports of Kubernetes objects as the wire carries them.</summary>
internal static class WirePort
{
    /// <exception cref="FormatException"><paramref name="number"/> is no port; the message names <paramref name="owner"/>.</exception>
    public static uint Of(long number, string owner) =>
        number is >= 0 and <= ushort.MaxValue ? (uint)number : throw new FormatException($"{owner} has the port {number}, which is out of range; expected 1 to 65535.");
}
