using AmbientMesh.Identity;
using AmbientMesh.Model;
using AmbientMesh.Protocol.Ca;
using AmbientMesh.Rpc;
using Google.Protobuf.WellKnownTypes;

namespace AmbientMesh.Ztunnel.Certificates;

/// <summary>Asks the mesh's CA for certificates (L4 reference §6.1, §6.2). The key never leaves the process.</summary>
/// <param name="impersonates">Whether they are for the pods of this node and not for the asker itself, as whom a proxy for one workload asks: the CA lets nobody but the node proxy
/// name another.</param>
public sealed class CaClient(RpcChannel channel, TimeSpan lifetime, bool impersonates)
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);

    /// <summary>One certificate for <paramref name="identity"/>, with a fresh key.</summary>
    /// <exception cref="SvidUnavailableException">Refused, unreachable, or the answer is not what was asked for.</exception>
    public async Task<Svid> FetchAsync(SpiffeId identity, CancellationToken cancellationToken)
    {
        using var key = CsrBuilder.NewKey();
        var request = new IstioCertificateRequest
        {
            Csr = CsrBuilder.Build(identity, key),
            ValidityDuration = (long)lifetime.TotalSeconds,
        };
        if (impersonates) request.Metadata = new Struct { Fields = { ["ImpersonatedIdentity"] = Value.ForString(identity.ToString()) } };
        try
        {
            var response = await channel.UnaryAsync(MeshMethods.CreateCertificate, request, deadline: Deadline, cancellationToken: cancellationToken);
            return Svid.FromCertificateChain(response.CertChain, key, identity);
        }
        catch (RpcException e)
        {
            throw new SvidUnavailableException($"signing gRPC error ({Describe(e.Code)}): {e.Detail}", e);
        }
        catch (FormatException e)
        {
            throw new SvidUnavailableException($"the CA's answer for {identity} is unusable: {e.Message}", e);
        }
    }

    private static string Describe(StatusCode code) => code switch
    {
        StatusCode.Cancelled => "The operation was cancelled",
        StatusCode.Unknown => "Unknown error",
        StatusCode.InvalidArgument => "Client specified an invalid argument",
        StatusCode.DeadlineExceeded => "Deadline expired before operation could complete",
        StatusCode.NotFound => "Some requested entity was not found",
        StatusCode.PermissionDenied => "The caller does not have permission to execute the specified operation",
        StatusCode.ResourceExhausted => "Some resource has been exhausted",
        StatusCode.Unimplemented => "Operation is not implemented or not supported",
        StatusCode.Internal => "Internal error",
        StatusCode.Unavailable => "The service is currently unavailable",
        StatusCode.Unauthenticated => "The request does not have valid authentication credentials",
        _ => code.ToString(),
    };
}
