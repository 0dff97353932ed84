using System.Text.Json.Nodes;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace AmbientMesh.Ztunnel.Configuration;

/// <summary>Reads YAML into a tree of objects, lists and texts. No reflection, no recursion deeper than a bound.</summary>
internal static class YamlTree
{
    /// <summary>Levels of mappings and lists; the deepest setting has nine.</summary>
    private const int MaxDepth = 32;

    /// <summary>The root of the only document; null when the text has none. Scalars are texts, an unquoted <c>null</c> or nothing is null.</summary>
    /// <exception cref="FormatException">Not YAML, nested too deeply, with aliases, or with a key twice; the message says where.</exception>
    public static JsonNode? Read(string text)
    {
        try
        {
            var parser = new Parser(new StringReader(text));
            parser.Consume<StreamStart>();
            if (parser.Accept<StreamEnd>(out _)) return null;
            parser.Consume<DocumentStart>();
            var root = Node(parser, 0);
            parser.Consume<DocumentEnd>();
            return parser.Accept<StreamEnd>(out _) ? root : throw new FormatException("it has more than one document");
        }
        catch (YamlException e)
        {
            throw new FormatException($"{e.Message} (at {e.Start})", e);
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException)
        {
            throw new FormatException(e.Message, e);   // of the library, for some texts that are no YAML
        }
    }

    private static JsonNode? Node(Parser parser, int depth)
    {
        if (depth > MaxDepth) throw new FormatException($"nested more than {MaxDepth} levels deep at {parser.Current?.Start}");
        if (parser.TryConsume<Scalar>(out var scalar)) return IsNull(scalar) ? null : JsonValue.Create(scalar.Value);
        if (parser.TryConsume<SequenceStart>(out _))
        {
            var list = new JsonArray();
            while (!parser.TryConsume<SequenceEnd>(out _)) list.Add(Node(parser, depth + 1));
            return list;
        }
        if (parser.TryConsume<MappingStart>(out _))
        {
            var map = new JsonObject();
            while (!parser.TryConsume<MappingEnd>(out _))
            {
                var key = parser.Consume<Scalar>();
                if (!map.TryAdd(key.Value, Node(parser, depth + 1))) throw new FormatException($"\"{key.Value}\" is there twice (at {key.Start})");
            }
            return map;
        }
        throw new FormatException($"what stands at {parser.Current?.Start} is not supported");
    }

    private static bool IsNull(Scalar scalar) => scalar.Style == ScalarStyle.Plain && scalar.Value is "" or "~" or "null" or "Null" or "NULL";
}
