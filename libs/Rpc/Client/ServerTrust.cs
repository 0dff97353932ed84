using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AmbientMesh.Rpc;

/// <summary>Whether a server's certificate is that of the server that was dialled: chain to the given roots, host name, time; no network.</summary>
internal static class ServerTrust
{
    public static SslClientAuthenticationOptions Options(RpcChannelOptions channel)
    {
        var name = channel.ServerName ?? channel.Address.IdnHost;
        var options = new SslClientAuthenticationOptions
        {
            TargetHost = name,
            ClientCertificateContext = channel.ClientCertificate,
            ApplicationProtocols = [SslApplicationProtocol.Http2],
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        };
        if (channel.RootCertificates is { } roots)
        {
            // The framework's own chain would be built against the machine's store; this one is built afresh per connection.
            options.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck, DisableCertificateDownloads = true };
            options.RemoteCertificateValidationCallback = (_, certificate, chain, _) => IsTrusted(certificate as X509Certificate2, chain, roots(), name, channel.Clock);
        }
        return options;
    }

    /// <exception cref="RpcException">UNAVAILABLE with the reason; thrown through the handshake, so that the caller reads it instead of "remote certificate is invalid".</exception>
    private static bool IsTrusted(X509Certificate2? leaf, X509Chain? sent, string rootsPem, string name, TimeProvider clock)
    {
        if (leaf is null) throw Untrusted(name, "it sent no certificate");
        if (!leaf.MatchesHostname(name, allowWildcards: true, allowCommonName: false)) throw Untrusted(name, $"its certificate does not carry this name but {Names(leaf)}");
        var roots = Roots(rootsPem, name);
        if (IsTrusted(leaf, sent, roots, clock, out var problem)) return true;
        // Of roots that share a name only the first is looked at, and the certificate need not say which of them signed it.
        if (roots.Count > 1 && roots.Any(root => IsTrusted(leaf, sent, [root], clock, out _))) return true;
        throw Untrusted(name, $"its certificate is not trusted: {problem}");
    }

    private static bool IsTrusted(X509Certificate2 leaf, X509Chain? sent, X509Certificate2Collection roots, TimeProvider clock, out string problem)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            RevocationMode = X509RevocationMode.NoCheck,
            DisableCertificateDownloads = true,
            VerificationTime = clock.GetUtcNow().LocalDateTime,
            VerificationTimeIgnored = false,
        };
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid("1.3.6.1.5.5.7.3.1"));   // serverAuth
        chain.ChainPolicy.CustomTrustStore.AddRange(roots);
        if (sent is not null) chain.ChainPolicy.ExtraStore.AddRange(sent.ChainPolicy.ExtraStore);
        var isTrusted = chain.Build(leaf);
        problem = string.Join(", ", chain.ChainStatus.Select(s => s.StatusInformation.Trim()).Distinct());
        return isTrusted;
    }

    private static X509Certificate2Collection Roots(string pem, string name)
    {
        X509Certificate2Collection roots = [];
        try
        {
            roots.ImportFromPem(pem);
        }
        catch (CryptographicException problem)
        {
            throw Untrusted(name, $"the root certificates cannot be read: {problem.Message}");
        }
        return roots.Count > 0 ? roots : throw Untrusted(name, "the root certificates are empty");
    }

    private static string Names(X509Certificate2 leaf) =>
        string.Join(", ", leaf.Extensions.OfType<X509SubjectAlternativeNameExtension>().SelectMany(e => e.EnumerateDnsNames()).DefaultIfEmpty("none"));

    private static RpcException Untrusted(string name, string why) => new(StatusCode.Unavailable, $"server {name}: {why}") { IsConnectionFailure = true };
}
