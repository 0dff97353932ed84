using System.Collections.Frozen;

namespace AmbientMesh.Hbone.Hpack;

/// <summary>The static table of RFC 7541 Appendix A; index 1 is the first entry.</summary>
public static class StaticTable
{
    public const int Count = 61;

    private static readonly HeaderField[] Entries =
    [
        new(":authority", ""), new(":method", "GET"), new(":method", "POST"), new(":path", "/"), new(":path", "/index.html"),
        new(":scheme", "http"), new(":scheme", "https"), new(":status", "200"), new(":status", "204"), new(":status", "206"),
        new(":status", "304"), new(":status", "400"), new(":status", "404"), new(":status", "500"), new("accept-charset", ""),
        new("accept-encoding", "gzip, deflate"), new("accept-language", ""), new("accept-ranges", ""), new("accept", ""),
        new("access-control-allow-origin", ""), new("age", ""), new("allow", ""), new("authorization", ""), new("cache-control", ""),
        new("content-disposition", ""), new("content-encoding", ""), new("content-language", ""), new("content-length", ""),
        new("content-location", ""), new("content-range", ""), new("content-type", ""), new("cookie", ""), new("date", ""), new("etag", ""),
        new("expect", ""), new("expires", ""), new("from", ""), new("host", ""), new("if-match", ""), new("if-modified-since", ""),
        new("if-none-match", ""), new("if-range", ""), new("if-unmodified-since", ""), new("last-modified", ""), new("link", ""),
        new("location", ""), new("max-forwards", ""), new("proxy-authenticate", ""), new("proxy-authorization", ""), new("range", ""),
        new("referer", ""), new("refresh", ""), new("retry-after", ""), new("server", ""), new("set-cookie", ""),
        new("strict-transport-security", ""), new("transfer-encoding", ""), new("user-agent", ""), new("vary", ""), new("via", ""),
        new("www-authenticate", ""),
    ];

    private static readonly FrozenDictionary<HeaderField, int> ByField =
        Entries.Select((field, i) => KeyValuePair.Create(field, i + 1)).ToFrozenDictionary();

    private static readonly FrozenDictionary<string, int> ByName =
        Entries.Select((field, i) => (field.Name, Index: i + 1)).GroupBy(e => e.Name).ToFrozenDictionary(g => g.Key, g => g.First().Index);

    public static HeaderField At(int index) => Entries[index - 1];

    /// <summary>Index of the exact field, or 0.</summary>
    public static int Find(in HeaderField field) => ByField.GetValueOrDefault(field);

    /// <summary>First index with that name, or 0.</summary>
    public static int FindName(string name) => ByName.GetValueOrDefault(name);
}
