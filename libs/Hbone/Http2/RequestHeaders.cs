using System.Diagnostics.CodeAnalysis;
using AmbientMesh.Hbone.Hpack;

namespace AmbientMesh.Hbone.Http2;

/// <summary>A request's header list, checked for being well-formed (RFC 9113 §8.2, §8.3, §8.5).</summary>
internal sealed record RequestHeaders(string Method, string? Authority, IReadOnlyList<HeaderField> Fields)
{
    /// <summary>False for what RFC 9113 calls malformed: the stream is reset with PROTOCOL_ERROR and nothing is answered.</summary>
    public static bool TryParse(List<HeaderField> fields, [NotNullWhen(true)] out RequestHeaders? headers)
    {
        headers = null;
        string? method = null, authority = null, scheme = null, path = null;
        var regular = new List<HeaderField>();
        foreach (var field in fields)
        {
            if (!field.Name.StartsWith(':'))
            {
                if (!IsWellFormed(field)) return false;
                regular.Add(field);
                continue;
            }
            if (regular.Count > 0) return false;   // pseudo headers come first
            switch (field.Name)
            {
                case ":method" when method is null: method = field.Value; break;
                case ":authority" when authority is null: authority = field.Value; break;
                case ":scheme" when scheme is null: scheme = field.Value; break;
                case ":path" when path is null: path = field.Value; break;
                default: return false;   // unknown, repeated, or :protocol, which we never offered
            }
        }
        if (string.IsNullOrEmpty(method)) return false;
        if (method == "CONNECT" ? scheme is not null || path is not null : string.IsNullOrEmpty(scheme) || string.IsNullOrEmpty(path)) return false;
        headers = new RequestHeaders(method, authority, regular);
        return true;
    }

    private static bool IsWellFormed(in HeaderField field) =>
        field.Name.Length > 0
        && field.Name.All(IsNameCharacter)
        && field.Value.All(static c => c is not ('\0' or '\r' or '\n'))
        && field.Name is not ("connection" or "proxy-connection" or "keep-alive" or "transfer-encoding" or "upgrade")
        && (field.Name != "te" || field.Value == "trailers");

    private static bool IsNameCharacter(char c) =>
        char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c is '!' or '#' or '$' or '%' or '&' or '\'' or '*' or '+' or '-' or '.' or '^' or '_' or '`' or '|' or '~';
}
