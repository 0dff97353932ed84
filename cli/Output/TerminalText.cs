using System.Globalization;
using System.Text;

namespace AmbientMesh.Cli.Output;

/// <summary>Writes text so that it can only be seen: control characters, and those that turn the direction of writing, are written <c>\uXXXX</c>, as in JSON.</summary>
/// <remarks>Answers hold words of users, principals of a policy for instance; none of them must be able to move the cursor of the terminal of an administrator. Not thread-safe.</remarks>
internal sealed class TerminalText(TextWriter inner) : TextWriter(CultureInfo.InvariantCulture)
{
    public override Encoding Encoding => inner.Encoding;

    public override void Write(char value)
    {
        if (IsUnsafe(value)) inner.Write(string.Create(CultureInfo.InvariantCulture, $"\\u{(int)value:x4}"));
        else inner.Write(value);
    }

    public override void Write(ReadOnlySpan<char> buffer)
    {
        foreach (var c in buffer) Write(c);
    }

    public override void Write(char[] buffer, int index, int count) => Write(buffer.AsSpan(index, count));

    public override void Write(string? value) => Write(value.AsSpan());

    public override void WriteLine(string? value)
    {
        Write(value.AsSpan());
        inner.WriteLine();
    }

    public override void WriteLine() => inner.WriteLine();
    public override void Flush() => inner.Flush();

    private static bool IsUnsafe(char c) => c is not ('\n' or '\t') && (char.IsControl(c) || c is '\u2028' or '\u2029' or (>= '\u202a' and <= '\u202e') or (>= '\u2066' and <= '\u2069'));
}
