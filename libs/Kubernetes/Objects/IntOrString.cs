using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace AmbientMesh.Kubernetes;

/// <summary>A number or a name (util/intstr). Exactly one is meant: <see cref="Text"/> is null for a number.</summary>
[JsonConverter(typeof(IntOrStringConverter))]
public readonly record struct IntOrString(int Number, string? Text)
{
    public static implicit operator IntOrString(int number) => new(number, null);
    public static implicit operator IntOrString(string text) => new(0, text);

    public override string ToString() => Text ?? Number.ToString(CultureInfo.InvariantCulture);
}

internal sealed class IntOrStringConverter : JsonConverter<IntOrString>
{
    public override IntOrString Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.Number ? reader.GetInt32() : reader.GetString()!;

    public override void Write(Utf8JsonWriter writer, IntOrString value, JsonSerializerOptions options)
    {
        if (value.Text is { } text) writer.WriteStringValue(text);
        else writer.WriteNumberValue(value.Number);
    }
}
