using System.Collections;
using System.Reflection;
using System.Text;
using Xunit;

namespace AmbientMesh.Testing;

/// <summary><c>docs/settings.md</c>, held against the code that reads the settings: the page names every variable, no other, and the defaults that are in force.</summary>
/// <param name="Variables">Name, and default; null where the page has words for it.</param>
public sealed record SettingsPage(IReadOnlyDictionary<string, string?> Variables)
{
    private const string OpenTelemetry = "OpenTelemetry, of all three";

    /// <summary>The tables under the heading of a part, and what concerns all parts.</summary>
    public static SettingsPage Of(string part)
    {
        var variables = new Dictionary<string, string?>();
        var heading = "";
        foreach (var line in File.ReadLines(Path.Combine(Samples.Root, "docs", "settings.md")))
        {
            if (line.StartsWith("## ", StringComparison.Ordinal)) heading = line[3..];
            if ((heading != part && heading != OpenTelemetry) || !line.StartsWith("| `", StringComparison.Ordinal)) continue;
            var cells = line.Split('|', StringSplitOptions.TrimEntries);
            variables.Add(cells[1].Trim('`'), cells[2] is ['`', .. var text, '`'] && !text.Contains('`') ? text : null);
        }
        return new SettingsPage(variables);
    }

    /// <summary>Asserts that the page and the reader agree.</summary>
    /// <param name="surroundings">Variables that are needed, or that make the reader ask for more.</param>
    /// <param name="read">Reads the settings; gives them and their problems.</param>
    /// <param name="others">Further surroundings in which it asks for more.</param>
    /// <typeparam name="T">The settings.</typeparam>
    public void IsTrueOf<T>(IReadOnlyDictionary<string, string> surroundings, Func<RecordingDictionary, (T Settings, IReadOnlyList<string> Problems)> read, params ReadOnlySpan<IReadOnlyDictionary<string, string>> others) where T : notnull
    {
        var asked = new HashSet<string>();
        foreach (var other in others) read(new RecordingDictionary(other, asked));
        var (unset, problems) = read(new RecordingDictionary(surroundings, asked));
        Assert.Empty(problems);
        var families = Variables.Keys.Where(name => name.EndsWith('*')).Select(name => name.TrimEnd('*')).ToList();   // read by their beginning
        bool IsOfFamily(string name) => families.Exists(family => name.StartsWith(family, StringComparison.Ordinal)) && !asked.Contains(name);
        Assert.Equal(Variables.Keys.Where(name => !IsOfFamily(name)).Order(StringComparer.Ordinal), asked.Order(StringComparer.Ordinal));
        foreach (var (name, value) in Variables.Where(v => v.Value is not null && asked.Contains(v.Key) && !surroundings.ContainsKey(v.Key)))
        {
            var (set, refused) = read(new RecordingDictionary(new Dictionary<string, string>(surroundings) { [name] = value! }, asked));
            Assert.True(refused.Count == 0, string.Join(' ', refused));
            Assert.True(Text(unset) == Text(set), $"{name}={value} is not the default:\n{Text(unset)}\n{Text(set)}");
        }
    }

    private static string Text(object? value) => value switch
    {
        null => "null",
        string text => text,
        IEnumerable list => $"[{string.Join(", ", list.Cast<object?>().Select(Text))}]",
        _ when value.GetType() is { IsEnum: false, Namespace: { } space } type && space.StartsWith("AmbientMesh", StringComparison.Ordinal) => Text(type, value),
        _ => value.ToString() ?? "",
    };

    private static string Text(Type type, object value)
    {
        var text = new StringBuilder();
        foreach (var property in type.GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(p => p.GetIndexParameters().Length == 0)) text.Append(property.Name).Append('=').Append(Text(property.GetValue(value))).Append("; ");
        return $"{{{text}}}";
    }
}

/// <summary>An environment that remembers what it was asked for.</summary>
public sealed class RecordingDictionary(IReadOnlyDictionary<string, string> values, ISet<string> asked) : IReadOnlyDictionary<string, string>
{
    public string this[string key] => Find(key) ?? throw new KeyNotFoundException(key);

    public IEnumerable<string> Keys => values.Keys;
    public IEnumerable<string> Values => values.Values;
    public int Count => values.Count;

    public string? Find(string name)
    {
        asked.Add(name);
        return values.GetValueOrDefault(name);
    }

    /// <summary>Not remembered: it asks where the process runs, not how it is set.</summary>
    public bool ContainsKey(string key) => values.ContainsKey(key);

    public bool TryGetValue(string key, [System.Diagnostics.CodeAnalysis.MaybeNullWhen(false)] out string value) => (value = Find(key)) is not null;

    public IEnumerator<KeyValuePair<string, string>> GetEnumerator() => values.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
