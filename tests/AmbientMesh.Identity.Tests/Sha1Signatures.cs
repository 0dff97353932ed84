using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AmbientMesh.Identity.Tests;

/// <summary>Signs with SHA-1, which the framework no longer offers for certificates but peers could still send.</summary>
internal sealed class Sha1Signatures(ECDsa key) : X509SignatureGenerator
{
    /// <summary>SEQUENCE { OBJECT IDENTIFIER 1.2.840.10045.4.1 } (ecdsa-with-SHA1).</summary>
    public override byte[] GetSignatureAlgorithmIdentifier(HashAlgorithmName hashAlgorithm) => [0x30, 0x09, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];

    public override byte[] SignData(byte[] data, HashAlgorithmName hashAlgorithm) => key.SignData(data, HashAlgorithmName.SHA1, DSASignatureFormat.Rfc3279DerSequence);

    protected override PublicKey BuildPublicKey() => new(key);
}
