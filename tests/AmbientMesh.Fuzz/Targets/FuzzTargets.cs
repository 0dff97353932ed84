namespace AmbientMesh.Fuzz.Targets;

/// <summary>Every target, by the reach of who can send the input: the network first, then other processes, then files and settings.</summary>
public static class FuzzTargets
{
    public static IReadOnlyList<FuzzTarget> All { get; } =
    [
        new Http2ServerTarget(),
        new Http2ClientTarget(),
        new Http2FramesTarget(),
        new HpackTarget(),
        new ConnectHeadersTarget(),
        new DnsTarget(),
        new DnsRecordsTarget(),
        new CertificatesTarget(),
        new CaFilesTarget(),
        new DiscoveryResourcesTarget(),
        new DiscoveryRequestsTarget(),
        new GrpcFramesTarget(),
        new AdminHttpTarget(),
        new AdminPagesTarget(),
        new NodeReportsTarget(),
        new MeshctlAnswersTarget(),
        new ZdsTarget(),
        new KubernetesJsonTarget(),
        new TranslationTarget(),
        new EntriesTarget(),
        new CniJsonTarget(),
        new NetfilterTarget(),
        new YamlTarget(),
        new NamesTarget(),
        new ProxyHeaderTarget(),
        new SocksTarget(),
    ];
}
