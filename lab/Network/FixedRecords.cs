using System.Net;
using System.Text;

namespace AmbientMesh.Lab.Network;

/// <summary>Names outside the cluster's domain that the lab's DNS knows, so that answers of every shape can be asked for: zone <c>records.lab</c>. Pure.</summary>
internal static class FixedRecords
{
    public const string Zone = "records.lab";

    private const int BigTexts = 14;
    private const int BigTextBytes = 250;

    /// <summary>Null for names of other zones.</summary>
    public static NamesAnswer? Resolve(string name, DnsType type) => name switch
    {
        "big." + Zone => Of(type, [.. Enumerable.Range(0, BigTexts).Select(n => new DnsRecord(name, DnsType.Txt, Data: Text(new string((char)('a' + n), BigTextBytes))))]),
        "mail." + Zone => Of(type, [new DnsRecord(name, DnsType.Mx, Data: [0, 10, .. Name("mx." + Zone)]), new DnsRecord(name, DnsType.Mx, Data: [0, 20, .. Name("mx2." + Zone)])]),
        "mx." + Zone => Of(type, Addresses(name)),
        // An alias is followed for every type but its own.
        "alias." + Zone => type == DnsType.CName ? Of(type, [Alias(name)]) : new NamesAnswer(DnsCode.NoError, [Alias(name), .. Addresses("mx." + Zone).Where(r => r.Type == type)]),
        Zone => Of(type, []),
        _ => name.EndsWith("." + Zone, StringComparison.Ordinal) ? new NamesAnswer(DnsCode.NoSuchName, []) : null,
    };

    internal static byte[] Text(string text) => [(byte)text.Length, .. Encoding.ASCII.GetBytes(text)];

    private static DnsRecord Alias(string name) => new(name, DnsType.CName, Target: "mx." + Zone);

    private static DnsRecord[] Addresses(string name) => [new DnsRecord(name, DnsType.A, IPAddress.Parse("192.0.2.25")), new DnsRecord(name, DnsType.Aaaa, IPAddress.Parse("2001:db8::25"))];

    private static NamesAnswer Of(DnsType type, DnsRecord[] records) => new(DnsCode.NoError, [.. records.Where(record => type == DnsType.Any || record.Type == type)]);

    private static byte[] Name(string name) => [.. name.Split('.').SelectMany(Text), 0];
}
