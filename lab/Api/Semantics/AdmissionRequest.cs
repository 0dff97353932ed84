using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Semantics;

/// <summary>A write on its way to storage. Admission may change <see cref="Object"/> or throw.</summary>
/// <param name="Old">Null on create.</param>
/// <param name="Subresource">Empty for the object itself.</param>
public sealed record AdmissionRequest(ClusterStore Store, ApiResource Resource, JsonObject Object, JsonObject? Old, string Subresource, WriteOptions Options)
{
    public bool IsCreate => Old is null;
    public bool Is(string group, string plural) => Resource.Plural == plural && Resource.Group == group;
}
