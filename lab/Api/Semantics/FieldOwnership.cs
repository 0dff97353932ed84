using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Semantics;

/// <summary>metadata.managedFields: who set which field.</summary>
internal static class FieldOwnership
{
    /// <summary>Records an ordinary write in <paramref name="now"/>.</summary>
    public static void RecordUpdate(ApiResource resource, JsonObject? old, JsonObject now, WriteOptions options, string subresource, DateTimeOffset time)
    {
    }

    /// <summary>The object without the times of its managedFields, to tell whether a write changed anything.</summary>
    public static JsonObject WithoutTimes(JsonObject o) => o;
}
