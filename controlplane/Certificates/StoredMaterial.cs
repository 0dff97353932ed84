using System.Globalization;
using System.Text;
using AmbientMesh.Identity;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>What the Secret of a self-signed CA holds (reference 6.6), and while its root is exchanged the root that is to come. Equal when the texts are.</summary>
/// <param name="Certificate"><c>ca-cert.pem</c>: signs now.</param>
/// <param name="Key"><c>ca-key.pem</c>, of that certificate.</param>
/// <param name="Chain"><c>cert-chain.pem</c>; empty when the CA is itself the root.</param>
/// <param name="Root"><c>root-cert.pem</c>: everything to be trusted; empty means <paramref name="Certificate"/>.</param>
/// <param name="NextCertificate"><c>next-ca-cert.pem</c>: trusted already and signing later; empty when no root is to come.</param>
/// <param name="NextKey"><c>next-ca-key.pem</c>, of that certificate.</param>
/// <param name="Before">Thumbprint of the root that signed before and is still trusted, from an annotation; null when there is none.</param>
/// <param name="SignsSince">When the signing root took over from it, from an annotation; null when nobody knows.</param>
internal sealed record StoredMaterial(
    string Certificate, string Key, string Chain, string Root, string NextCertificate = "", string NextKey = "", string? Before = null, DateTimeOffset? SignsSince = null)
{
    private const string BeforeAnnotation = "ambientmesh.io/root-before";
    private const string SignsSinceAnnotation = "ambientmesh.io/root-signs-since";

    /// <summary>Reads a Secret.</summary>
    /// <exception cref="FormatException">It has no certificate or no key.</exception>
    public static StoredMaterial Of(Secret secret)
    {
        string Text(string key) => secret.Data.TryGetValue(key, out var value) ? Encoding.UTF8.GetString(value) : "";
        string Needed(string key) => secret.Data.ContainsKey(key) ? Text(key) : throw new FormatException($"it has no {key}");
        return new StoredMaterial(
            Needed("ca-cert.pem"), Needed("ca-key.pem"), Text("cert-chain.pem"), Text("root-cert.pem"), Text("next-ca-cert.pem"), Text("next-ca-key.pem"),
            secret.Metadata.Annotations.GetValueOrDefault(BeforeAnnotation),
            secret.Metadata.Annotations.TryGetValue(SignsSinceAnnotation, out var since) && DateTimeOffset.TryParse(since, CultureInfo.InvariantCulture, out var at) ? at : null);
    }

    /// <summary>A CA that is its own root.</summary>
    public static StoredMaterial Of(CertificateAuthority selfSigned) => new(selfSigned.CertificatePem, selfSigned.ExportPrivateKeyPem(), "", selfSigned.CertificatePem);

    /// <summary>The Secret with this in it; whatever else it holds stays.</summary>
    public Secret In(Secret secret)
    {
        var data = new Dictionary<string, byte[]>(secret.Data) { ["key.pem"] = [] };
        void Set(string key, string text) => data[key] = Encoding.UTF8.GetBytes(text);
        Set("ca-cert.pem", Certificate);
        Set("ca-key.pem", Key);
        Set("cert-chain.pem", Chain);
        Set("root-cert.pem", Root);
        data.Remove("next-ca-cert.pem");
        data.Remove("next-ca-key.pem");
        if (NextCertificate.Length > 0) Set("next-ca-cert.pem", NextCertificate);
        if (NextKey.Length > 0) Set("next-ca-key.pem", NextKey);
        var annotations = new Dictionary<string, string>(secret.Metadata.Annotations);
        annotations.Remove(BeforeAnnotation);
        annotations.Remove(SignsSinceAnnotation);
        if (Before is { } before) annotations[BeforeAnnotation] = before;
        if (SignsSince is { } since) annotations[SignsSinceAnnotation] = since.ToString("O", CultureInfo.InvariantCulture);
        return secret with { Data = data, Metadata = secret.Metadata with { Annotations = annotations } };
    }

    /// <summary>Makes a CA of the texts.</summary>
    /// <exception cref="FormatException">They are no usable CA.</exception>
    public CertificateAuthority Load(TimeProvider clock, IssuancePolicy policy) => CertificateAuthority.Load(Certificate, Key, Chain, Root, clock, policy);

    /// <summary>The root that is to come; null when there is none.</summary>
    /// <exception cref="FormatException">It is no usable CA.</exception>
    public CertificateAuthority? LoadNext(TimeProvider clock, IssuancePolicy policy) =>
        NextCertificate.Length == 0 ? null : CertificateAuthority.Load(NextCertificate, NextKey, "", NextCertificate, clock, policy);

    /// <summary>How far the exchange of its root is.</summary>
    /// <exception cref="FormatException">It holds no usable CA.</exception>
    public RootState State(TimeProvider clock, IssuancePolicy policy)
    {
        var ca = Load(clock, policy);
        return new RootState(ca.Certificate, LoadNext(clock, policy)?.Certificate, ca.Roots.Roots, Before, SignsSince);
    }

    /// <summary>Names nothing of what it holds.</summary>
    public override string ToString() => "a stored CA";
}
