using AmbientMesh.Protocol.Discovery;

namespace AmbientMesh.Xds;

/// <summary>One resource that could not be used, and why; becomes part of the NACK.</summary>
public readonly record struct Rejection(string Name, string Reason);

/// <summary>Takes in the resources of one type.</summary>
public interface IResourceHandler
{
    string TypeUrl { get; }

    /// <summary>Applies updates, then removals, as one change. A bad resource is left out and returned; it never keeps the others from being applied.</summary>
    /// <remarks>Called by one thread at a time, in the order of the responses, before the response is acknowledged.</remarks>
    IReadOnlyList<Rejection> Apply(IReadOnlyList<Resource> updates, IReadOnlyList<string> removals);
}
