using System.Net;
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

    public static ByteString Of(IPAddress address) => ByteString.CopyFrom(address.GetAddressBytes());
}
