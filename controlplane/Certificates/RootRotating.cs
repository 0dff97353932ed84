using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Identity;
using AmbientMesh.Kubernetes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>Exchanges a self-signed root before its life ends, in the steps of <see cref="RootStep"/>, by changing the CA's Secret: every replica takes over from there. For one
/// replica at a time.</summary>
/// <remarks>Unlike istiod, which gives the same key a new certificate, the next root has a key of its own. A replica that takes over in between goes on: the Secret says how far it is.</remarks>
/// <param name="clock">By which certificates are judged and made.</param>
public sealed class RootRotating(KubernetesClient client, SigningAuthorityOptions authority, RootRotationOptions options, CertificateMetrics metrics, TimeProvider clock, ILogger log)
{
    private readonly ResourceClient<Secret> _secrets = client.Of<Secret>();
    private readonly RootSchedule _schedule = new(authority.Policy.MaxLifetime, options.GracePercent);

    /// <summary>Looks until cancelled. A step that fails is tried again at the next look; the CA in force goes on meanwhile.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        if (options.HasJitter) await Task.Delay(options.CheckInterval * Random.Shared.NextDouble(), clock, cancellationToken);
        while (true) await Task.Delay(await LookAsync(cancellationToken), clock, cancellationToken);
    }

    /// <returns>When to look again: at the latest when the next step is due.</returns>
    private async Task<TimeSpan> LookAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                // A root that has no time left takes all its steps at once.
                var due = await StepAsync(cancellationToken) - clock.GetUtcNow();
                if (due > TimeSpan.Zero) return due < options.CheckInterval ? due : options.CheckInterval;
            }
        }
        catch (Exception e) when (e is KubernetesException or FormatException or CryptographicException)
        {
            metrics.RootRotationFailures.Add();
            log.LogError("the self-signed root could not be looked after, again in {Interval}; the CA in force stays: {Problem}", options.CheckInterval, e.Message);
            return options.CheckInterval;
        }
    }

    /// <summary>Takes the next step if it is due.</summary>
    /// <returns>When the next one is due; now or earlier when one was taken.</returns>
    private async Task<DateTimeOffset> StepAsync(CancellationToken cancellationToken)
    {
        var secret = await _secrets.GetAsync(authority.SystemNamespace, StoredAuthority.SecretName, cancellationToken)
            ?? throw new FormatException($"the Secret {authority.SystemNamespace}/{StoredAuthority.SecretName} is gone");
        var stored = StoredMaterial.Of(secret);
        var state = stored.State(clock, authority.Policy);
        var (step, at) = _schedule.Next(state);
        var now = clock.GetUtcNow();
        if (step == RootStep.None || now < at) return at;
        var after = After(step, stored, state, now);
        await _secrets.ReplaceAsync(after.In(secret), null, cancellationToken);
        metrics.RootStepped(step);
        Tell(step, state.Signing, after.State(clock, authority.Policy).Signing);
        return now;
    }

    private StoredMaterial After(RootStep step, StoredMaterial stored, RootState state, DateTimeOffset now)
    {
        var trusted = TrustBundle.Of(state.Trusted);
        switch (step)
        {
            case RootStep.Announce:
                var made = CertificateAuthority.CreateSelfSigned(authority.TrustDomain, clock, authority.Policy, authority.SelfSignedKeyBits, authority.SelfSignedLifetime);
                return stored with { Root = trusted.Union(made.Roots).Pem, NextCertificate = made.CertificatePem, NextKey = made.ExportPrivateKeyPem() };
            case RootStep.Switch:
                // Whoever edited the roots meanwhile: the next one must be among them.
                return new StoredMaterial(stored.NextCertificate, stored.NextKey, "", TrustBundle.Of([state.Next!]).Union(trusted).Pem) { Before = state.Signing.Thumbprint, SignsSince = now };
            default:
                var useless = _schedule.Useless(state, now).Select(root => root.Thumbprint).ToHashSet();
                var left = TrustBundle.Of(state.Trusted.Where(root => !useless.Contains(root.Thumbprint))).Pem;
                return useless.Contains(stored.Before ?? "") ? stored with { Root = left, Before = null, SignsSince = null } : stored with { Root = left };
        }
    }

    private void Tell(RootStep step, X509Certificate2 before, X509Certificate2 after)
    {
        switch (step)
        {
            case RootStep.Announce:
                log.LogWarning("the self-signed root {Serial} ends {NotAfter:u}: the next one was made, both are trusted, and the old one signs on", before.SerialNumber, before.NotAfter.ToUniversalTime());
                break;
            case RootStep.Switch:
                log.LogInformation("the self-signed root {Serial} signs from now on, until {NotAfter:u}; {Old} stays trusted", after.SerialNumber, after.NotAfter.ToUniversalTime(), before.SerialNumber);
                break;
            default:
                log.LogInformation("roots that sign no more are no longer trusted; the self-signed root {Serial} signs, until {NotAfter:u}", after.SerialNumber, after.NotAfter.ToUniversalTime());
                break;
        }
    }
}
