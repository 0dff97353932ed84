using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Model;

namespace AmbientMesh.Identity.Tests;

public sealed class SigningRequestTests
{
    private static readonly SpiffeId Client = new("cluster.local", "default", "client");

    [Theory]
    [InlineData("client")]
    [InlineData("server")]
    [InlineData("late")]
    public void The_recorded_requests_of_ztunnel_are_read(string account)
    {
        var pem = Samples.Text($"samples/ztunnel/ca/wildcard-csr-{account}.pem");
        Assert.True(SigningRequest.TryParse(pem, out var request, out var reason), reason);
        Assert.Equal([$"spiffe://cluster.local/ns/default/sa/{account}"], request.RequestedUris);
        Assert.Null(request.CommonName);
    }

    [Fact]
    public void Ours_has_the_bytes_of_ztunnels_but_for_key_and_signature()
    {
        var recorded = Der(Samples.Text("samples/ztunnel/ca/wildcard-csr-client.pem"));
        using var key = CsrBuilder.NewKey();
        var ours = Der(CsrBuilder.Build(Client, key));
        Assert.Equal(WithoutKey(Info(recorded)), WithoutKey(Info(ours)));
    }

    [Theory]
    [InlineData("", "CSR is not PEM")]
    [InlineData("hello", "CSR is not PEM")]
    [InlineData("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "PEM block is CERTIFICATE, not CERTIFICATE REQUEST")]
    [InlineData("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "CSR cannot be read")]
    [InlineData("-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n", "CSR")]
    public void What_is_no_csr_is_named(string pem, string reason)
    {
        Assert.False(SigningRequest.TryParse(pem, out _, out var said));
        Assert.StartsWith(reason, said);
    }

    [Fact]
    public void A_request_signed_by_another_key_is_refused()
    {
        using var key = CsrBuilder.NewKey();
        var der = Der(CsrBuilder.Build(Client, key));
        der[^5] ^= 1;   // inside the signature
        Assert.False(SigningRequest.TryParse(Pem(der), out _, out var reason));
        Assert.Contains("signature", reason);
    }

    [Fact]
    public void Short_rsa_keys_and_sha1_signatures_are_refused()
    {
        using var small = RSA.Create(1024);
        using var large = RSA.Create(2048);
        using var curve = CsrBuilder.NewKey();
        Assert.False(SigningRequest.TryParse(Rsa(small), out _, out var shortKey));
        Assert.Contains("1024", shortKey);
        Assert.False(SigningRequest.TryParse(Sha1(curve), out _, out var sha1));
        Assert.Contains("weak", sha1);
        Assert.True(SigningRequest.TryParse(Rsa(large), out _, out _));
    }

    [Fact]
    public void Oversized_text_is_refused_before_it_is_decoded()
    {
        Assert.False(SigningRequest.TryParse(new string('A', SigningRequest.MaxPemLength + 1), out _, out var reason));
        Assert.Contains("at most", reason);
    }

    [Fact]
    public void No_change_of_one_byte_makes_it_throw()
    {
        using var key = CsrBuilder.NewKey();
        var der = Der(CsrBuilder.Build(Client, key));
        for (var i = 0; i < der.Length; i++)
        {
            var changed = (byte[])der.Clone();
            changed[i] ^= 0xff;
            Assert.False(SigningRequest.TryParse(Pem(changed), out _, out var reason), $"byte {i}");
            Assert.NotEmpty(reason!);
        }
    }

    private static string Sha1(ECDsa key) => Pem(new CertificateRequest(new X500DistinguishedName("CN=x"), new PublicKey(key), HashAlgorithmName.SHA256).CreateSigningRequest(new Sha1Signatures(key)));

    private static string Rsa(RSA key) =>
        new CertificateRequest(new X500DistinguishedName("CN=x"), key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1).CreateSigningRequestPem();

    private static byte[] Der(string pem) => Convert.FromBase64String(pem[PemEncoding.Find(pem).Base64Data]);
    private static string Pem(byte[] der) => PemEncoding.WriteString("CERTIFICATE REQUEST", der);

    /// <summary>The signed part: skips the outer SEQUENCE (3 bytes of header at this size).</summary>
    private static byte[] Info(byte[] der)
    {
        var request = new System.Formats.Asn1.AsnReader(der, System.Formats.Asn1.AsnEncodingRules.DER).ReadSequence();
        return request.ReadEncodedValue().ToArray();
    }

    private static string WithoutKey(byte[] info)
    {
        var point = info.AsSpan().IndexOf((ReadOnlySpan<byte>)[0x03, 0x42, 0x00, 0x04]);   // BIT STRING of an uncompressed point
        info.AsSpan(point + 4, 64).Clear();
        return Convert.ToHexString(info);
    }
}
