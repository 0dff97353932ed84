using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Schema;
using Google.Protobuf;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>
/// Kubernetes' protobuf envelope: magic <c>k8s\0</c>, then <c>runtime.Unknown { 1: TypeMeta { 1: apiVersion, 2: kind }, 2: raw }</c>;
/// the raw message is read by the numbers in the schema tables.
/// </summary>
internal static class ProtobufObjects
{
    private static ReadOnlySpan<byte> Magic => "k8s\0"u8;

    /// <summary>The object as JSON; 400 when the bytes are not one of a known kind.</summary>
    public static JsonObject Decode(ReadOnlySpan<byte> body)
    {
        if (!body.StartsWith(Magic)) throw ApiErrors.BadRequest("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
        try
        {
            return DecodeEnvelope(body[Magic.Length..].ToArray());
        }
        catch (InvalidProtocolBufferException e)
        {
            throw ApiErrors.BadRequest($"unable to decode the protobuf body: {e.Message}");
        }
    }

    private static JsonObject DecodeEnvelope(byte[] envelope)
    {
        var apiVersion = "";
        var kind = "";
        var raw = ByteString.Empty;
        var input = new CodedInputStream(envelope);
        for (uint tag; (tag = input.ReadTag()) != 0;)
        {
            switch (WireFormat.GetTagFieldNumber(tag))
            {
                case 1:
                    var meta = new CodedInputStream(input.ReadBytes().ToByteArray());
                    for (uint inner; (inner = meta.ReadTag()) != 0;)
                    {
                        if (WireFormat.GetTagFieldNumber(inner) == 1) apiVersion = meta.ReadString();
                        else kind = meta.ReadString();
                    }
                    break;
                case 2:
                    raw = input.ReadBytes();
                    break;
                default:
                    input.SkipLastField();
                    break;
            }
        }
        var type = TypeOf(apiVersion, kind) ?? throw ApiErrors.BadRequest($"no kind \"{kind}\" is registered for version \"{apiVersion}\"");
        var result = new JsonObject { ["kind"] = kind, ["apiVersion"] = apiVersion };
        Message(result, type, raw);
        return result;
    }

    private static SchemaType? TypeOf(string apiVersion, string kind)
    {
        var slash = apiVersion.IndexOf('/', StringComparison.Ordinal);
        var package = slash < 0 ? $"core.{apiVersion}" : $"{apiVersion[..slash].Split('.')[0]}.{apiVersion[(slash + 1)..]}";
        return SchemaTable.Find($"{package}.{kind}") ?? (kind is "DeleteOptions" ? SchemaTable.Find($"meta.v1.{kind}") : null);
    }

    private static void Message(JsonObject into, SchemaType type, ByteString bytes)
    {
        var input = new CodedInputStream(bytes.ToByteArray());
        for (uint tag; (tag = input.ReadTag()) != 0;)
        {
            var number = WireFormat.GetTagFieldNumber(tag);
            if (type.Find(number) is { } field) Field(into, field, input, tag);
            else if (type.Inlined.TryGetValue(number, out var inlined)) Message(into, inlined, input.ReadBytes());
            else input.SkipLastField();
        }
    }

    private static void Field(JsonObject into, SchemaField field, CodedInputStream input, uint tag)
    {
        var shape = field.Shape;
        switch (shape.Kind)
        {
            case ShapeKind.List:
                var list = into[field.Name] as JsonArray;
                if (list is null) into[field.Name] = list = [];
                list.Add(Value(shape.Element!, input, tag));
                break;
            case ShapeKind.Map:
                MapEntry(into.Ensure(field.Name), shape.Element!, input.ReadBytes());
                break;
            default:
                var value = Value(shape, input, tag);
                // Fields that are no pointers are always sent; their zero means absence.
                if (value is null || (!field.IsPointer && value.Text() is "" || value.Number() is 0 && !field.IsPointer || value.Flag() is false && !field.IsPointer)) return;
                into[field.Name] = value;
                break;
        }
    }

    private static void MapEntry(JsonObject into, FieldShape element, ByteString entry)
    {
        var input = new CodedInputStream(entry.ToByteArray());
        var key = "";
        JsonNode? value = null;
        for (uint tag; (tag = input.ReadTag()) != 0;)
        {
            if (WireFormat.GetTagFieldNumber(tag) == 1) key = input.ReadString();
            else value = Value(element, input, tag);
        }
        into[key] = value ?? (element.Kind is ShapeKind.Text or ShapeKind.Bytes ? JsonValue.Create("") : null);
    }

    private static JsonNode? Value(FieldShape shape, CodedInputStream input, uint tag)
    {
        switch (shape.Kind)
        {
            case ShapeKind.Text:
                return JsonValue.Create(input.ReadString());
            case ShapeKind.Bytes:
                return JsonValue.Create(Convert.ToBase64String(input.ReadBytes().Span));
            case ShapeKind.Boolean:
                return JsonValue.Create(input.ReadBool());
            case ShapeKind.Int32 or ShapeKind.Int64:
                return JsonTree.Number(input.ReadInt64());
            case ShapeKind.Double:
                return JsonNode.Parse(input.ReadDouble().ToString("R"));
            case ShapeKind.Struct:
                var o = new JsonObject();
                Message(o, shape.Type!, input.ReadBytes());
                return o;
            case ShapeKind.Quantity:
                return Only(input.ReadBytes(), 1) is { } text ? JsonValue.Create(text.ToStringUtf8()) : JsonValue.Create("0");
            case ShapeKind.Time or ShapeKind.MicroTime:
                return Time(input.ReadBytes(), shape.Kind);
            case ShapeKind.IntOrString:
                return IntOrString(input.ReadBytes());
            case ShapeKind.List:   // a list wrapped in a message of its own (ExtraValue)
                var list = new JsonArray();
                var inner = new CodedInputStream(input.ReadBytes().ToByteArray());
                while (inner.ReadTag() != 0) list.Add(JsonValue.Create(inner.ReadString()));
                return list;
            case ShapeKind.Opaque when WireFormat.GetTagWireType(tag) == WireFormat.WireType.LengthDelimited:
                return Only(input.ReadBytes(), 1) is { Length: > 0 } raw ? JsonNode.Parse(raw.Span) : null;
            default:
                input.SkipLastField();
                return null;
        }
    }

    private static ByteString? Only(ByteString message, int number)
    {
        var input = new CodedInputStream(message.ToByteArray());
        for (uint tag; (tag = input.ReadTag()) != 0;)
        {
            if (WireFormat.GetTagFieldNumber(tag) == number) return input.ReadBytes();
            input.SkipLastField();
        }
        return null;
    }

    private static JsonValue? Time(ByteString message, ShapeKind kind)
    {
        long seconds = 0, nanos = 0;
        var input = new CodedInputStream(message.ToByteArray());
        for (uint tag; (tag = input.ReadTag()) != 0;)
        {
            if (WireFormat.GetTagFieldNumber(tag) == 1) seconds = input.ReadInt64();
            else nanos = input.ReadInt32();
        }
        if (seconds == 0 && nanos == 0 || seconds < 0) return null;
        var time = DateTimeOffset.FromUnixTimeSeconds(seconds).AddTicks(nanos / 100);
        return JsonValue.Create(kind == ShapeKind.Time ? KubernetesTime.Seconds(time) : KubernetesTime.Micro(time));
    }

    private static JsonNode IntOrString(ByteString message)
    {
        long type = 0, number = 0;
        var text = "";
        var input = new CodedInputStream(message.ToByteArray());
        for (uint tag; (tag = input.ReadTag()) != 0;)
        {
            switch (WireFormat.GetTagFieldNumber(tag))
            {
                case 1: type = input.ReadInt64(); break;
                case 2: number = input.ReadInt64(); break;
                default: text = input.ReadString(); break;
            }
        }
        return type == 1 ? JsonValue.Create(text)! : JsonTree.Number(number);
    }
}
