using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Semantics;

/// <summary>What one kind adds to the general life of an object. The base does what most kinds do.</summary>
public class KindRule
{
    /// <summary>Metadata.generation counts changes outside metadata and status.</summary>
    public virtual bool HasGeneration => false;
    /// <summary>A PUT without resourceVersion overwrites.</summary>
    public virtual bool AllowsUnconditionalUpdate => true;

    /// <summary>Fills in what the client left out; runs on every write.</summary>
    public virtual void Default(JsonObject o) { }

    /// <summary>Completes a new object (allocation, first status). The general rule has dropped status where it is a subresource.</summary>
    public virtual void OnCreate(JsonObject o, ClusterStore store) { }

    /// <summary>Completes a changed object from its old state.</summary>
    public virtual void OnUpdate(JsonObject o, JsonObject old, ClusterStore store) { }

    /// <summary>True when the kind keeps a status that came with the create.</summary>
    public virtual bool KeepsStatusOnCreate => false;

    /// <summary>Everything wrong with the object; <paramref name="old"/> is null on create.</summary>
    public virtual IEnumerable<FieldError> Validate(JsonObject o, JsonObject? old) => [];

    /// <summary>Everything wrong with the object next to others in the store.</summary>
    public virtual IEnumerable<FieldError> ValidateAmong(JsonObject o, ClusterStore store) => [];

    /// <summary>Everything wrong with a status write.</summary>
    public virtual IEnumerable<FieldError> ValidateStatus(JsonObject o, JsonObject old) => [];

    /// <summary>Why the kind cannot be called <paramref name="name"/>; null when it can.</summary>
    public virtual string? NameProblem(string name) => Names.SubdomainProblem(name);

    /// <summary>Seconds before the object may go; null when it goes at once.</summary>
    public virtual long? GracePeriod(JsonObject o, DeleteOptions options) => null;

    /// <summary>Marks the object as going while something holds it.</summary>
    public virtual void OnTerminating(JsonObject o) { }

    /// <summary>Finalizers a delete puts on the object.</summary>
    public virtual IEnumerable<string> FinalizersOnDelete => [];

    /// <summary>Something besides metadata.finalizers holds the object.</summary>
    public virtual bool IsHeld(JsonObject o) => false;
}
