using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AmbientMesh.Rpc.Tests;

/// <summary>Roots and server certificates made for the tests.</summary>
internal static class TestCertificates
{
    public sealed record Authority(X509Certificate2 Certificate)
    {
        public string Pem => Certificate.ExportCertificatePem();

        public SslStreamCertificateContext Issue(string dns, DateTimeOffset? notAfter = null)
        {
            using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var request = new CertificateRequest("", key, HashAlgorithmName.SHA256);
            var names = new SubjectAlternativeNameBuilder();
            names.AddDnsName(dns);
            names.AddIpAddress(IPAddress.Loopback);
            request.CertificateExtensions.Add(names.Build(critical: true));
            request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1")], false));
            var certificate = request.Create(Certificate, Certificate.NotBefore, notAfter ?? Certificate.NotAfter, RandomNumberGenerator.GetBytes(8));
            return SslStreamCertificateContext.Create(certificate.CopyWithPrivateKey(key), null, offline: true);
        }
    }

    public static Authority NewAuthority(string name = "root")
    {
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"O={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        var now = TimeProvider.System.GetUtcNow();
        return new Authority(request.CreateSelfSigned(now.AddDays(-2), now.AddDays(2)));
    }

    private static readonly Lazy<SslStreamCertificateContext> Default = new(() => NewAuthority().Issue("localhost"));

    public static SslStreamCertificateContext Server() => Default.Value;

    public static async Task<Stream> TrustAnythingAsync(Stream transport)
    {
        var tls = new SslStream(transport);
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = "localhost", ApplicationProtocols = [SslApplicationProtocol.Http2], RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate is not null }, Patience.Token);
        return tls;
    }
}
