namespace AmbientMesh.Hbone.Hpack;

/// <summary>One header: a lower-case name (pseudo headers begin with a colon) and a value, both as Latin-1 text.</summary>
public readonly record struct HeaderField(string Name, string Value)
{
    /// <summary>Size as HTTP/2 counts it: name, value and 32 bytes (RFC 7541 §4.1).</summary>
    public int Size => Name.Length + Value.Length + 32;
}
