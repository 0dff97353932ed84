using AmbientMesh.ControlPlane.Kubernetes;
using AmbientMesh.Model;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>Whether a caller may have a certificate for another identity: only a trusted node proxy, and only for what runs on its own node (reference 6.4).</summary>
/// <remarks>Stricter than istiod in one point: the trust domain of the requested identity must be ours.</remarks>
internal static class NodeRule
{
    /// <summary>Judges one request.</summary>
    /// <param name="trusted"><c>namespace/account</c> of the node proxies; empty: nobody may.</param>
    /// <returns>Why not, or null when it may.</returns>
    public static string? Problem(Caller caller, SpiffeId requested, IReadOnlyCollection<string> trusted, IPodsOnNodes pods)
    {
        var (own, ns, account) = (caller.Identity, caller.Identity.Namespace, caller.Identity.ServiceAccount);
        if (trusted.Count == 0) return "no node account is trusted (CA_TRUSTED_NODE_ACCOUNTS is empty)";
        if (!trusted.Contains($"{ns}/{account}")) return $"{ns}/{account} is not a trusted node account";
        if (requested.TrustDomain != own.TrustDomain) return $"the trust domain {requested.TrustDomain} is not {own.TrustDomain}";
        if (caller.PodName is not { } podName || caller.PodUid is not { } podUid) return "the caller is not bound to a pod: it proved itself by a client certificate, or by a token of no pod";
        if (pods.Find(ns, podName) is not { } pod) return $"the caller's pod {ns}/{podName} is not known";
        if (pod.Metadata.Uid != podUid) return $"the caller's pod {ns}/{podName} has the uid {pod.Metadata.Uid}, its token was made for {podUid}";
        if (pod.Spec.ServiceAccountName != account) return $"the caller's pod {ns}/{podName} runs as {pod.Spec.ServiceAccountName}, not {account}";
        if (pod.Spec.NodeName is not { Length: > 0 } node) return $"the caller's pod {ns}/{podName} is on no node";
        return pods.Runs(requested.Namespace, requested.ServiceAccount, node) ? null : $"node {node} runs no pod with the account {requested.Namespace}/{requested.ServiceAccount}";
    }
}
