namespace AmbientMesh.Kubernetes;

/// <summary>What the API server holds a field of one of our own kinds to, beyond what its C# type says (apiextensions.k8s.io/v1, JSONSchemaProps). Negative numbers: no limit.</summary>
/// <remarks>Type, description and nesting follow from the property itself: <c>uint</c> is an integer from 0 to 4294967295, a list an array, a dictionary an object, the docstring the description.</remarks>
[AttributeUsage(AttributeTargets.Property | AttributeTargets.Class)]
public sealed class SchemaAttribute : Attribute
{
    public bool Required { get; init; }
    public int MinLength { get; init; } = -1;
    public int MaxLength { get; init; } = -1;
    public int MinItems { get; init; } = -1;
    public int MaxItems { get; init; } = -1;
    public int MinProperties { get; init; } = -1;
    public int MaxProperties { get; init; } = -1;
    public string? Pattern { get; init; }
    public string[] Enum { get; init; } = [];

    /// <summary>Of a list: its items are told apart by this field.</summary>
    public string? ListMapKey { get; init; }

    /// <summary>Fields that are not known are kept, to be refused by whoever reads the object.</summary>
    public bool KeepsUnknown { get; init; }

    /// <summary>A number, which may be written as text.</summary>
    public bool IntOrString { get; init; }

    /// <summary>Of the items of a list or the values of a dictionary.</summary>
    public int ItemMinLength { get; init; } = -1;
    /// <inheritdoc cref="ItemMinLength"/>
    public int ItemMaxLength { get; init; } = -1;
    /// <inheritdoc cref="ItemMinLength"/>
    public string? ItemPattern { get; init; }
}

/// <summary>A validation rule in CEL; <paramref name="message"/> names the field and the fix.</summary>
[AttributeUsage(AttributeTargets.Property | AttributeTargets.Class, AllowMultiple = true)]
public sealed class RuleAttribute(string rule, string message) : Attribute
{
    public string Rule { get; } = rule;
    public string Message { get; } = message;

    /// <summary>Stands on each item of a list or value of a dictionary instead of the whole.</summary>
    public bool OnItems { get; init; }
}

/// <summary>How a kind of our own is registered with the API server (CustomResourceDefinition).</summary>
[AttributeUsage(AttributeTargets.Class)]
public sealed class CustomKindAttribute(string singular, params string[] shortNames) : Attribute
{
    public string Singular { get; } = singular;
    public IReadOnlyList<string> ShortNames { get; } = shortNames;

    /// <summary>Versions served beside that of the kind's <c>Type</c>, with the same schema.</summary>
    public string[] OtherVersions { get; init; } = [];

    public bool IsSpecRequired { get; init; }
}

/// <summary>A column of <c>kubectl get</c>; the age comes by itself.</summary>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = true)]
public sealed class PrinterColumnAttribute(string name, string jsonPath, string description) : Attribute
{
    public string Name { get; } = name;
    public string JsonPath { get; } = jsonPath;
    public string Description { get; } = description;

    /// <summary>Shown after the age.</summary>
    public bool IsLast { get; init; }
}
