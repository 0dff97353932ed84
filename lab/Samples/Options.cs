using System.Globalization;

namespace AmbientMesh.Samples;

/// <summary>Reads <c>--name number</c> pairs.</summary>
internal static class Options
{
    /// <exception cref="FormatException">The value is missing or not a whole number.</exception>
    public static int Number(string[] arguments, string name, int otherwise)
    {
        var at = Array.IndexOf(arguments, name);
        if (at < 0) return otherwise;
        if (at + 1 < arguments.Length && int.TryParse(arguments[at + 1], NumberStyles.None, CultureInfo.InvariantCulture, out var value)) return value;
        throw new FormatException($"{name} wants a whole number.");
    }
}
