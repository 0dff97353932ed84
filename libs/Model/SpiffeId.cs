using System.Diagnostics.CodeAnalysis;

namespace AmbientMesh.Model;

/// <summary>A workload's identity: <c>spiffe://&lt;trust domain&gt;/ns/&lt;namespace&gt;/sa/&lt;service account&gt;</c>.</summary>
/// <remarks>Source: SPIFFE-ID §2, and Istio's path form. Compared byte for byte; nothing is decoded or folded.</remarks>
public readonly record struct SpiffeId(string TrustDomain, string Namespace, string ServiceAccount)
{
    public const string Scheme = "spiffe://";
    private const int MaxLength = 2048;   // SPIFFE-ID §2.3

    public override string ToString() => $"{Scheme}{TrustDomain}/ns/{Namespace}/sa/{ServiceAccount}";

    public static bool TryParse(string text, out SpiffeId id) => TryParse(text, out id, out _);

    /// <summary>Parses the exact form; on failure <paramref name="reason"/> says what is wrong with <paramref name="text"/>.</summary>
    public static bool TryParse(string text, out SpiffeId id, [NotNullWhen(false)] out string? reason)
    {
        id = default;
        reason = Problem(text);
        if (reason is not null) return false;
        var segments = text[Scheme.Length..].Split('/');
        id = new SpiffeId(segments[0], segments[2], segments[4]);
        return true;
    }

    private static string? Problem(string text)
    {
        if (text.Length > MaxLength) return $"SPIFFE ID of {text.Length} characters; at most {MaxLength} are allowed";
        if (!text.StartsWith(Scheme, StringComparison.Ordinal)) return "SPIFFE ID does not begin with spiffe://";
        var segments = text[Scheme.Length..].Split('/');
        if (segments is not [var trustDomain, "ns", var ns, "sa", var account]) return "SPIFFE ID is not of the form spiffe://<trust domain>/ns/<namespace>/sa/<service account>";
        if (trustDomain.Length is 0 or > 255 || !trustDomain.All(IsTrustDomainCharacter)) return "trust domain is empty or has a character outside a-z 0-9 . - _";
        if (!IsPathSegment(ns)) return "namespace is empty, a dot segment, or has a character outside a-z A-Z 0-9 . - _";
        return IsPathSegment(account) ? null : "service account is empty, a dot segment, or has a character outside a-z A-Z 0-9 . - _";
    }

    private static bool IsTrustDomainCharacter(char c) => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c is '.' or '-' or '_';

    private static bool IsPathSegment(string segment) =>
        segment.Length > 0 && segment is not ("." or "..") && segment.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_');
}
