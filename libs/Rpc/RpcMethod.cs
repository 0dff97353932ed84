using AmbientMesh.Protocol.Ca;
using AmbientMesh.Protocol.Discovery;
using Google.Protobuf;

namespace AmbientMesh.Rpc;

/// <summary>One method of a gRPC service: its path and the parsers of both directions.</summary>
/// <param name="Path"><c>/package.Service/Method</c></param>
public sealed record RpcMethod<TRequest, TResponse>(string Path, MessageParser<TRequest> Requests, MessageParser<TResponse> Responses)
    where TRequest : class, IMessage<TRequest>
    where TResponse : class, IMessage<TResponse>;

/// <summary>The methods the mesh speaks.</summary>
public static class MeshMethods
{
    /// <summary>Unary (reference 6.1).</summary>
    public static RpcMethod<IstioCertificateRequest, IstioCertificateResponse> CreateCertificate { get; } =
        new("/istio.v1.auth.IstioCertificateService/CreateCertificate", IstioCertificateRequest.Parser, IstioCertificateResponse.Parser);

    /// <summary>Bidirectional stream (reference 4.1).</summary>
    public static RpcMethod<DeltaDiscoveryRequest, DeltaDiscoveryResponse> DeltaAggregatedResources { get; } =
        new("/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources", DeltaDiscoveryRequest.Parser, DeltaDiscoveryResponse.Parser);
}
