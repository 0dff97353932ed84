using System.Reflection;

namespace AmbientMesh.Lab.Api.Schema;

/// <summary>The built-in kinds, read from the <c>*.txt</c> tables in this folder.</summary>
/// <remarks>
/// One struct a line: <c>Name: field=NUMBER:TYPE…</c>. A leading <c>^</c> inlines a struct. TYPE is <c>*</c> (pointer), <c>[]</c> (list) or <c>{}</c> (map)
/// before a scalar or struct. Marks: <c>!</c> written even when zero, <c>?</c> a zero struct is left out, <c>+</c> required,
/// <c>~merge(key)</c> strategic merge, <c>@key,key</c> | <c>@set</c> | <c>@atomic</c> ownership. A <c>%</c> after the struct's name: owned as one piece.
/// </remarks>
public static class SchemaTable
{
    private static readonly Lazy<Dictionary<string, SchemaType>> Types = new(Load);

    /// <summary>The struct by its full name, e.g. <c>core.v1.Pod</c>; null when the table has none.</summary>
    public static SchemaType? Find(string name) => Types.Value.GetValueOrDefault(name);

    /// <summary>The struct by its full name; throws when the table has none.</summary>
    public static SchemaType Get(string name) => Find(name) ?? throw new KeyNotFoundException($"No built-in type {name}.");

    public static IEnumerable<SchemaType> All => Types.Value.Values;

    private static Dictionary<string, SchemaType> Load()
    {
        var lines = new Dictionary<string, string>(StringComparer.Ordinal);
        var types = new Dictionary<string, SchemaType>(StringComparer.Ordinal);
        var assembly = Assembly.GetExecutingAssembly();
        foreach (var resource in assembly.GetManifestResourceNames().Where(n => n.StartsWith("schema/", StringComparison.Ordinal)))
        {
            var package = Path.GetFileNameWithoutExtension(resource["schema/".Length..]);
            using var reader = new StreamReader(assembly.GetManifestResourceStream(resource)!);
            while (reader.ReadLine() is { } line)
            {
                var colon = line.IndexOf(':', StringComparison.Ordinal);
                if (colon < 0) continue;
                var name = line[..colon];
                var atomic = name.EndsWith('%');
                name = $"{package}.{name.TrimEnd('%')}";
                types[name] = new SchemaType(name) { IsAtomic = atomic };
                lines[name] = line[(colon + 1)..];
            }
        }
        var done = new HashSet<string>(StringComparer.Ordinal);
        foreach (var name in lines.Keys) Fill(name, lines, types, done);
        return types;
    }

    private static void Fill(string name, Dictionary<string, string> lines, Dictionary<string, SchemaType> types, HashSet<string> done)
    {
        if (!done.Add(name)) return;
        var type = types[name];
        var package = name[..name.LastIndexOf('.')];
        foreach (var word in lines[name].Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            if (word[0] != '^')
            {
                type.Add(ParseField(word, package, types));
                continue;
            }
            var at = word.IndexOf('=', StringComparison.Ordinal);
            var inlined = Qualify(at < 0 ? word[1..] : word[1..at], package);
            Fill(inlined, lines, types, done);
            if (at >= 0) type.Inlined[int.Parse(word[(at + 1)..])] = types[inlined];
            foreach (var field in types[inlined].Fields) type.Add(field, direct: false);
        }
    }

    private static SchemaField ParseField(string word, string package, Dictionary<string, SchemaType> types)
    {
        var equals = word.IndexOf('=', StringComparison.Ordinal);
        var colon = word.IndexOf(':', equals);
        var end = word.IndexOfAny(['!', '?', '+', '~', '@'], colon);
        var typeText = end < 0 ? word[(colon + 1)..] : word[(colon + 1)..end];
        var marks = end < 0 ? "" : word[end..];
        var pointer = typeText.StartsWith('*');
        var ownership = After(marks, '@');
        var merge = After(marks, '~')?.Split('@')[0];
        var shape = ParseShape(typeText.TrimStart('*'), package, types, ownership, merge);
        var always = marks.Contains('!', StringComparison.Ordinal)
            || (!pointer && shape.Kind is ShapeKind.Struct or ShapeKind.Time or ShapeKind.MicroTime && !pointer && !marks.Contains('?', StringComparison.Ordinal));
        return new SchemaField(word[..equals], int.Parse(word[(equals + 1)..colon]), shape, pointer, always, marks.Contains('+', StringComparison.Ordinal));
    }

    private static string? After(string marks, char mark)
    {
        var at = marks.IndexOf(mark, StringComparison.Ordinal);
        return at < 0 ? null : marks[(at + 1)..];
    }

    private static FieldShape ParseShape(string text, string package, Dictionary<string, SchemaType> types, string? ownership, string? merge)
    {
        if (text.StartsWith("[]", StringComparison.Ordinal))
        {
            var key = merge is null ? null : After(merge, '(')?.TrimEnd(')');
            return new FieldShape
            {
                Kind = ShapeKind.List,
                Element = ParseShape(text[2..], package, types, null, null),
                Ownership = ownership switch { null or "atomic" => ListOwnership.Atomic, "set" => ListOwnership.Set, _ => ListOwnership.Map },
                Keys = ownership is null or "atomic" or "set" ? [] : ownership.Split(','),
                MergesStrategically = merge is not null,
                MergeKey = key,
                RetainsKeys = merge?.Contains("retainKeys", StringComparison.Ordinal) == true,
            };
        }
        if (text.StartsWith("{}", StringComparison.Ordinal))
            return new FieldShape { Kind = ShapeKind.Map, Element = ParseShape(text[2..], package, types, null, null), IsAtomic = ownership == "atomic" };
        return text switch
        {
            "string" => FieldShape.Of(ShapeKind.Text),
            "int32" => FieldShape.Of(ShapeKind.Int32),
            "int64" => FieldShape.Of(ShapeKind.Int64),
            "double" => FieldShape.Of(ShapeKind.Double),
            "bool" => FieldShape.Of(ShapeKind.Boolean),
            "bytes" => FieldShape.Of(ShapeKind.Bytes),
            "time" => FieldShape.Of(ShapeKind.Time),
            "microtime" => FieldShape.Of(ShapeKind.MicroTime),
            "quantity" => FieldShape.Of(ShapeKind.Quantity),
            "intorstring" => FieldShape.Of(ShapeKind.IntOrString),
            "stringlist" => new FieldShape { Kind = ShapeKind.List, Element = FieldShape.Of(ShapeKind.Text) },
            _ => Struct(Qualify(text, package), types, ownership, merge),
        };
    }

    private static FieldShape Struct(string name, Dictionary<string, SchemaType> types, string? ownership, string? merge) =>
        types.TryGetValue(name, out var type)
            ? new FieldShape
            {
                Kind = ShapeKind.Struct,
                Type = type,
                IsAtomic = type.IsAtomic || ownership == "atomic",
                RetainsKeys = merge?.Contains("retainKeys", StringComparison.Ordinal) == true,
            }
            : FieldShape.Opaque;

    private static string Qualify(string type, string package) => type.Contains('.', StringComparison.Ordinal) ? type : $"{package}.{type}";
}
