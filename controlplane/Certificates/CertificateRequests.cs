using AmbientMesh.ControlPlane.Kubernetes;
using AmbientMesh.Identity;
using AmbientMesh.Model;
using AmbientMesh.Protocol.Ca;
using AmbientMesh.Rpc;
using Google.Protobuf.WellKnownTypes;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>The CA's service, <c>istio.v1.auth.IstioCertificateService/CreateCertificate</c> (reference 6).</summary>
/// <remarks>A refused caller learns only that it is refused; the reason is logged. Thread-safe.</remarks>
public sealed class CertificateRequests(
    CallerAuthentication callers, SigningAuthority authority, IPodsOnNodes pods, IReadOnlyList<string> trustedNodeAccounts, CertificateMetrics metrics, TimeProvider clock, ILogger log,
    ClientCertificates? clients = null)
{
    private const string ImpersonatedIdentity = "ImpersonatedIdentity";

    private readonly HashSet<string> _trusted = [.. trustedNodeAccounts];
    private readonly CallerLimits _limits = new(clock);

    /// <summary>Serves the method.</summary>
    public void Map(IEndpointRouteBuilder endpoints) =>
        endpoints.MapRpcUnary(MeshMethods.CreateCertificate, (request, context) => CreateAsync(request, context.Metadata, context.PeerAddress?.ToString() ?? "", context.CancellationToken, clients?.Of(context)));

    /// <summary>Answers one request.</summary>
    /// <param name="peer">Where it came from, for the log.</param>
    /// <param name="certificate">What the caller's client certificate proves; null when it showed none.</param>
    /// <exception cref="RpcException">UNAUTHENTICATED, RESOURCE_EXHAUSTED, INVALID_ARGUMENT or INTERNAL.</exception>
    public async Task<IstioCertificateResponse> CreateAsync(IstioCertificateRequest request, RpcMetadata metadata, string peer, CancellationToken cancellationToken, Authentication? certificate = null)
    {
        metrics.Requests.Add();
        var caller = await callers.AuthenticateAsync(metadata, certificate, cancellationToken) switch
        {
            Authentication.Proven proven => proven.Caller,
            Authentication.Refused refused => throw NotAuthenticated(peer, refused.Reason),
            _ => throw new System.Diagnostics.UnreachableException(),
        };
        if (!_limits.TryTake($"{caller.Identity} {caller.PodUid}"))
            throw Refused(StatusCode.ResourceExhausted, "too many certificate requests", peer, caller, "it asks for more certificates than a node needs");
        var id = IdentityFor(request, caller, peer);
        return Sign(request, id, caller, peer);
    }

    private SpiffeId IdentityFor(IstioCertificateRequest request, Caller caller, string peer)
    {
        if (request.Metadata?.Fields.TryGetValue(ImpersonatedIdentity, out var asked) != true) return caller.Identity;
        if (asked!.KindCase == Value.KindOneofCase.StringValue && asked.StringValue.Length == 0) return caller.Identity;
        var text = asked.KindCase == Value.KindOneofCase.StringValue ? asked.StringValue : "";
        var problem = SpiffeId.TryParse(text, out var requested, out var malformed)
            ? NodeRule.Problem(caller, requested, _trusted, pods)
            : $"the requested identity cannot be read: {malformed}";
        if (problem is null) return requested;
        metrics.AuthenticationFailures.Add();
        throw Refused(StatusCode.Unauthenticated, "request impersonation authentication failure", peer, caller, $"it may not have a certificate for {Shown(text)}: {problem}");
    }

    private IstioCertificateResponse Sign(IstioCertificateRequest request, SpiffeId id, Caller caller, string peer)
    {
        switch (authority.Current.Issue(request.Csr, id, Lifetime(request.ValidityDuration)))
        {
            case IssuanceOutcome.Issued issued:
                metrics.Issued.Add();
                log.LogInformation("issued a certificate for {Identity} to {Caller} at {Peer} until {NotAfter:u}, serial {Serial}",
                    id, Named(caller), peer, issued.Leaf.NotAfter.ToUniversalTime(), issued.Leaf.SerialNumber);
                return new IstioCertificateResponse { CertChain = { issued.CertificateChain } };
            case IssuanceOutcome.Refused refused:
                throw SigningError(refused.Error, refused.Reason, peer, caller, id);
            default:
                throw new System.Diagnostics.UnreachableException();
        }
    }

    private RpcException NotAuthenticated(string peer, string reason)
    {
        metrics.AuthenticationFailures.Add();
        log.LogWarning("refused a certificate request from {Peer}: {Reason}", peer, reason);
        return new RpcException(StatusCode.Unauthenticated, "request authenticate failure");
    }

    private RpcException SigningError(IssuanceError error, string reason, string peer, Caller caller, SpiffeId id)
    {
        var (code, status) = error switch
        {
            IssuanceError.SigningRequest => ("CSR_ERROR", StatusCode.InvalidArgument),
            IssuanceError.Lifetime => ("TTL_ERROR", StatusCode.InvalidArgument),
            IssuanceError.NotReady => ("CA_NOT_READY", StatusCode.Internal),
            _ => ("CERT_GEN_ERROR", StatusCode.Internal),
        };
        if (error == IssuanceError.SigningRequest) metrics.CsrErrors.Add();
        metrics.SigningFailed(code);
        // What the caller sent wrongly it may know; what failed here stays in the log.
        var told = status == StatusCode.InvalidArgument ? $"CSR signing error ({code}: {reason})" : $"CSR signing error ({code})";
        return Refused(status, told, peer, caller, $"no certificate for {id}: {code}: {reason}");
    }

    private RpcException Refused(StatusCode status, string told, string peer, Caller caller, string reason)
    {
        log.LogWarning("refused {Caller} at {Peer}: {Reason}", Named(caller), peer, reason);
        return new RpcException(status, told);
    }

    private static string Named(Caller caller) => caller.PodName is { } pod ? $"{caller.Identity} (pod {pod})" : caller.Identity.ToString();

    // What a caller sends goes into the log shortened and without control characters.
    private static string Shown(string text) => new([.. text.Take(300).Select(c => char.IsControl(c) ? '?' : c)]);

    private static TimeSpan Lifetime(long seconds) => seconds <= 0 ? TimeSpan.Zero : TimeSpan.FromSeconds(Math.Min(seconds, 100L * 365 * 24 * 3600));
}
