using System.Collections;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Telemetry;

/// <summary>The named values of one log line, written after the message in the order given; values that are null are left out.</summary>
/// <remarks>
/// Strings are quoted, numbers and everything else (addresses, for example) are not. Control characters and quotes are escaped, so a value taken from a
/// peer can never start a line of its own.
/// </remarks>
public readonly struct LogFields(string message, params KeyValuePair<string, object?>[] fields) : IReadOnlyList<KeyValuePair<string, object?>>
{
    private readonly KeyValuePair<string, object?>[]? _fields = fields;

    public string Message { get; } = message;

    /// <summary>What the line is about, e.g. <c>proxy{wl=default/client}</c>; shown with the target. Null for none.</summary>
    public LogSpan? Span { get; init; }

    public ReadOnlySpan<KeyValuePair<string, object?>> Fields => _fields;
    public int Count => _fields?.Length ?? 0;
    public KeyValuePair<string, object?> this[int index] => _fields![index];

    public IEnumerator<KeyValuePair<string, object?>> GetEnumerator() => ((IEnumerable<KeyValuePair<string, object?>>)(_fields ?? [])).GetEnumerator();
    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
    public override string ToString() => Message;
}

/// <summary>The enclosing work of a log line: its kind and one identifying value.</summary>
public sealed record LogSpan(string Name, string Key, string Value);

public static class LogFieldsExtensions
{
    /// <summary>Writes <paramref name="fields"/> as one line; any <see cref="ILogger"/> shows at least the message.</summary>
    public static void Write(this ILogger log, LogLevel level, in LogFields fields)
    {
        if (log.IsEnabled(level)) log.Log(level, default, fields, null, static (state, _) => state.Message);
    }

    /// <summary>One line with a message and fields.</summary>
    public static void Write(this ILogger log, LogLevel level, string message, params KeyValuePair<string, object?>[] fields) =>
        log.Write(level, new LogFields(message, fields));
}
