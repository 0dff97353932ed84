using AmbientMesh.Identity;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>The files of a plugged-in CA as they were read: Istio's own names, or those of a TLS Secret (reference 6.6). Equal when their texts are.</summary>
internal sealed record PluggedInFiles(string Folder, string Certificate, string Key, string Chain, string Root)
{
    /// <summary>Reads what is in <paramref name="folder"/>.</summary>
    /// <returns>Null when there is no CA in it at all.</returns>
    /// <exception cref="FormatException">Some of the files are there and others, which are needed, are not.</exception>
    public static PluggedInFiles? Read(string folder)
    {
        string? Text(string name) => Path.Combine(folder, name) is var path && File.Exists(path) ? File.ReadAllText(path) : null;
        string Needed(string name, string because) => Text(name) ?? throw new FormatException($"{folder} has {because}, but no {name}");
        if (Text("ca-cert.pem") is { } certificate)
            return new PluggedInFiles(folder, certificate, Needed("ca-key.pem", "ca-cert.pem"), Text("cert-chain.pem") ?? "", Needed("root-cert.pem", "ca-cert.pem"));
        // A TLS Secret carries the chain behind the certificate.
        if (Text("tls.crt") is { } tls) return new PluggedInFiles(folder, tls, Needed("tls.key", "tls.crt"), tls, Needed("ca.crt", "tls.crt"));
        if (Text("ca-key.pem") is not null) throw new FormatException($"{folder} has ca-key.pem, but no ca-cert.pem");
        return null;
    }

    /// <summary>Makes a CA of the texts.</summary>
    /// <exception cref="FormatException">The files are no usable CA; the message names the folder.</exception>
    public CertificateAuthority Load(TimeProvider clock, IssuancePolicy policy)
    {
        try
        {
            return CertificateAuthority.Load(Certificate, Key, Chain, Root, clock, policy);
        }
        catch (FormatException e)
        {
            throw new FormatException($"the plugged-in CA in {Folder} cannot be used: {e.Message}", e);
        }
    }

    public override string ToString() => $"CA files in {Folder}";
}
