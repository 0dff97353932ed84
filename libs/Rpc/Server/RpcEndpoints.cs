using Google.Protobuf;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace AmbientMesh.Rpc;

/// <summary>Puts gRPC methods on ASP.NET endpoint routing.</summary>
public static class RpcEndpoints
{
    /// <summary>One request, one response; an <see cref="RpcException"/> of the handler is the status the caller gets.</summary>
    public static IEndpointConventionBuilder MapRpcUnary<TRequest, TResponse>(
        this IEndpointRouteBuilder endpoints, RpcMethod<TRequest, TResponse> method, Func<TRequest, RpcServerContext, Task<TResponse>> handler, RpcServerOptions? options = null)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse> =>
        endpoints.MapRpcDuplex(method, async (stream, context) =>
        {
            var request = await ReadOnlyMessageAsync(stream, context, options ?? new RpcServerOptions());
            await stream.WriteAsync(await handler(request, context), context.CancellationToken);
        }, options);

    /// <summary>Streams both ways; the call ends with OK when the handler returns.</summary>
    public static IEndpointConventionBuilder MapRpcDuplex<TRequest, TResponse>(
        this IEndpointRouteBuilder endpoints, RpcMethod<TRequest, TResponse> method, Func<RpcServerStream<TRequest, TResponse>, RpcServerContext, Task> handler, RpcServerOptions? options = null)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
    {
        options ??= new RpcServerOptions();
        RequestDelegate serve = http => RpcServerCall.RunAsync(http, method, handler, options);
        return endpoints.Map(method.Path, serve);
    }

    private static async Task<TRequest> ReadOnlyMessageAsync<TRequest, TResponse>(RpcServerStream<TRequest, TResponse> stream, RpcServerContext context, RpcServerOptions options)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
    {
        using var slow = new CancellationTokenSource(options.UnaryRequestTimeout, options.Clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(slow.Token, context.CancellationToken);
        try
        {
            var request = await stream.ReadAsync(either.Token) ?? throw new RpcException(StatusCode.Internal, "request has no message");
            if (await stream.ReadAsync(either.Token) is not null) throw new RpcException(StatusCode.Internal, "request has more than one message");
            return request;
        }
        catch (OperationCanceledException) when (slow.IsCancellationRequested)
        {
            throw new RpcException(StatusCode.DeadlineExceeded, $"the request did not come within {options.UnaryRequestTimeout.TotalSeconds:0} s");
        }
    }

    /// <summary>Answers gRPC calls of methods nobody mapped with UNIMPLEMENTED; other requests get 404.</summary>
    public static IEndpointConventionBuilder MapRpcUnknown(this IEndpointRouteBuilder endpoints)
    {
        RequestDelegate refuse = RpcServerCall.RefuseUnknownAsync;
        return endpoints.MapFallback("{**path}", refuse);
    }
}
