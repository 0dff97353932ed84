using System.Buffers;
using System.Buffers.Binary;
using System.Net;
using System.Text;

namespace AmbientMesh.Ztunnel.Socks;

/// <summary>What a client is answered (RFC 1928 §6).</summary>
public enum SocksReply : byte
{
    Succeeded = 0,
    GeneralFailure = 1,
    NotAllowed = 2,
    NetworkUnreachable = 3,
    HostUnreachable = 4,
    ConnectionRefused = 5,
    CommandNotSupported = 7,
    AddressTypeNotSupported = 8,
}

/// <summary>What the bytes of a client come to so far. Exactly one case holds.</summary>
public abstract record SocksRead
{
    private SocksRead() { }

    /// <summary>More is needed to tell.</summary>
    /// <param name="Length">Bytes of the message, from its beginning, to read before it is looked at again; never beyond its end, since what follows is for the destination.</param>
    public sealed record Unfinished(int Length) : SocksRead;

    /// <summary>The client offers to go on without authentication.</summary>
    public sealed record Greeting : SocksRead
    {
        public static Greeting Instance { get; } = new();
    }

    /// <summary>A TCP connection is asked for.</summary>
    /// <param name="Address">Null when a name is given; IPv4-mapped addresses are IPv4 here.</param>
    /// <param name="Host">The name in lower case, or the address as text.</param>
    public sealed record Connect(IPAddress? Address, string Host, ushort Port) : SocksRead;

    /// <summary>This goes no further.</summary>
    /// <param name="Answer">To be sent before the end; empty for a client that speaks something else.</param>
    public sealed record Refused(ReadOnlyMemory<byte> Answer, string Problem) : SocksRead;
}

/// <summary>Reads and writes the messages of SOCKS5, as far as it is spoken here: no authentication, TCP connections only. Pure.</summary>
/// <remarks>
/// Source: RFC 1928.
/// <code>
/// greeting  05 | count | method…                                  §3, 3 to 257 bytes
/// answer    05 | method, FF for none
/// request   05 | command | 00 | type | address | port 2           §4, 8 to 262 bytes
///           type 01: 4 bytes, 03: length and name, 04: 16 bytes
/// reply     05 | code | 00 | 01 | 00 00 00 00 | 00 00             §6
/// </code>
/// </remarks>
public static class SocksMessages
{
    /// <summary>The longest message, a request with a name of 255 bytes.</summary>
    public const int MaxBytes = 262;

    private const byte Version = 5, NoAuthentication = 0, NoMethod = 0xFF, ConnectCommand = 1, Ipv4 = 1, Name = 3, Ipv6 = 4;
    private const int MaxName = 253;   // RFC 1035 §3.1, as text

    private static readonly SearchValues<byte> s_nameBytes = SearchValues.Create("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."u8);

    /// <summary>The answer to a greeting that is understood.</summary>
    public static ReadOnlyMemory<byte> Selected { get; } = new byte[] { Version, NoAuthentication };

    private static readonly ReadOnlyMemory<byte> s_noneSelected = new byte[] { Version, NoMethod };

    /// <summary>The answer to a request. The address bound is not told: what is behind a tunnel has none that the client could use.</summary>
    public static byte[] Write(SocksReply reply) => [Version, (byte)reply, 0, Ipv4, 0, 0, 0, 0, 0, 0];

    /// <summary>Reads the first message of a client.</summary>
    /// <returns><see cref="SocksRead.Greeting"/>, <see cref="SocksRead.Unfinished"/> or <see cref="SocksRead.Refused"/>.</returns>
    public static SocksRead ParseGreeting(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > 0 && bytes[0] != Version) return new SocksRead.Refused(default, $"version {bytes[0]} is not 5");
        if (bytes.Length < 2) return new SocksRead.Unfinished(2);
        var length = 2 + bytes[1];
        if (bytes.Length < length) return new SocksRead.Unfinished(length);
        return bytes[2..length].Contains(NoAuthentication) ? SocksRead.Greeting.Instance : new SocksRead.Refused(s_noneSelected, "the client wants to authenticate, which is not supported");
    }

    /// <summary>Reads the second message of a client.</summary>
    /// <returns><see cref="SocksRead.Connect"/>, <see cref="SocksRead.Unfinished"/> or <see cref="SocksRead.Refused"/>.</returns>
    public static SocksRead ParseRequest(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > 0 && bytes[0] != Version) return Refuse(SocksReply.GeneralFailure, $"version {bytes[0]} is not 5");
        if (bytes.Length < 5) return new SocksRead.Unfinished(5);
        var at = bytes[3] == Name ? 5 : 4;
        var addressBytes = bytes[3] switch { Ipv4 => 4, Ipv6 => 16, Name => bytes[4], _ => -1 };
        if (addressBytes < 0) return Refuse(SocksReply.AddressTypeNotSupported, $"unknown address type {bytes[3]}");
        if (bytes.Length < at + addressBytes + 2) return new SocksRead.Unfinished(at + addressBytes + 2);
        if (bytes[1] != ConnectCommand) return Refuse(SocksReply.CommandNotSupported, $"unsupported command {bytes[1]}");
        var port = BinaryPrimitives.ReadUInt16BigEndian(bytes[(at + addressBytes)..]);
        if (port == 0) return Refuse(SocksReply.GeneralFailure, "port 0 is none");
        var address = bytes.Slice(at, addressBytes);
        return bytes[3] == Name ? Named(address, port) : Addressed(new IPAddress(address), port);
    }

    private static SocksRead Addressed(IPAddress address, ushort port)
    {
        if (address.IsIPv4MappedToIPv6) address = address.MapToIPv4();
        // The kernel takes "any" for this host, behind the back of the checks for it.
        if (address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any)) return Refuse(SocksReply.GeneralFailure, $"{address} is no destination");
        return new SocksRead.Connect(address, address.ToString(), port);
    }

    private static SocksRead Named(ReadOnlySpan<byte> name, ushort port)
    {
        if (name.Length is 0 or > MaxName || name.ContainsAnyExcept(s_nameBytes)) return Refuse(SocksReply.GeneralFailure, "the name is no host name");
        var host = Encoding.ASCII.GetString(name).ToLowerInvariant();
        // Some clients write every address as a name.
        return IPAddress.TryParse(host, out var address) && address.ToString() == host ? Addressed(address, port) : new SocksRead.Connect(null, host, port);
    }

    private static SocksRead.Refused Refuse(SocksReply reply, string problem) => new(Write(reply), problem);
}
