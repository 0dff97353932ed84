using Google.Protobuf;
using Google.Protobuf.Reflection;

namespace AmbientMesh.Ztunnel.State;

/// <summary>Whether every known field of a message has the wire type it must have.</summary>
/// <remarks>
/// The protobuf runtime reads a field of a wrong wire type as an unknown one, so that its value would be the default: a workload whose tunnel protocol
/// is garbled would be one that speaks plain TCP. Such a resource is refused instead.
/// </remarks>
internal static class WireShape
{
    private const int MaxDepth = 32;

    /// <summary>Null when the shape is right, else the first field that is wrong.</summary>
    /// <exception cref="InvalidProtocolBufferException">The bytes are no message at all.</exception>
    public static string? Problem(MessageDescriptor message, ByteString bytes, int depth = 0)
    {
        if (depth > MaxDepth) return $"{message.Name}: nested too deeply";
        var input = bytes.CreateCodedInput();
        uint tag;
        while ((tag = input.ReadTag()) != 0)
        {
            var actual = WireFormat.GetTagWireType(tag);
            var field = message.FindFieldByNumber(WireFormat.GetTagFieldNumber(tag));
            if (field is not null && !Fits(field, actual)) return $"{message.Name}.{field.Name}: invalid wire type: {actual} (expected {Expected(field)})";
            if (field is { FieldType: FieldType.Message })
            {
                if (Problem(field.MessageType, input.ReadBytes(), depth + 1) is { } inner) return inner;
            }
            else input.SkipLastField();
        }
        return null;
    }

    private static bool Fits(FieldDescriptor field, WireFormat.WireType actual) =>
        actual == Expected(field) || (field.IsRepeated && actual == WireFormat.WireType.LengthDelimited && Expected(field) is not WireFormat.WireType.LengthDelimited);

    private static WireFormat.WireType Expected(FieldDescriptor field) => field.FieldType switch
    {
        FieldType.String or FieldType.Bytes or FieldType.Message => WireFormat.WireType.LengthDelimited,
        FieldType.Fixed32 or FieldType.SFixed32 or FieldType.Float => WireFormat.WireType.Fixed32,
        FieldType.Fixed64 or FieldType.SFixed64 or FieldType.Double => WireFormat.WireType.Fixed64,
        FieldType.Group => WireFormat.WireType.StartGroup,
        _ => WireFormat.WireType.Varint,
    };
}
