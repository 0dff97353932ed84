using YamlDotNet.Core;
using YamlDotNet.Core.Events;
using YamlDotNet.RepresentationModel;

namespace AmbientMesh.Kubernetes;

/// <summary>Reads YAML whose nesting is bounded: the object model is built by recursion, and a deep text would end the process.</summary>
public static class BoundedYaml
{
    /// <summary>Levels of mappings and lists; settings have fewer than ten.</summary>
    public const int MaxDepth = 64;

    /// <summary>The root of the first document; null when there is none.</summary>
    /// <param name="allowsAliases">False refuses <c>*alias</c>: who walks the whole tree would walk shared parts again and again, or for ever.</param>
    /// <exception cref="FormatException">Not YAML, nested too deeply, or with an alias where none is allowed; the message says where.</exception>
    public static YamlNode? Load(string text, bool allowsAliases = false)
    {
        try
        {
            var depth = 0;
            var parser = new Parser(new StringReader(text));
            while (parser.MoveNext())
            {
                depth += parser.Current!.NestingIncrease;
                if (depth > MaxDepth) throw new FormatException($"nested more than {MaxDepth} levels deep at {parser.Current.Start}");
                if (!allowsAliases && parser.Current is AnchorAlias) throw new FormatException($"an alias at {parser.Current.Start} is not supported");
            }
            var stream = new YamlStream();
            stream.Load(new StringReader(text));
            return stream.Documents.Count == 0 ? null : stream.Documents[0].RootNode;
        }
        catch (Exception e) when (e is YamlException or ArgumentException or InvalidOperationException)
        {
            throw new FormatException(e.Message, e);
        }
    }
}
