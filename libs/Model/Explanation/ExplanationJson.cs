using System.Text.Json.Serialization;

namespace AmbientMesh.Model.Explanation;

/// <summary>Writes and reads explanations: camel case, closed sets by name, nulls left out.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, UseStringEnumConverter = true, WriteIndented = true,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, GenerationMode = JsonSourceGenerationMode.Metadata, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(OutboundExplanation))]
[JsonSerializable(typeof(InboundExplanation))]
public sealed partial class ExplanationJson : JsonSerializerContext;
