using System.IO.Compression;

namespace AmbientMesh.Telemetry;

/// <summary>Compresses an answer as its asker allows: br, gzip or deflate. Source: RFC 9110 §12.5.3.</summary>
public static class BodyEncoding
{
    /// <summary>The body, and the value of <c>content-encoding</c>; null when it is sent as it is.</summary>
    /// <param name="acceptEncoding">The header's value; of equally welcome ones the order br, gzip, deflate counts, and nothing is done for a handful of bytes.</param>
    public static (byte[] Body, string? Encoding) Encode(byte[] body, string? acceptEncoding)
    {
        if (body.Length < 32 || Choose(acceptEncoding) is not { } encoding) return (body, null);
        using var compressed = new MemoryStream(body.Length / 4);
        using (Stream writer = encoding switch
        {
            "br" => new BrotliStream(compressed, CompressionLevel.Fastest, leaveOpen: true),
            "gzip" => new GZipStream(compressed, CompressionLevel.Fastest, leaveOpen: true),
            _ => new ZLibStream(compressed, CompressionLevel.Fastest, leaveOpen: true),   // "deflate" is the zlib format (RFC 9110 §8.4.1.2)
        }) writer.Write(body);
        return (compressed.ToArray(), encoding);
    }

    private static string? Choose(string? header)
    {
        if (string.IsNullOrEmpty(header)) return null;
        string? best = null;
        var weight = 0.0;
        foreach (var candidate in (string[])["br", "gzip", "deflate"])
        {
            if (WeightOf(header, candidate) is not { } q || q <= weight) continue;
            (best, weight) = (candidate, q);
        }
        return best;
    }

    private static double? WeightOf(string header, string encoding)
    {
        double? any = null;
        foreach (var part in header.Split(','))
        {
            var pieces = part.Split(';');
            var name = pieces[0].Trim();
            var q = 1.0;
            foreach (var parameter in pieces.AsSpan(1))
            {
                var text = parameter.Trim();
                if (text.StartsWith("q=", StringComparison.OrdinalIgnoreCase) && !double.TryParse(text.AsSpan(2), System.Globalization.CultureInfo.InvariantCulture, out q)) q = 0;
            }
            if (name.Equals(encoding, StringComparison.OrdinalIgnoreCase)) return q;
            if (name == "*") any = q;
        }
        return any;
    }
}
