using System.Reflection;
using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace AmbientMesh.Definitions;

/// <summary>The summaries of an assembly's docstrings, from the file the compiler wrote beside it.</summary>
internal sealed partial class Docstrings
{
    private readonly Dictionary<string, string> _byMember;

    public Docstrings(Assembly assembly)
    {
        var file = Path.ChangeExtension(assembly.Location, ".xml");
        _byMember = XDocument.Load(file).Descendants("member")
            .Where(m => m.Element("summary") is not null)
            .ToDictionary(m => m.Attribute("name")!.Value, m => TextOf(m.Element("summary")!));
    }

    /// <summary>Null without one.</summary>
    public string? Of(PropertyInfo property) => _byMember.GetValueOrDefault($"P:{property.DeclaringType!.FullName}.{property.Name}");

    /// <inheritdoc cref="Of(PropertyInfo)"/>
    public string? Of(Type type) => _byMember.GetValueOrDefault($"T:{type.FullName}");

    private static string TextOf(XElement summary) =>
        Spaces().Replace(string.Concat(summary.Nodes().Select(n => n switch { XElement e => e.Value.Length > 0 ? e.Value : e.Attribute("cref")?.Value.Split('.')[^1] ?? "", _ => n.ToString() })), " ").Trim()
            .Replace("&lt;", "<", StringComparison.Ordinal).Replace("&gt;", ">", StringComparison.Ordinal).Replace("&amp;", "&", StringComparison.Ordinal);

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();
}
