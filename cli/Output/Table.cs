namespace AmbientMesh.Cli.Output;

/// <summary>A table as kubectl writes them: columns padded to their widest cell, three blanks between, nothing else; the same on a terminal and in a pipe.</summary>
public sealed class Table(params string[] headers)
{
    private const string Gap = "   ";
    private readonly List<string[]> _rows = [];

    public int Count => _rows.Count;

    /// <summary>Adds a row; a cell of null shows as <c>-</c>.</summary>
    public void Add(params ReadOnlySpan<string?> cells)
    {
        var row = new string[headers.Length];
        for (var i = 0; i < row.Length; i++) row[i] = i < cells.Length && cells[i] is { Length: > 0 } text ? text : "-";
        _rows.Add(row);
    }

    /// <summary>Writes header and rows, each line indented by <paramref name="indent"/> blanks.</summary>
    public void Write(TextWriter output, int indent = 0)
    {
        var widths = new int[headers.Length];
        foreach (var row in _rows.Prepend(headers))
            for (var i = 0; i < row.Length; i++) widths[i] = Math.Max(widths[i], row[i].Length);
        foreach (var row in _rows.Prepend(headers))
        {
            var line = string.Join(Gap, row.Select((cell, i) => i == row.Length - 1 ? cell : cell.PadRight(widths[i])));
            output.WriteLine(new string(' ', indent) + line.TrimEnd());
        }
    }
}
