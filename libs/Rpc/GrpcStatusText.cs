using System.Globalization;
using System.Text;

namespace AmbientMesh.Rpc;

/// <summary>The <c>grpc-message</c> header: UTF-8, percent-encoded outside printable ASCII. Source: gRPC over HTTP/2, "Responses".</summary>
internal static class GrpcStatusText
{
    public const string StatusHeader = "grpc-status";
    public const string MessageHeader = "grpc-message";

    /// <summary>Longer text is cut: header blocks are limited and a status message is for people.</summary>
    public const int MaxBytes = 4096;

    public static string Encode(string message)
    {
        var encoded = new StringBuilder(message.Length);
        Span<byte> utf8 = stackalloc byte[4];
        foreach (var rune in message.EnumerateRunes())
        {
            if (encoded.Length >= MaxBytes) break;
            if (rune.Value is >= ' ' and <= '~' and not '%') encoded.Append((char)rune.Value);
            else
                foreach (var b in utf8[..rune.EncodeToUtf8(utf8)]) encoded.Append('%').Append(b.ToString("X2", CultureInfo.InvariantCulture));
        }
        return encoded.ToString();
    }

    /// <summary>Never fails: what is not an escape stays as it is, as the specification asks.</summary>
    public static string Decode(string text)
    {
        if (!text.Contains('%', StringComparison.Ordinal)) return text;
        var bytes = new List<byte>(text.Length);
        for (var i = 0; i < text.Length; i++)
            if (text[i] == '%' && i + 2 < text.Length && byte.TryParse(text.AsSpan(i + 1, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var b))
            {
                bytes.Add(b);
                i += 2;
            }
            else bytes.AddRange(Encoding.UTF8.GetBytes(text, i, 1));
        return Encoding.UTF8.GetString([.. bytes]);
    }

    /// <summary>The code of a <c>grpc-status</c> value; anything but a known number is <see cref="StatusCode.Unknown"/>.</summary>
    public static StatusCode ParseCode(string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number is >= 0 and <= 16 ? (StatusCode)number : StatusCode.Unknown;
}
