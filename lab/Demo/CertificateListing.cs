using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;

namespace AmbientMesh.Lab.Demo;

/// <summary>The certificates of a ztunnel, from its <c>/config_dump</c>.</summary>
public static class CertificateListing
{
    /// <summary>Identity and chain (leaf first, roots last) of each available certificate.</summary>
    public static IReadOnlyDictionary<string, IReadOnlyList<X509Certificate2>> Parse(string configDump)
    {
        using var document = JsonDocument.Parse(configDump);
        return document.RootElement.GetProperty("certificates").EnumerateArray()
            .Where(entry => entry.GetProperty("state").GetString() == "Available")
            .ToDictionary(
                entry => entry.GetProperty("identity").GetString()!,
                entry => (IReadOnlyList<X509Certificate2>)[.. Chain(entry, "certChain"), .. Chain(entry, "rootCerts")]);
    }

    public static IEnumerable<string> Describe(IReadOnlyList<X509Certificate2> chain) =>
        chain.Select((certificate, depth) =>
            $"{new string(' ', depth * 2)}{(certificate.Subject.Length > 0 ? certificate.Subject : Uri(certificate))}  (serial {certificate.SerialNumber}, issued by {certificate.Issuer}, until {certificate.NotAfter.ToUniversalTime():u})");

    private static string Uri(X509Certificate2 certificate)
    {
        var names = certificate.Extensions["2.5.29.17"];
        if (names is null) return "(no name)";
        var text = Encoding.ASCII.GetString(names.RawData);
        var at = text.IndexOf("spiffe://", StringComparison.Ordinal);
        return at < 0 ? "(no SPIFFE ID)" : text[at..];
    }

    private static IEnumerable<X509Certificate2> Chain(JsonElement entry, string key) =>
        entry.GetProperty(key).EnumerateArray().Select(c => X509Certificate2.CreateFromPem(Encoding.UTF8.GetString(c.GetProperty("pem").GetBytesFromBase64())));
}
