using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Model;

namespace AmbientMesh.Identity;

/// <summary>A chain whose signatures and form were found good; valid in the overlap of its certificates' lifetimes.</summary>
internal sealed record ProvenChain(IReadOnlyList<SpiffeId> Identities, DateTimeOffset NotBefore, DateTimeOffset NotAfter, IReadOnlyList<CertificateSerial> Path);

/// <summary>Chains proven against one bundle, by the hash of every byte the peer sent. Only successes are kept: a failure is judged again.</summary>
internal sealed class ProvenChains
{
    /// <summary>About as many peers as one node talks to; forgetting all of them at once costs each one more proof.</summary>
    internal const int Capacity = 4096;

    private readonly ConcurrentDictionary<Key, ProvenChain> _chains = new();

    internal readonly record struct Key(ulong A, ulong B, ulong C, ulong D);

    public bool TryGet(Key key, [NotNullWhen(true)] out ProvenChain? chain) => _chains.TryGetValue(key, out chain);

    public void Add(Key key, ProvenChain chain)
    {
        if (_chains.Count >= Capacity) _chains.Clear();
        _chains[key] = chain;
    }

    /// <summary>SHA-256 over leaf and sent certificates, each preceded by its length.</summary>
    public static Key KeyOf(X509Certificate2 leaf, X509Certificate2Collection sent)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Append(hash, leaf);
        foreach (var certificate in sent) Append(hash, certificate);
        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        hash.GetHashAndReset(digest);
        return System.Runtime.InteropServices.MemoryMarshal.Read<Key>(digest);
    }

    private static void Append(IncrementalHash hash, X509Certificate2 certificate)
    {
        Span<byte> length = stackalloc byte[sizeof(int)];
        System.Buffers.Binary.BinaryPrimitives.WriteInt32LittleEndian(length, certificate.RawDataMemory.Length);
        hash.AppendData(length);
        hash.AppendData(certificate.RawDataMemory.Span);
    }
}
