using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

namespace AmbientMesh.Benchmarks.L4;

/// <summary>Every round's figures by way; best round counts, since noise on a shared machine only ever makes things worse.</summary>
internal sealed class Report(IReadOnlyList<string> ways)
{
    private readonly Dictionary<(string Way, Figure Figure), List<double>> _values = [];

    public void Add(string way, IReadOnlyDictionary<Figure, double> figures)
    {
        foreach (var (figure, value) in figures)
        {
            if (!_values.TryGetValue((way, figure), out var all)) _values.Add((way, figure), all = []);
            all.Add(value);
        }
    }

    public double? Best(string way, Figure figure) =>
        _values.TryGetValue((way, figure), out var all) ? FigureInfo.All[figure].HigherIsBetter ? all.Max() : all.Min() : null;

    public string Table()
    {
        var text = new StringBuilder();
        var width = FigureInfo.All.Values.Max(f => f.Title.Length + f.Unit.Length + 3);
        text.Append("figure".PadRight(width));
        foreach (var way in ways) text.Append(way.PadLeft(14));
        text.Append("ours/haproxy".PadLeft(14)).Append('\n');
        foreach (var (figure, info) in FigureInfo.All)
        {
            text.Append($"{info.Title} ({info.Unit})".PadRight(width));
            foreach (var way in ways) text.Append(Shown(Best(way, figure)).PadLeft(14));
            text.Append((Best("ours", figure) / Best("haproxy", figure) is { } ratio ? ratio.ToString("0.00", CultureInfo.InvariantCulture) : "").PadLeft(14)).Append('\n');
        }
        return text.ToString();
    }

    public JsonObject Json(string machine, double seconds, int rounds)
    {
        var figures = new JsonObject();
        foreach (var (figure, info) in FigureInfo.All)
        {
            var byWay = new JsonObject();
            foreach (var way in ways)
                if (_values.TryGetValue((way, figure), out var all)) byWay[way] = new JsonObject { ["best"] = Best(way, figure), ["rounds"] = new JsonArray([.. all.Select(v => (JsonNode)v)]) };
            figures[figure.ToString()] = new JsonObject { ["title"] = info.Title, ["unit"] = info.Unit, ["higherIsBetter"] = info.HigherIsBetter, ["ways"] = byWay };
        }
        return new JsonObject { ["machine"] = machine, ["secondsPerFigure"] = seconds, ["rounds"] = rounds, ["figures"] = figures };
    }

    /// <summary>One row of bars per figure; the longest bar of a row is its largest value.</summary>
    public string Svg()
    {
        const int left = 330, bar = 380, line = 18;
        string[] colours = ["#8a8f98", "#2b6cb0", "#c05621", "#2f855a"];
        var rows = FigureInfo.All.Where(f => ways.Any(w => Best(w, f.Key) is not null)).ToArray();
        var height = 50 + rows.Sum(_ => (ways.Count * line) + 14);
        var svg = new StringBuilder();
        svg.Append(CultureInfo.InvariantCulture, $"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{left + bar + 130}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n");
        svg.Append(CultureInfo.InvariantCulture, $"<rect width=\"100%\" height=\"100%\" fill=\"white\"/><text x=\"10\" y=\"24\" font-size=\"15\">L4 path, two nodes, one machine</text>\n");
        var y = 42;
        foreach (var (figure, info) in rows)
        {
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"10\" y=\"{y + 13}\">{info.Title}, {info.Unit}</text>\n");
            var largest = ways.Max(w => Best(w, figure) ?? 0);
            for (var i = 0; i < ways.Count; i++, y += line)
            {
                if (Best(ways[i], figure) is not { } value) continue;
                var length = largest > 0 ? Math.Max(1, value / largest * bar) : 1;
                svg.Append(CultureInfo.InvariantCulture, $"<rect x=\"{left}\" y=\"{y + 2}\" width=\"{length:0.0}\" height=\"{line - 4}\" fill=\"{colours[i % colours.Length]}\"/>");
                svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{left + length + 6:0.0}\" y=\"{y + 13}\">{Shown(value)} {ways[i]}</text>\n");
            }
            y += 14;
        }
        return svg.Append("</svg>\n").ToString();
    }

    private static string Shown(double? value) => value switch
    {
        null => "-",
        >= 100 => value.Value.ToString("#,0", CultureInfo.InvariantCulture),
        _ => value.Value.ToString("0.00", CultureInfo.InvariantCulture),
    };
}
