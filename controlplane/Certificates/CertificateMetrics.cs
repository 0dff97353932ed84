using AmbientMesh.Identity;
using AmbientMesh.Telemetry;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>The CA's metrics, by istiod's names (reference 11.5).</summary>
public sealed class CertificateMetrics
{
    private readonly CounterFamily _signErrors;
    private readonly CounterFamily _rootSteps;

    public CertificateMetrics(MetricRegistry registry, Func<CertificateAuthority?> authority, TimeProvider clock)
    {
        Requests = registry.Counter("citadel_server_csr_count", "The number of CSRs received by Citadel server.");
        AuthenticationFailures = registry.Counter("citadel_server_authentication_failure_count", "The number of authentication failures.");
        CsrErrors = registry.Counter("citadel_server_csr_parsing_err_count", "The number of errors occurred when parsing the CSR.");
        IdentityErrors = registry.Counter("citadel_server_id_extraction_err_count", "The number of errors occurred when extracting the ID from CSR.");
        _signErrors = registry.Counter("citadel_server_csr_sign_err_count", "The number of errors occurred when signing the CSR.", "error");
        Issued = registry.Counter("citadel_server_success_cert_issuance_count", "The number of certificates issuances that have succeeded.");

        _rootSteps = registry.Counter("ambientmesh_ca_root_rotation_steps_total", "Steps taken by this replica in the exchange of a self-signed root: announce, switch or retire.", "step");
        RootRotationFailures = registry.Counter("ambientmesh_ca_root_rotation_failures_total", "Looks after the self-signed root that failed; tried again at the next.");
        registry.GaugeFrom("ambientmesh_ca_trusted_roots", "Roots that are trusted; more than one while roots are exchanged.", () => authority()?.Roots.Roots.Count ?? 0);

        double RootEnd() => authority()?.Roots.Roots.Min(root => End(root)) ?? 0;
        double ChainEnd() => authority() is { } ca ? End(ca.Certificate) : 0;
        double Left(double end) => end == 0 ? -1 : end - clock.GetUtcNow().ToUnixTimeSeconds();
        registry.GaugeFrom("citadel_server_root_cert_expiry_timestamp", "The unix timestamp, in seconds, when the root cert will expire.", RootEnd);
        registry.GaugeFrom("citadel_server_root_cert_expiry_seconds", "The time remaining, in seconds, before the root cert will expire. Negative means it has expired or cannot be read.", () => Left(RootEnd()));
        registry.GaugeFrom("citadel_server_cert_chain_expiry_timestamp", "The unix timestamp, in seconds, when the cert chain will expire.", ChainEnd);
        registry.GaugeFrom("citadel_server_cert_chain_expiry_seconds", "The time remaining, in seconds, before the cert chain will expire. Negative means it has expired or cannot be read.", () => Left(ChainEnd()));
    }

    public Counter Requests { get; }
    public Counter AuthenticationFailures { get; }
    public Counter CsrErrors { get; }
    public Counter IdentityErrors { get; }
    public Counter Issued { get; }
    public Counter RootRotationFailures { get; }

    /// <summary>Counts a step in the exchange of a self-signed root.</summary>
    public void RootStepped(RootStep step) => _rootSteps.With(step.ToString().ToLowerInvariant()).Add();

    /// <summary>Counts a failure by its code.</summary>
    /// <param name="error">CSR_ERROR, TTL_ERROR, CA_NOT_READY or CERT_GEN_ERROR.</param>
    public void SigningFailed(string error) => _signErrors.With(error).Add();

    private static double End(System.Security.Cryptography.X509Certificates.X509Certificate2 certificate) =>
        new DateTimeOffset(certificate.NotAfter.ToUniversalTime()).ToUnixTimeSeconds();
}
