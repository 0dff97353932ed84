using System.Collections;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Telemetry;

/// <summary>The two layouts of a log line.</summary>
public enum LogLayout
{
    /// <summary>RFC 3339 time, level, target, message and fields, parted by TABs.</summary>
    Plain,
    /// <summary>One JSON object a line: level, time, scope, message, then the fields.</summary>
    Json,
}

/// <summary>One line to be written.</summary>
/// <param name="Target">Rust-like path (<c>ztunnel::access</c>).</param>
/// <param name="Exception">Shown as field <c>error</c>; null for none.</param>
public readonly record struct LogLine(DateTimeOffset Time, LogLevel Level, string Target, string Message, LogFields Fields, Exception? Exception);

/// <summary>Renders log lines in the layouts of ztunnel (L4 reference §11.3).</summary>
public static class LogLineWriter
{
    /// <summary>Longest value or message shown, in characters: a peer may choose some of them, and the queue of lines must stay small.</summary>
    private const int MaxText = 2048;

    private const string TimeFormat = "yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'";

    /// <summary>The line with its newline.</summary>
    /// <param name="plainPrefix">Crate name left out of the target in the plain layout, e.g. <c>ztunnel::</c>.</param>
    public static string Write(in LogLine line, LogLayout layout, string plainPrefix = "ztunnel::") =>
        layout == LogLayout.Json ? Json(line) : Plain(line, plainPrefix);

    private static string Plain(in LogLine line, string plainPrefix)
    {
        var text = new StringBuilder(256);
        var target = line.Target.StartsWith(plainPrefix, StringComparison.Ordinal) ? line.Target[plainPrefix.Length..] : line.Target;
        text.Append(line.Time.UtcDateTime.ToString(TimeFormat, CultureInfo.InvariantCulture)).Append('\t').Append(LogFilter.Name(line.Level)).Append('\t').Append(target);
        if (line.Fields.Span is { } span) text.Append(':').Append(span.Name).Append('{').Append(span.Key).Append('=').Append(OneLine(span.Value)).Append('}');
        text.Append('\t').Append(OneLine(Bounded(line.Message))).Append('\t');
        var first = true;
        foreach (var (key, value) in line.Fields.Fields) first = PlainField(text, key, value, first);
        if (line.Exception is { } exception) PlainField(text, "error", Describe(exception), first);
        return text.Append('\n').ToString();
    }

    private static bool PlainField(StringBuilder text, string key, object? value, bool first)
    {
        if (value is null) return first;
        if (!first) text.Append(' ');
        text.Append(key).Append('=');
        if (value is string quoted) Quote(text, Bounded(quoted));
        else text.Append(OneLine(Shown(value)));
        return false;
    }

    private static string Json(in LogLine line)
    {
        var buffer = new System.Buffers.ArrayBufferWriter<byte>(512);
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("level", LogFilter.Name(line.Level));
            json.WriteString("time", line.Time.UtcDateTime.ToString(TimeFormat, CultureInfo.InvariantCulture));
            json.WriteString("scope", line.Target);
            json.WriteString("message", Bounded(line.Message));
            foreach (var (key, value) in line.Fields.Fields) JsonField(json, key, value);
            if (line.Exception is { } exception) json.WriteString("error", Describe(exception));
            if (line.Fields.Span is { } span)
            {
                json.WriteStartObject(span.Name);
                json.WriteString(span.Key, span.Value);
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(buffer.WrittenSpan) + "\n";
    }

    private static void JsonField(Utf8JsonWriter json, string key, object? value)
    {
        switch (value)
        {
            case null: break;
            case bool flag: json.WriteBoolean(key, flag); break;
            case int number: json.WriteNumber(key, number); break;
            case long number: json.WriteNumber(key, number); break;
            case ulong number: json.WriteNumber(key, number); break;
            case double number when double.IsFinite(number): json.WriteNumber(key, number); break;
            default: json.WriteString(key, Shown(value)); break;
        }
    }

    private static string Bounded(string text) => text.Length <= MaxText ? text : string.Concat(text.AsSpan(0, char.IsHighSurrogate(text[MaxText - 1]) ? MaxText - 1 : MaxText), "…");

    private static string Shown(object value) => Bounded(ShownWhole(value));

    private static string ShownWhole(object value) => value switch
    {
        string text => text,
        IFormattable formattable => formattable.ToString(null, CultureInfo.InvariantCulture),
        IEnumerable list => string.Join(',', list.Cast<object?>()),
        _ => value.ToString() ?? "",
    };

    private static string Describe(Exception exception)
    {
        var text = $"{exception.GetType().Name}: {exception.Message}";
        for (var inner = exception.InnerException; inner is not null; inner = inner.InnerException) text += $": {inner.Message}";
        return text;
    }

    /// <summary>Quotes as Rust's Debug does: backslash, quote and control characters are escaped.</summary>
    private static void Quote(StringBuilder text, string value)
    {
        text.Append('"');
        foreach (var c in value)
        {
            if (c is '"' or '\\') text.Append('\\').Append(c);
            else Escaped(text, c);
        }
        text.Append('"');
    }

    private static string OneLine(string value)
    {
        if (!value.Any(IsUnsafe)) return value;
        var text = new StringBuilder(value.Length + 8);
        foreach (var c in value) Escaped(text, c);
        return text.ToString();
    }

    private static void Escaped(StringBuilder text, char c)
    {
        if (!IsUnsafe(c)) text.Append(c);
        else if (c == '\n') text.Append("\\n");
        else if (c == '\r') text.Append("\\r");
        else if (c == '\t') text.Append("\\t");
        else text.Append("\\u{").Append(((int)c).ToString("x", CultureInfo.InvariantCulture)).Append('}');
    }

    // U+2028 and U+2029 start a new line in some viewers.
    private static bool IsUnsafe(char c) => char.IsControl(c) || c is '\u2028' or '\u2029';
}
