using System.Net;
using System.Net.Http.Headers;

namespace AmbientMesh.Rpc;

/// <summary>Turns what HTTP reports into a gRPC status. Sources: gRPC over HTTP/2, "Errors"; gRPC "HTTP to gRPC Status Code Mapping".</summary>
internal static class CallFailure
{
    private const long Http2RefusedStream = 0x7, Http2Cancel = 0x8, Http2EnhanceYourCalm = 0xb, Http2InadequateSecurity = 0xc, Http2NoError = 0x0;

    /// <summary>Of an exception on the way out or in; an <see cref="RpcException"/> anywhere inside wins.</summary>
    public static RpcException From(Exception problem)
    {
        for (Exception? inner = problem; inner is not null; inner = inner.InnerException)
            switch (inner)
            {
                case RpcException known: return known;
                case HttpProtocolException protocol: return OfProtocol(protocol);
                case HttpRequestException { HttpRequestError: HttpRequestError.ConnectionError or HttpRequestError.NameResolutionError or HttpRequestError.SecureConnectionError } unreachable when InnerRpc(unreachable) is null:
                    return new RpcException(StatusCode.Unavailable, $"cannot connect: {Innermost(unreachable)}", problem) { IsConnectionFailure = true };
            }
        return new RpcException(StatusCode.Unavailable, $"transport is closing: {Innermost(problem)}", problem);
    }

    /// <summary>Of an HTTP status other than 200, which no gRPC server sends: a proxy or another kind of server answered.</summary>
    public static RpcException OfHttpStatus(HttpStatusCode status) =>
        new(status switch
        {
            HttpStatusCode.BadRequest => StatusCode.Internal,
            HttpStatusCode.Unauthorized => StatusCode.Unauthenticated,
            HttpStatusCode.Forbidden => StatusCode.PermissionDenied,
            HttpStatusCode.NotFound => StatusCode.Unimplemented,
            HttpStatusCode.TooManyRequests or HttpStatusCode.BadGateway or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout => StatusCode.Unavailable,
            _ => StatusCode.Unknown,
        }, $"server answered with HTTP status {(int)status}");

    /// <summary>The status in trailers, or in the headers of a response without messages; null for OK.</summary>
    public static RpcException? OfTrailers(HttpHeaders? trailers, HttpHeaders headers)
    {
        var source = trailers is not null && trailers.NonValidated.Contains(GrpcStatusText.StatusHeader) ? trailers : headers;
        if (Value(source, GrpcStatusText.StatusHeader) is not { } text) return new RpcException(StatusCode.Unknown, "server ended the call without a status");
        var code = GrpcStatusText.ParseCode(text);
        if (code == StatusCode.OK) return null;
        return new RpcException(code, GrpcStatusText.Decode(Value(source, GrpcStatusText.MessageHeader) ?? "")) { Trailers = Metadata(source) };
    }

    public static RpcMetadata Metadata(HttpHeaders headers)
    {
        RpcMetadata metadata = [];
        foreach (var (key, values) in headers.NonValidated)
            foreach (var value in values) metadata.AddReceived(key.ToLowerInvariant(), value);
        return metadata;
    }

    private static string? Value(HttpHeaders headers, string name) => headers.NonValidated.TryGetValues(name, out var values) ? values.First() : null;

    /// <summary>Of a stream the server reset, by its error code; of a connection that failed as a whole, UNAVAILABLE whatever the code.</summary>
    private static RpcException OfProtocol(HttpProtocolException problem)
    {
        if (problem.ErrorCode == Http2NoError) return new RpcException(StatusCode.Unavailable, $"received prior goaway: {problem.Message}", problem);
        // The type is the same for both, and so is everything else but the text (or its key, where texts are left out of the build).
        if (!problem.Message.Contains("reset the stream", StringComparison.Ordinal) && !problem.Message.Contains("stream_error", StringComparison.Ordinal))
            return new RpcException(StatusCode.Unavailable, $"transport is closing: {problem.Message}", problem);
        return new RpcException(problem.ErrorCode switch
        {
            Http2RefusedStream => StatusCode.Unavailable,
            Http2Cancel => StatusCode.Cancelled,
            Http2EnhanceYourCalm => StatusCode.ResourceExhausted,
            Http2InadequateSecurity => StatusCode.PermissionDenied,
            _ => StatusCode.Internal,
        }, problem.Message, problem);
    }

    private static RpcException? InnerRpc(Exception? problem)
    {
        while (problem is not null and not RpcException) problem = problem.InnerException;
        return problem as RpcException;
    }

    private static string Innermost(Exception problem)
    {
        while (problem.InnerException is { } inner) problem = inner;
        return problem.Message;
    }
}
