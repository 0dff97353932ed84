using System.Globalization;
using System.Net;
using System.Text.Json.Nodes;

namespace AmbientMesh.Ztunnel.Configuration;

/// <summary>A mapping of a settings file, read field by field; what nobody asked for is unknown and refused.</summary>
/// <param name="path">Where it stands, for messages: <c>workloads[2].waypoint</c>.</param>
internal sealed class YamlSection(JsonObject map, string path)
{
    private readonly HashSet<string> _known = [];

    public string Path => path;

    /// <summary>Its keys, for mappings whose keys are data.</summary>
    public IEnumerable<string> Keys => map.Select(pair => pair.Key);

    /// <exception cref="FormatException">Not a mapping.</exception>
    public static YamlSection Of(JsonNode? node, string path) => node is JsonObject map ? new YamlSection(map, path) : throw new FormatException($"{(path.Length == 0 ? "it" : path)} is no mapping");

    public bool Has(string name) => Find(name) is not null;

    public string Text(string name, string fallback = "") => Find(name) switch
    {
        null => fallback,
        JsonValue value => value.GetValue<string>(),
        _ => throw new FormatException($"{At(name)} is no text"),
    };

    /// <exception cref="FormatException">It is not there.</exception>
    public string Required(string name) => Text(name) is { Length: > 0 } text ? text : throw new FormatException($"{At(name)} is required");

    public bool Flag(string name) => Text(name, "false") switch
    {
        "true" or "True" or "TRUE" => true,
        "false" or "False" or "FALSE" => false,
        var other => throw new FormatException($"{At(name)} is \"{other}\"; expected true or false"),
    };

    public uint Number(string name, uint fallback, uint most) => Find(name) is null ? fallback : NumberOf(Text(name), At(name), most);

    /// <summary>One of a closed set of words, letter case aside.</summary>
    public T Word<T>(string name, T fallback, params ReadOnlySpan<(string Word, T Value)> words)
    {
        if (Find(name) is null) return fallback;
        var text = Text(name);
        var expected = new List<string>();
        foreach (var (word, value) in words)
        {
            if (word.Equals(text, StringComparison.OrdinalIgnoreCase)) return value;
            expected.Add(word);
        }
        throw new FormatException($"{At(name)} is \"{text}\"; expected {string.Join(", ", expected)}");
    }

    public YamlSection? Section(string name) => Find(name) is { } node ? Of(node, At(name)) : null;

    /// <summary>The elements of a list with where each stands; empty without it.</summary>
    public IEnumerable<(JsonNode? Node, string Path)> List(string name) => Find(name) switch
    {
        null => [],
        JsonArray list => list.Select((node, index) => (node, $"{At(name)}[{index}]")),
        _ => throw new FormatException($"{At(name)} is no list"),
    };

    public IEnumerable<string> Texts(string name) => List(name).Select(item => TextOf(item.Node, item.Path));

    /// <summary>Refuses fields that nobody asked for.</summary>
    public void End()
    {
        if (map.Select(pair => pair.Key).FirstOrDefault(key => !_known.Contains(key)) is { } unknown)
            throw new FormatException($"{At(unknown)} is unknown; expected {string.Join(", ", _known.Order(StringComparer.Ordinal))}");
    }

    public string At(string name) => path.Length == 0 ? name : $"{path}.{name}";

    public static string TextOf(JsonNode? node, string path) => node is JsonValue value ? value.GetValue<string>() : throw new FormatException($"{path} is no text");

    public static uint NumberOf(string text, string path, uint most) =>
        uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number <= most ? number : throw new FormatException($"{path} is \"{text}\"; expected a number from 0 to {most}");

    public static IPAddress AddressOf(string text, string path) => IPAddress.TryParse(text, out var address) ? address : throw new FormatException($"{path} is \"{text}\"; expected an IP address");

    private JsonNode? Find(string name)
    {
        _known.Add(name);
        return map[name];
    }
}
