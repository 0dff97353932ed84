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
        new CertificatesTarget(),
        new DiscoveryResourcesTarget(),
        new DiscoveryRequestsTarget(),
        new GrpcFramesTarget(),
        new AdminHttpTarget(),
        new ZdsTarget(),
        new KubernetesJsonTarget(),
        new TranslationTarget(),
        new CniJsonTarget(),
        new NetfilterTarget(),
        new YamlTarget(),
        new NamesTarget(),
        new ProxyHeaderTarget(),
    ];
}
