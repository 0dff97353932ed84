using AmbientMesh.Model;
using AmbientMesh.Protocol.Core;
using Google.Protobuf.WellKnownTypes;

namespace AmbientMesh.ControlPlane.Discovery;

/// <summary>Whether a discovery client may have what it asks for. Exactly one case holds.</summary>
public abstract record Admission
{
    private Admission()
    {
    }

    /// <param name="Client">Who it is.</param>
    public sealed record Admitted(DiscoveryClient Client) : Admission;

    /// <summary>The node it says it is makes no sense (INVALID_ARGUMENT).</summary>
    public sealed record Malformed(string Reason) : Admission;

    /// <summary>It is not who it says it is, or such nodes are not served (PERMISSION_DENIED).</summary>
    public sealed record Refused(string Reason) : Admission;
}

/// <summary>A discovery client as its node message describes it.</summary>
/// <param name="NodeId">The whole id.</param>
/// <param name="Name">Of its pod.</param>
/// <param name="Namespace">Of its pod.</param>
/// <param name="NodeName">The Kubernetes node it runs on; empty when it did not say.</param>
/// <param name="ClusterId">The cluster it says it is in; empty when it did not say.</param>
public sealed record DiscoveryClient(string NodeId, string Name, string Namespace, string NodeName, string ClusterId);

/// <summary>The identity check of discovery (reference 4.1, 4.3; L4-138). Pure.</summary>
public static class ClientAdmission
{
    /// <param name="node">The node of the stream's first request; null when it has none.</param>
    /// <param name="identities">Who the caller proved to be; null when the listener knows no identities, then none is compared.</param>
    /// <param name="servesAmbient">Whether ztunnels are served at all.</param>
    public static Admission Decide(Node? node, IReadOnlyList<SpiffeId>? identities, bool servesAmbient)
    {
        if (node is null || node.Id.Length == 0) return new Admission.Malformed("missing node information");
        if (node.Id.Split('~') is not [var type, _, var name, _]) return new Admission.Malformed($"missing parts in the service node '{node.Id}'");
        if (type != "ztunnel") return new Admission.Refused($"node type '{type}' is not served; this control plane serves ztunnel");
        if (!servesAmbient) return new Admission.Refused("node type 'ztunnel' is not served: PILOT_ENABLE_AMBIENT is false");

        var dot = name.LastIndexOf('.');   // pod names may have dots, namespaces cannot
        var idNamespace = dot < 0 ? "" : name[(dot + 1)..];
        var ns = Metadata(node, "NAMESPACE") is { Length: > 0 } given ? given : idNamespace;
        if (ns.Length == 0) return new Admission.Malformed($"the node '{node.Id}' names no namespace");
        if (idNamespace.Length > 0 && idNamespace != ns) return new Admission.Malformed($"the node '{node.Id}' says its namespace is '{ns}'");
        var account = Metadata(node, "SERVICE_ACCOUNT");
        if (identities is not null && !identities.Any(i => i.Namespace == ns && (account.Length == 0 || i.ServiceAccount == account)))
            return new Admission.Refused($"authorization failed: no identities ([{string.Join(' ', identities)}]) matched {ns}/{account}");
        return new Admission.Admitted(new DiscoveryClient(node.Id, dot < 0 ? name : name[..dot], ns, Metadata(node, "NODE_NAME"), Metadata(node, "CLUSTER_ID")));
    }

    private static string Metadata(Node node, string key) =>
        node.Metadata?.Fields.TryGetValue(key, out var value) == true && value.KindCase == Value.KindOneofCase.StringValue ? value.StringValue : "";
}
