using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Kubernetes;

/// <summary>What the CA asks about pods before it issues for others.</summary>
public interface IPodsOnNodes
{
    /// <summary>The pod of that name, or null.</summary>
    Pod? Find(string ns, string name);

    /// <summary>At least one pod with that account is bound to that node and did not fail.</summary>
    bool Runs(string ns, string serviceAccount, string node);
}

/// <summary>Answers from the watched pods.</summary>
public sealed class PodsOnNodes : IPodsOnNodes
{
    private readonly Informer<Pod> _pods;
    private readonly InformerIndex<(string Namespace, string Account, string Node), Pod> _byAccountAndNode;

    public PodsOnNodes(Informer<Pod> pods)
    {
        _pods = pods;
        _byAccountAndNode = pods.AddIndex(KeysOf);
    }

    public Pod? Find(string ns, string name) => _pods.Get(ns, name);

    public bool Runs(string ns, string serviceAccount, string node) => _byAccountAndNode[(ns, serviceAccount, node)].Count > 0;

    // Reference 6.4: phase other than Failed.
    private static IEnumerable<(string, string, string)> KeysOf(Pod pod) =>
        pod.Spec is { NodeName: { Length: > 0 } node, ServiceAccountName: { Length: > 0 } account } && pod.Status.Phase != "Failed"
            ? [(pod.Namespace, account, node)]
            : [];
}
