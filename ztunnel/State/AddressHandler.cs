using AmbientMesh.Model;
using AmbientMesh.Model.Decoding;
using AmbientMesh.Protocol.Discovery;
using AmbientMesh.Protocol.Wds;
using AmbientMesh.Xds;

namespace AmbientMesh.Ztunnel.State;

/// <summary>Takes workloads and services from the control plane into the mesh snapshot; one response is one snapshot.</summary>
public sealed class AddressHandler(MeshStore store) : IResourceHandler
{
    public string TypeUrl => TypeUrls.Address;

    public IReadOnlyList<Rejection> Apply(IReadOnlyList<Resource> updates, IReadOnlyList<string> removals)
    {
        var rejections = new List<Rejection>();
        store.Edit(edit =>
        {
            foreach (var resource in updates)
                if (Set(edit, resource) is { } reason) rejections.Add(new Rejection(resource.Name, reason));
            foreach (var name in removals) edit.RemoveAddress(name);
        });
        return rejections;
    }

    /// <summary>Null when it was taken, else why not.</summary>
    private static string? Set(MeshEdit edit, Resource resource)
    {
        if (!WireResource.TryParse(resource, Address.Parser, out var address, out var reason)) return reason;
        switch (address.TypeCase)
        {
            case Address.TypeOneofCase.Workload:
                if (AddressDecoding.TryDecode(address.Workload, out Model.Workload? workload, out reason)) edit.Set(workload);
                return reason;
            case Address.TypeOneofCase.Service:
                if (AddressDecoding.TryDecode(address.Service, out MeshService? service, out reason)) edit.Set(service);
                return reason;
            default:
                return "decode error: address has neither a workload nor a service";
        }
    }
}
