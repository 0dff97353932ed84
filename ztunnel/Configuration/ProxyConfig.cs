using System.Text.Json.Nodes;

namespace AmbientMesh.Ztunnel.Configuration;

/// <summary>What the mesh's configuration says about proxies: <c>defaultConfig</c> of the mesh file and PROXY_CONFIG over it (L4 reference §12.3). Null where neither says anything.</summary>
/// <param name="Metadata">Node metadata, without the prefix <c>ISTIO_META_</c>.</param>
internal sealed record ProxyConfig(string? DiscoveryAddress, int? AdminPort, int? StatsPort, int? Concurrency, IReadOnlyDictionary<string, string> Metadata)
{
    private const string MetadataPrefix = "ISTIO_META_";

    public static ProxyConfig None { get; } = new(null, null, null, null, new Dictionary<string, string>());

    /// <summary>The mesh file's part; fields that do not concern a ztunnel are passed over, since the file is everybody's.</summary>
    /// <exception cref="FormatException">Not YAML, or a value that cannot be; the message says where.</exception>
    public static ProxyConfig OfMesh(string yaml) => YamlTree.Read(yaml) is not JsonObject mesh || mesh["defaultConfig"] is not { } config ? None : Read(YamlSection.Of(config, "defaultConfig"));

    /// <summary>PROXY_CONFIG.</summary>
    /// <inheritdoc cref="OfMesh"/>
    public static ProxyConfig Of(string yaml) => YamlTree.Read(yaml) is not { } config ? None : Read(YamlSection.Of(config, ""));

    /// <summary>This one's values, and <paramref name="under"/>'s where it has none.</summary>
    public ProxyConfig Over(ProxyConfig under)
    {
        var metadata = new Dictionary<string, string>(under.Metadata);
        foreach (var (key, value) in Metadata) metadata[key] = value;
        return new ProxyConfig(DiscoveryAddress ?? under.DiscoveryAddress, AdminPort ?? under.AdminPort, StatsPort ?? under.StatsPort, Concurrency ?? under.Concurrency, metadata);
    }

    private static ProxyConfig Read(YamlSection from)
    {
        var metadata = new Dictionary<string, string>();
        if (from.Section("proxyMetadata") is { } given)
            foreach (var key in given.Keys) metadata[key.StartsWith(MetadataPrefix, StringComparison.Ordinal) ? key[MetadataPrefix.Length..] : key] = given.Text(key);
        return new ProxyConfig(
            from.Has("discoveryAddress") ? from.Text("discoveryAddress") : null, Port("proxyAdminPort"), Port("statsPort"),
            from.Has("concurrency") ? (int)from.Number("concurrency", 0, 4096) : null, metadata);

        int? Port(string name) => from.Has(name) ? (int)from.Number(name, 0, ushort.MaxValue) : null;
    }
}
