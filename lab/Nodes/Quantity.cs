using System.Globalization;

namespace AmbientMesh.Lab.Nodes;

/// <summary>Kubernetes quantities: <c>500m</c>, <c>64Mi</c>, <c>1e3</c>. Source: apimachinery resource.Quantity.</summary>
public static class Quantity
{
    private static readonly (string Suffix, decimal Factor)[] s_suffixes =
    [
        ("Ki", 1024m), ("Mi", 1024m * 1024), ("Gi", 1024m * 1024 * 1024), ("Ti", 1024m * 1024 * 1024 * 1024), ("Pi", 1024m * 1024 * 1024 * 1024 * 1024),
        ("n", 1e-9m), ("u", 1e-6m), ("m", 1e-3m), ("k", 1e3m), ("M", 1e6m), ("G", 1e9m), ("T", 1e12m), ("P", 1e15m),
    ];

    /// <summary>Null for a text that is no quantity.</summary>
    public static decimal? Parse(string? text)
    {
        if (string.IsNullOrEmpty(text)) return null;
        var (suffix, factor) = Array.Find(s_suffixes, s => text.EndsWith(s.Suffix, StringComparison.Ordinal));
        var digits = suffix is null ? text : text[..^suffix.Length];
        return decimal.TryParse(digits, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) ? number * (suffix is null ? 1 : factor) : null;
    }

    /// <summary>How many <paramref name="divisor"/> it takes, rounded up, as env and files show it.</summary>
    public static string Divide(decimal value, string? divisor)
    {
        var by = Parse(divisor) is { } d and > 0 ? d : 1;
        return decimal.Ceiling(value / by).ToString("0", CultureInfo.InvariantCulture);
    }
}
