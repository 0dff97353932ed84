using AmbientMesh.Identity;
using AmbientMesh.Kubernetes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>The self-signed CA in the Secret <c>istio-ca-secret</c>: made once, by whichever replica is first, and kept over restarts (reference 6.6).</summary>
internal static class StoredAuthority
{
    public const string SecretName = "istio-ca-secret";
    private const string SecretType = "istio.io/ca-root";
    private static readonly TimeSpan RetryPeriod = TimeSpan.FromSeconds(2);

    /// <summary>Loads the CA, or makes and stores it when there is none.</summary>
    /// <exception cref="FormatException">The Secret holds no usable CA. It is left alone: a new root would break trust in everything issued.</exception>
    /// <exception cref="KubernetesRefusedException">The Secret may not be read or written.</exception>
    public static async Task<(StoredMaterial Material, CertificateAuthority Authority)> LoadOrCreateAsync(SigningAuthorityOptions options, KubernetesClient client, TimeProvider clock, ILogger log, CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                return await TryLoadAsync(options, client, clock, log, cancellationToken) ?? await TryCreateAsync(options, client, clock, log, cancellationToken);
            }
            catch (KubernetesException e) when (e.AlreadyExists)
            {
                log.LogInformation("another replica made the CA first");
            }
            catch (KubernetesUnavailableException e)
            {
                log.LogWarning("the CA's Secret {Namespace}/{Secret} cannot be reached, trying again: {Problem}", options.SystemNamespace, SecretName, e.Message);
                await Task.Delay(e.RetryAfter ?? RetryPeriod, client.Clock, cancellationToken);
            }
        }
    }

    /// <summary>Watches that Secret alone.</summary>
    public static Informer<Secret> Watch(SigningAuthorityOptions options, KubernetesClient client, ILogger log) =>
        new(client.Of<Secret>(), new InformerOptions { Selection = new Selection { Namespace = options.SystemNamespace, FieldSelector = $"metadata.name={SecretName}" }, Log = log });

    private static async Task<(StoredMaterial, CertificateAuthority)?> TryLoadAsync(SigningAuthorityOptions options, KubernetesClient client, TimeProvider clock, ILogger log, CancellationToken cancellationToken)
    {
        if (await client.Of<Secret>().GetAsync(options.SystemNamespace, SecretName, cancellationToken) is not { } secret) return null;
        try
        {
            var material = StoredMaterial.Of(secret);
            var ca = material.Load(clock, options.Policy);
            log.LogInformation("the CA is the self-signed one of Secret {Secret}, until {NotAfter:u}", secret.Key, ca.Certificate.NotAfter.ToUniversalTime());
            return (material, ca);
        }
        catch (FormatException e)
        {
            throw new FormatException($"the Secret {secret.Key} holds no usable CA and is not replaced: {e.Message}; correct it, or delete it to begin with a new root", e);
        }
    }

    private static async Task<(StoredMaterial, CertificateAuthority)> TryCreateAsync(SigningAuthorityOptions options, KubernetesClient client, TimeProvider clock, ILogger log, CancellationToken cancellationToken)
    {
        var ca = CertificateAuthority.CreateSelfSigned(options.TrustDomain, clock, options.Policy, options.SelfSignedKeyBits, options.SelfSignedLifetime);
        var material = StoredMaterial.Of(ca);
        var secret = material.In(new Secret { Metadata = new ObjectMeta { Namespace = options.SystemNamespace, Name = SecretName }, Type = SecretType });
        await client.Of<Secret>().CreateAsync(secret, null, cancellationToken);
        log.LogInformation("made a self-signed CA for {TrustDomain} and stored it in Secret {Secret}", options.TrustDomain, secret.Key);
        return (material, ca);
    }
}
