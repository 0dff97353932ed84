using System.Globalization;
using System.Text;

namespace AmbientMesh.Telemetry;

/// <summary>Reads samples out of Prometheus or OpenMetrics text, e.g. of another process; everything else in it is passed over.</summary>
/// <param name="names">The samples wanted, by exact name; a handful.</param>
/// <param name="labels">The labels wanted.</param>
/// <param name="take">Called with the name, the labels' values in the order of <paramref name="labels"/> (<c>unknown</c> where missing; valid during the call), and the value.</param>
public sealed class MetricTextReader(IReadOnlyList<string> names, IReadOnlyList<string> labels, Action<string, string[], double> take)
{
    public const string Missing = "unknown";
    private const int BufferChars = 16 * 1024;

    private readonly string[] _values = new string[labels.Count];

    /// <summary>Reads to the end.</summary>
    /// <exception cref="IOException">The text is longer than <paramref name="maxBytes"/>, or reading failed.</exception>
    public async Task ReadAsync(Stream text, long maxBytes, CancellationToken cancellationToken)
    {
        using var reader = new StreamReader(new LimitedStream(text, maxBytes), Encoding.UTF8);
        var buffer = new char[BufferChars];
        var filled = 0;
        while (await reader.ReadAsync(buffer.AsMemory(filled), cancellationToken) is > 0 and var read)
        {
            filled += read;
            var taken = Lines(buffer.AsSpan(0, filled));
            buffer.AsSpan(taken, filled - taken).CopyTo(buffer);
            filled -= taken;
            if (filled == buffer.Length) Array.Resize(ref buffer, buffer.Length * 2);
        }
        Line(buffer.AsSpan(0, filled));
    }

    /// <summary>Reads the whole lines of <paramref name="text"/> and returns their length. Only a line feed ends a line: a carriage return may stand in a label's value.</summary>
    private int Lines(ReadOnlySpan<char> text)
    {
        var taken = 0;
        while (text[taken..].IndexOf('\n') is >= 0 and var end)
        {
            Line(text.Slice(taken, end));
            taken += end + 1;
        }
        return taken;
    }

    /// <summary>Reads one line; false when it is no wanted sample, or is malformed.</summary>
    public bool Line(ReadOnlySpan<char> line)
    {
        if (line.IsEmpty || line[0] == '#') return false;
        var end = line.IndexOfAny('{', ' ');
        if (end <= 0) return false;
        if (NameOf(line[..end]) is not { } name) return false;
        Array.Fill(_values, Missing);
        var rest = line[end..];
        if (rest[0] == '{' && !Labels(ref rest)) return false;
        rest = rest.TrimStart(' ');
        var space = rest.IndexOf(' ');   // a timestamp may follow
        if (!double.TryParse(space < 0 ? rest : rest[..space], NumberStyles.Float, CultureInfo.InvariantCulture, out var value) || !double.IsFinite(value)) return false;
        take(name, _values, value);
        return true;
    }

    private string? NameOf(ReadOnlySpan<char> text)
    {
        foreach (var name in names)
            if (text.SequenceEqual(name)) return name;
        return null;
    }

    // {name="value",…} with \\, \" and \n escaped in values.
    private bool Labels(ref ReadOnlySpan<char> rest)
    {
        rest = rest[1..];
        while (true)
        {
            if (rest.IsEmpty) return false;
            if (rest[0] == '}')
            {
                rest = rest[1..];
                return true;
            }
            var equals = rest.IndexOf('=');
            if (equals <= 0 || equals + 1 >= rest.Length || rest[equals + 1] != '"') return false;
            var label = rest[..equals];
            rest = rest[(equals + 2)..];
            var quote = EndOfValue(rest);
            if (quote < 0) return false;
            for (var i = 0; i < labels.Count; i++)
                if (label.SequenceEqual(labels[i])) _values[i] = Unescape(rest[..quote]);
            rest = rest[(quote + 1)..];
            if (!rest.IsEmpty && rest[0] == ',') rest = rest[1..];
        }
    }

    private static int EndOfValue(ReadOnlySpan<char> text)
    {
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] == '\\') i++;
            else if (text[i] == '"') return i;
        }
        return -1;
    }

    private static string Unescape(ReadOnlySpan<char> value)
    {
        if (!value.Contains('\\')) return value.ToString();
        var text = new StringBuilder(value.Length);
        for (var i = 0; i < value.Length; i++)
        {
            if (value[i] == '\\' && i + 1 < value.Length) text.Append(value[++i] == 'n' ? '\n' : value[i]);
            else text.Append(value[i]);
        }
        return text.ToString();
    }

    /// <summary>Fails instead of reading more than it may.</summary>
    private sealed class LimitedStream(Stream inner, long maxBytes) : Stream
    {
        private long _left = maxBytes;

        public override bool CanRead => true;
        public override bool CanSeek => false;
        public override bool CanWrite => false;
        public override long Length => throw new NotSupportedException();
        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => Count(await inner.ReadAsync(buffer, cancellationToken));

        public override int Read(byte[] buffer, int offset, int count) => Count(inner.Read(buffer, offset, count));

        private int Count(int read)
        {
            _left -= read;
            return _left >= 0 ? read : throw new IOException("the answer is longer than it may be");
        }

        public override void Flush() { }
        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
        public override void SetLength(long value) => throw new NotSupportedException();
        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
