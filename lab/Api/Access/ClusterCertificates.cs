using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AmbientMesh.Lab.Api.Access;

/// <summary>The cluster's certificate authority and what it issues. Keys live in memory only.</summary>
public sealed class ClusterCertificates : IDisposable
{
    private static readonly TimeSpan Lifetime = TimeSpan.FromDays(365);
    private readonly TimeProvider _clock;

    public ClusterCertificates(TimeProvider clock)
    {
        _clock = clock;
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=kubernetes", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign | X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        Authority = request.CreateSelfSigned(clock.GetUtcNow().AddMinutes(-5), clock.GetUtcNow() + Lifetime);
    }

    /// <summary>The authority's certificate with its key.</summary>
    public X509Certificate2 Authority { get; }

    /// <summary>PEM of the authority's certificate: what <c>kube-root-ca.crt</c> and kubeconfigs carry.</summary>
    public string AuthorityPem => Authority.ExportCertificatePem() + "\n";

    /// <summary>A serving certificate for the API server; <paramref name="names"/> are DNS names and IP addresses beyond the usual ones.</summary>
    public X509Certificate2 IssueServing(IEnumerable<string> names)
    {
        var alternative = new SubjectAlternativeNameBuilder();
        string[] usual = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost", "127.0.0.1", "::1", "10.96.0.1", "fd00:10:96::1"];
        foreach (var name in usual.Concat(names).Distinct(StringComparer.Ordinal))
        {
            if (IPAddress.TryParse(name, out var address)) alternative.AddIpAddress(address);
            else alternative.AddDnsName(name);
        }
        return Issue("CN=kube-apiserver", "1.3.6.1.5.5.7.3.1", alternative);
    }

    /// <summary>A client certificate: the name is the user, the organizations are its groups.</summary>
    public X509Certificate2 IssueClient(string user, params IReadOnlyList<string> groups) =>
        Issue(string.Join(", ", groups.Select(g => $"O={g}").Append($"CN={user}")), "1.3.6.1.5.5.7.3.2", null);

    private X509Certificate2 Issue(string subject, string usage, SubjectAlternativeNameBuilder? names)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.KeyEncipherment, true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usage)], false));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(Authority, true, false));
        if (names is not null) request.CertificateExtensions.Add(names.Build());
        var serial = RandomNumberGenerator.GetBytes(16);
        serial[0] &= 0x7f;
        using var certificate = request.Create(Authority, _clock.GetUtcNow().AddMinutes(-5), Authority.NotAfter, serial);
        using var withKey = certificate.CopyWithPrivateKey(key);
        // SslStream wants a key that is not bound to this process's ephemeral object.
        return X509CertificateLoader.LoadPkcs12(withKey.Export(X509ContentType.Pkcs12), null, X509KeyStorageFlags.Exportable);
    }

    /// <summary>The user of a client certificate this authority issued; null for any other certificate.</summary>
    public UserInfo? UserOf(X509Certificate2 certificate)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.Add(Authority);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.VerificationTime = _clock.GetUtcNow().UtcDateTime;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid("1.3.6.1.5.5.7.3.2"));
        if (!chain.Build(certificate)) return null;
        string? name = null;
        var groups = new List<string>();
        foreach (var part in certificate.SubjectName.EnumerateRelativeDistinguishedNames())
        {
            if (part.GetSingleElementType().Value == "2.5.4.3") name = part.GetSingleElementValue();
            if (part.GetSingleElementType().Value == "2.5.4.10" && part.GetSingleElementValue() is { } group) groups.Add(group);
        }
        if (name is null) return null;
        var fingerprint = Convert.ToHexStringLower(SHA256.HashData(certificate.RawData));
        return new UserInfo(name, [.. groups, "system:authenticated"])
        {
            Extra = new Dictionary<string, IReadOnlyList<string>>(StringComparer.Ordinal) { ["authentication.kubernetes.io/credential-id"] = [$"X509SHA256={fingerprint}"] },
        };
    }

    /// <summary>A kubeconfig for one user of this cluster.</summary>
    public string Kubeconfig(string cluster, string server, X509Certificate2 client)
    {
        using var key = client.GetECDsaPrivateKey()!;
        return $"""
            apiVersion: v1
            kind: Config
            clusters:
            - name: {cluster}
              cluster:
                server: {server}
                certificate-authority-data: {Base64(AuthorityPem)}
            contexts:
            - name: {cluster}
              context:
                cluster: {cluster}
                user: {cluster}
            current-context: {cluster}
            users:
            - name: {cluster}
              user:
                client-certificate-data: {Base64(client.ExportCertificatePem() + "\n")}
                client-key-data: {Base64(key.ExportPkcs8PrivateKeyPem() + "\n")}

            """;
    }

    private static string Base64(string text) => Convert.ToBase64String(System.Text.Encoding.ASCII.GetBytes(text));

    public void Dispose() => Authority.Dispose();
}
