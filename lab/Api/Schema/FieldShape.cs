namespace AmbientMesh.Lab.Api.Schema;

/// <summary>What a JSON value may hold.</summary>
public enum ShapeKind
{
    /// <summary>Text.</summary>
    Text,
    /// <summary>A 32-bit integer.</summary>
    Int32,
    /// <summary>A 64-bit integer.</summary>
    Int64,
    /// <summary>A floating point number.</summary>
    Double,
    /// <summary>True or false.</summary>
    Boolean,
    /// <summary>Base64 text.</summary>
    Bytes,
    /// <summary>RFC 3339 time in whole seconds.</summary>
    Time,
    /// <summary>RFC 3339 time with six decimals.</summary>
    MicroTime,
    /// <summary>A resource quantity such as <c>100m</c>.</summary>
    Quantity,
    /// <summary>A number or text.</summary>
    IntOrString,
    /// <summary>Any JSON, owned as one piece.</summary>
    Opaque,
    /// <summary>Any JSON whose fields are owned one by one (the schema does not name them).</summary>
    Untyped,
    /// <summary>An object with named fields.</summary>
    Struct,
    /// <summary>A list.</summary>
    List,
    /// <summary>An object whose keys are data.</summary>
    Map,
}

/// <summary>How a list is merged and owned.</summary>
public enum ListOwnership
{
    /// <summary>Replaced and owned as one piece.</summary>
    Atomic,
    /// <summary>Scalars, each owned for itself.</summary>
    Set,
    /// <summary>Objects told apart by key fields.</summary>
    Map,
}

/// <summary>The shape of one value: built-in kinds come from the tables in this folder, custom resources from their definition.</summary>
public sealed class FieldShape
{
    public required ShapeKind Kind { get; init; }
    /// <summary>Shape of list items or map values.</summary>
    public FieldShape? Element { get; init; }
    /// <summary>Fields of a struct.</summary>
    public SchemaType? Type { get; init; }
    /// <summary>Owned as one piece although it is a struct or map.</summary>
    public bool IsAtomic { get; init; }
    public ListOwnership Ownership { get; init; } = ListOwnership.Atomic;
    /// <summary>Key fields of a <see cref="ListOwnership.Map"/> list.</summary>
    public IReadOnlyList<string> Keys { get; init; } = [];
    /// <summary>Strategic merge: the list is merged by <see cref="MergeKey"/> (scalars when that is null).</summary>
    public bool MergesStrategically { get; init; }
    public string? MergeKey { get; init; }
    /// <summary>Strategic merge: the patch names the keys that stay (<c>$retainKeys</c>).</summary>
    public bool RetainsKeys { get; init; }

    public static FieldShape Of(ShapeKind kind) => new() { Kind = kind };
    public static FieldShape Untyped { get; } = Of(ShapeKind.Untyped);
    public static FieldShape Opaque { get; } = Of(ShapeKind.Opaque);

    public bool IsContainer => Kind is ShapeKind.Struct or ShapeKind.List or ShapeKind.Map;
}

/// <summary>One field of a struct.</summary>
/// <param name="Name">JSON name.</param>
/// <param name="Number">Protobuf number; 0 when the kind has no protobuf form.</param>
/// <param name="IsPointer">A zero value differs from absence.</param>
/// <param name="IsAlwaysWritten">Written even when zero.</param>
/// <param name="IsRequired">A client must set it.</param>
public sealed record SchemaField(string Name, int Number, FieldShape Shape, bool IsPointer, bool IsAlwaysWritten, bool IsRequired);

/// <summary>A struct: its fields in wire order.</summary>
public sealed class SchemaType(string name)
{
    private readonly Dictionary<string, SchemaField> _byName = new(StringComparer.Ordinal);
    private readonly Dictionary<int, SchemaField> _byNumber = [];

    /// <summary>Group, version and type, e.g. <c>core.v1.Pod</c>.</summary>
    public string Name { get; } = name;
    public List<SchemaField> Fields { get; } = [];
    /// <summary>Structs whose fields appear directly in this one, with their protobuf number.</summary>
    public Dictionary<int, SchemaType> Inlined { get; } = [];
    /// <summary>Fields the type does not name are kept (custom resources that preserve unknown fields).</summary>
    public FieldShape? OtherFields { get; set; }
    public bool IsAtomic { get; set; }

    public void Add(SchemaField field, bool direct = true)
    {
        if (_byName.TryAdd(field.Name, field)) Fields.Add(field);
        if (direct && field.Number > 0) _byNumber[field.Number] = field;
    }

    public SchemaField? Find(string name) => _byName.GetValueOrDefault(name);
    public SchemaField? Find(int number) => _byNumber.GetValueOrDefault(number);

    /// <summary>Shape of the field's value, or of unnamed fields; null when the type has no such field.</summary>
    public FieldShape? ShapeOf(string name) => Find(name)?.Shape ?? OtherFields;
}
