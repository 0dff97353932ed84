using System.Collections.Immutable;
using System.Net;
using System.Text;

namespace AmbientMesh.Ztunnel.Dns;

/// <summary>What an answer says about the addresses of a name. Pure.</summary>
/// <param name="Problem">Null when the server answered, be it with no address.</param>
/// <param name="Lifetime">The smallest of the records it rests on; zero without addresses.</param>
public sealed record AddressRecords(ImmutableArray<IPAddress> Addresses, TimeSpan Lifetime, string? Problem)
{
    private const int MaxAliases = 16;

    /// <summary>The bytes of a question for the addresses of <paramref name="hostname"/>; null when it is no host name.</summary>
    public static byte[]? Question(string hostname, ushort type)
    {
        // The id is drawn where the question is sent.
        var bytes = new List<byte> { 0, 0, DnsHeader.RecursionDesired >> 8, 0, 0, 1, 0, 0, 0, 0, 0, 0 };
        foreach (var label in hostname.TrimEnd('.').Split('.'))
        {
            if (label.Length is 0 or > 63 || !Ascii.IsValid(label)) return null;
            bytes.Add((byte)label.Length);
            bytes.AddRange(Encoding.ASCII.GetBytes(label));
        }
        bytes.AddRange([0, (byte)(type >> 8), (byte)type, 0, (byte)DnsTypes.Internet]);
        return bytes.Count - DnsHeader.Bytes - 4 > DnsName.MaxBytes ? null : [.. bytes];
    }

    /// <summary>Reads an answer, following aliases within it.</summary>
    public static AddressRecords Read(byte[] answer, ushort type)
    {
        if (!DnsMessage.TryParse(answer, out var message, out var reason)) return Failed($"the answer is unreadable: {reason}");
        if (message.Questions is not [var question]) return Failed($"the server answered with code {(int)message.Header.Code}");
        if (message.Header.Code != DnsCode.NoError)
            return Failed((int)message.Header.Code == 3 ? "no such name" : $"the server answered with code {(int)message.Header.Code}");
        var owner = question.Name;
        var lifetime = uint.MaxValue;
        for (var alias = 0; alias < MaxAliases; alias++)
        {
            var addresses = ImmutableArray.CreateBuilder<IPAddress>();
            DnsRecord? next = null;
            foreach (var record in message.Answers)
            {
                if (record.Owner != owner || record.Class != DnsTypes.Internet) continue;
                if (record.Type == type && record.DataLength == (type == DnsTypes.Aaaa ? 16 : 4))
                {
                    addresses.Add(new IPAddress(answer.AsSpan(record.DataAt, record.DataLength)));
                    lifetime = Math.Min(lifetime, record.Ttl);
                }
                else if (record.Type == DnsTypes.CName) next ??= record;
            }
            if (addresses.Count > 0) return new AddressRecords(addresses.ToImmutable(), TimeSpan.FromSeconds(Math.Min(lifetime, int.MaxValue)), null);
            if (next is not { } found) break;
            lifetime = Math.Min(lifetime, found.Ttl);
            var at = found.DataAt;
            if (!DnsName.TryRead(answer, ref at, out owner, out reason)) return Failed($"the answer is unreadable: {reason}");
        }
        return new AddressRecords([], TimeSpan.Zero, null);
    }

    private static AddressRecords Failed(string why) => new([], TimeSpan.Zero, why);
}
