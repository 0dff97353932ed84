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

    /// <inheritdoc cref="Number"/>
    /// <exception cref="FormatException">The value is also wrong outside <paramref name="least"/> to <paramref name="most"/>.</exception>
    public static int Within(string[] arguments, string name, int otherwise, int least, int most) =>
        Number(arguments, name, otherwise) is var value && value >= least && value <= most ? value : throw new FormatException($"{name} is {value}; {least} to {most} are possible.");
}
