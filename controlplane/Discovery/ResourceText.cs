using System.Collections;
using System.Net;
using System.Text;
using System.Text.Json;
using Google.Protobuf;
using Google.Protobuf.Reflection;

namespace AmbientMesh.ControlPlane.Discovery;

/// <summary>Mesh resources as JSON for people: field names as in the contract, addresses as addresses, unset fields left out.</summary>
internal static class ResourceText
{
    /// <summary>Writes <paramref name="message"/> as one JSON object, fields in the order of their numbers.</summary>
    public static void Write(Utf8JsonWriter json, IMessage message)
    {
        json.WriteStartObject();
        foreach (var field in message.Descriptor.Fields.InFieldNumberOrder())
        {
            var value = field.Accessor.GetValue(message);
            if (IsUnset(field, message, value)) continue;
            json.WritePropertyName(field.Name);
            if (field.IsMap) WriteMap(json, field, (IDictionary)value);
            else if (field.IsRepeated) WriteList(json, field, (IList)value);
            else WriteValue(json, field, value);
        }
        json.WriteEndObject();
    }

    public static string Of(IMessage message)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true })) Write(json, message);
        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    private static bool IsUnset(FieldDescriptor field, IMessage message, object? value) => value switch
    {
        null => true,
        ICollection collection => collection.Count == 0,
        _ when field.HasPresence => !field.Accessor.HasValue(message),
        string text => text.Length == 0,
        ByteString bytes => bytes.IsEmpty,
        bool flag => !flag,
        uint number => number == 0,
        Enum number => Convert.ToInt32(number) == 0,
        _ => false,
    };

    private static void WriteMap(Utf8JsonWriter json, FieldDescriptor field, IDictionary map)
    {
        var valueField = field.MessageType.FindFieldByNumber(2);
        json.WriteStartObject();
        foreach (var key in map.Keys.Cast<string>().Order(StringComparer.Ordinal))
        {
            json.WritePropertyName(key);
            WriteValue(json, valueField, map[key]!);
        }
        json.WriteEndObject();
    }

    private static void WriteList(Utf8JsonWriter json, FieldDescriptor field, IList list)
    {
        json.WriteStartArray();
        foreach (var item in list) WriteValue(json, field, item!);
        json.WriteEndArray();
    }

    private static void WriteValue(Utf8JsonWriter json, FieldDescriptor field, object value)
    {
        switch (value)
        {
            case IMessage message: Write(json, message); break;
            case ByteString bytes: json.WriteStringValue(bytes.Length is 4 or 16 ? new IPAddress(bytes.Span).ToString() : Convert.ToHexStringLower(bytes.Span)); break;
            case Enum number: WriteEnum(json, field.EnumType, Convert.ToInt32(number)); break;
            case bool flag: json.WriteBooleanValue(flag); break;
            case uint number: json.WriteNumberValue(number); break;
            case int number: json.WriteNumberValue(number); break;
            default: json.WriteStringValue(value.ToString()); break;
        }
    }

    private static void WriteEnum(Utf8JsonWriter json, EnumDescriptor type, int number)
    {
        if (type.FindValueByNumber(number) is { } known) json.WriteStringValue(known.Name);
        else json.WriteNumberValue(number);
    }
}
