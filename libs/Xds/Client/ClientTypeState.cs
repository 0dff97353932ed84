using AmbientMesh.Protocol.Core;
using AmbientMesh.Protocol.Discovery;
using AmbientMesh.Protocol.Rpc;

namespace AmbientMesh.Xds;

/// <summary>What the client holds and asks for of one type, kept while disconnected (reference 4.5). No I/O; the owner serialises.</summary>
internal sealed class ClientTypeState(IResourceHandler handler, bool onDemand)
{
    private readonly Dictionary<string, string> _versions = new(StringComparer.Ordinal);
    private readonly Dictionary<string, TaskCompletionSource<bool>> _pending = new(StringComparer.Ordinal);

    public string TypeUrl => handler.TypeUrl;
    public bool OnDemand => onDemand;
    public int Held => _versions.Count;

    /// <summary>The first request of this type on a stream: who we are, what we hold, what we wait for.</summary>
    public DeltaDiscoveryRequest First(Node node)
    {
        var request = new DeltaDiscoveryRequest { Node = node, TypeUrl = TypeUrl };
        if (onDemand)
        {
            // Both at once turn the wildcard off: an empty list alone would mean everything.
            request.ResourceNamesSubscribe.Add(TypeUrls.WildcardName);
            request.ResourceNamesUnsubscribe.Add(TypeUrls.WildcardName);
        }
        foreach (var (name, version) in _versions) request.InitialResourceVersions[name] = version;
        foreach (var name in _pending.Keys) request.InitialResourceVersions[name] = "";
        return request;
    }

    /// <summary>Applies a response and answers it.</summary>
    public DeltaDiscoveryRequest Apply(DeltaDiscoveryResponse response, out IReadOnlyList<Rejection> rejections)
    {
        rejections = handler.Apply(response.Resources, response.RemovedResources);
        var rejected = rejections.Select(r => r.Name).ToHashSet(StringComparer.Ordinal);
        foreach (var resource in response.Resources)
        {
            // A refused update leaves the version before it: that one is still in force, and its removal must be told to us.
            if (!rejected.Contains(resource.Name)) _versions[resource.Name] = resource.Version;
            Settle(resource.Name, found: true);
            foreach (var alias in resource.Aliases) Settle(alias, found: true);
        }
        foreach (var name in response.RemovedResources)
        {
            _versions.Remove(name);
            Settle(name, found: false);
        }
        return Answer(response, rejections);
    }

    /// <summary>Waits for <paramref name="name"/>; the request to send is null when it has been asked for already.</summary>
    public (Task<bool> Found, DeltaDiscoveryRequest? Request) Demand(string name)
    {
        if (_pending.TryGetValue(name, out var waiting)) return (waiting.Task, null);
        _pending[name] = waiting = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
        return (waiting.Task, new DeltaDiscoveryRequest { TypeUrl = TypeUrl, ResourceNamesSubscribe = { name } });
    }

    /// <summary>The answer to a response of a type nobody handles: acknowledged and ignored.</summary>
    public static DeltaDiscoveryRequest Acknowledge(DeltaDiscoveryResponse response) => Answer(response, []);

    private void Settle(string name, bool found)
    {
        if (_pending.Remove(name, out var waiting)) waiting.TrySetResult(found);
    }

    private static DeltaDiscoveryRequest Answer(DeltaDiscoveryResponse response, IReadOnlyList<Rejection> rejections)
    {
        var answer = new DeltaDiscoveryRequest { TypeUrl = response.TypeUrl, ResponseNonce = response.Nonce };
        if (rejections.Count > 0) answer.ErrorDetail = new Status { Message = string.Join("; ", rejections.Select(r => $"{r.Name}: {r.Reason}")) };
        return answer;
    }
}
