using AmbientMesh.Kubernetes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>Tells every namespace whom to trust: the ConfigMap <c>istio-ca-root-cert</c> with the mesh's roots, and <c>istio-ca-crl</c> with what is revoked, where
/// the CA has revocation lists (reference 6.6). For one replica at a time.</summary>
/// <param name="withRevocations">PILOT_ENABLE_CA_CRL.</param>
public sealed class RootDistribution(KubernetesClient client, Informer<Namespace> namespaces, SigningAuthority authority, ILogger log, bool withRevocations = true)
{
    public const string ConfigMapName = "istio-ca-root-cert";
    public const string Key = "root-cert.pem";
    public const string RevocationsConfigMapName = "istio-ca-crl";
    public const string RevocationsKey = "ca-crl.pem";

    /// <summary>Distributes until cancelled; ends with the cancellation. One namespace that cannot be written is tried again and disturbs no other.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        List<DistributedText> texts = [new(ConfigMapName, Key, () => authority.Current.Roots.Pem, () => authority.Changed)];
        if (withRevocations && authority.IsPluggedIn) texts.Add(new(RevocationsConfigMapName, RevocationsKey, () => authority.Revoked, () => authority.Changed));
        Task[] running = [.. texts.Select(text => new ConfigMapDistribution(client, namespaces, text, log).RunAsync(stop.Token))];
        try
        {
            await await Task.WhenAny(running);
        }
        finally
        {
            await stop.CancelAsync();
            await Task.WhenAll(running).ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        }
    }
}
