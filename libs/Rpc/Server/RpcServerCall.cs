using System.Globalization;
using Google.Protobuf;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Rpc;

/// <summary>One call from its request headers to its trailers.</summary>
internal static partial class RpcServerCall
{
    private const string ContentType = "application/grpc";

    public static async Task RunAsync<TRequest, TResponse>(
        HttpContext http, RpcMethod<TRequest, TResponse> method, Func<RpcServerStream<TRequest, TResponse>, RpcServerContext, Task> handler, RpcServerOptions options)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
    {
        if (!await AcceptAsync(http)) return;
        LiftBodyLimits(http);
        using var deadline = Deadline(http, options.Clock, out var due, out var badTimeout);
        using var cancelled = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, deadline.Token);
        var context = new RpcServerContext(http, due, cancelled.Token);
        RpcException? failure = badTimeout;
        try
        {
            using var stream = new RpcServerStream<TRequest, TResponse>(http.Request.BodyReader, http.Response.BodyWriter, method.Requests, options.MaxReceiveBytes);
            if (failure is null) await handler(stream, context);
        }
        catch (Exception problem)
        {
            failure = StatusOf(problem, http, deadline.IsCancellationRequested, method.Path);
        }
        Finish(http, failure, context.Trailers);
    }

    public static Task RefuseUnknownAsync(HttpContext http)
    {
        if (!IsGrpc(http)) http.Response.StatusCode = StatusCodes.Status404NotFound;
        else
        {
            http.Response.ContentType = ContentType;
            Finish(http, new RpcException(StatusCode.Unimplemented, $"unknown method {http.Request.Path}"), []);
        }
        return Task.CompletedTask;
    }

    private static bool IsGrpc(HttpContext http) =>
        http.Request.ContentType is { } type && type.StartsWith(ContentType, StringComparison.Ordinal) && (type.Length == ContentType.Length || type[ContentType.Length] is '+' or ';');

    private static async Task<bool> AcceptAsync(HttpContext http)
    {
        var refusal = http switch
        {
            { Request.Method: not "POST" } => StatusCodes.Status405MethodNotAllowed,
            _ when !IsGrpc(http) => StatusCodes.Status415UnsupportedMediaType,
            _ when !HttpProtocol.IsHttp2(http.Request.Protocol) => StatusCodes.Status426UpgradeRequired,
            _ => 0,
        };
        if (refusal == 0)
        {
            http.Response.ContentType = ContentType;
            return true;
        }
        http.Response.StatusCode = refusal;
        await http.Response.CompleteAsync();
        return false;
    }

    /// <summary>A stream lives for hours and is silent for most of them; each message has its own limit.</summary>
    private static void LiftBodyLimits(HttpContext http)
    {
        if (http.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size) size.MaxRequestBodySize = null;
        if (http.Features.Get<IHttpMinRequestBodyDataRateFeature>() is { } rate) rate.MinDataRate = null;
    }

    private static CancellationTokenSource Deadline(HttpContext http, TimeProvider clock, out DateTimeOffset? due, out RpcException? bad)
    {
        due = null;
        bad = null;
        if (!http.Request.Headers.TryGetValue(GrpcTimeout.Header, out var text)) return new CancellationTokenSource();
        if (GrpcTimeout.Parse(text.ToString()) is not { } timeout)
        {
            bad = new RpcException(StatusCode.Internal, $"grpc-timeout '{text}' is malformed");
            return new CancellationTokenSource();
        }
        due = clock.GetUtcNow() + timeout;
        return new CancellationTokenSource(timeout, clock);
    }

    private static RpcException StatusOf(Exception problem, HttpContext http, bool deadlinePassed, string path)
    {
        switch (problem)
        {
            case RpcException known: return known;
            case OperationCanceledException when deadlinePassed: return new RpcException(StatusCode.DeadlineExceeded, "the deadline passed");
            case OperationCanceledException: return new RpcException(StatusCode.Cancelled, "the call was cancelled");
            case ConnectionResetException or ConnectionAbortedException or IOException when http.RequestAborted.IsCancellationRequested:
                return new RpcException(StatusCode.Cancelled, "the client has gone");
        }
        // The caller learns that something failed, not what: the text may name what is not the caller's business.
        if (http.RequestServices?.GetService<ILoggerFactory>() is { } logs) HandlerFailed(logs.CreateLogger("AmbientMesh.Rpc"), problem, path);
        return new RpcException(StatusCode.Unknown, "the call failed in the server");
    }

    /// <summary>Status as trailers, or as headers of a response that has no message (trailers-only).</summary>
    private static void Finish(HttpContext http, RpcException? failure, RpcMetadata trailers)
    {
        if (http.RequestAborted.IsCancellationRequested) return;
        var started = http.Response.HasStarted;
        void Put(string name, string value)
        {
            if (started) http.Response.AppendTrailer(name, value);
            else http.Response.Headers.Append(name, value);
        }
        Put(GrpcStatusText.StatusHeader, ((int)(failure?.Code ?? StatusCode.OK)).ToString(CultureInfo.InvariantCulture));
        if (failure is { Detail.Length: > 0 }) Put(GrpcStatusText.MessageHeader, GrpcStatusText.Encode(failure.Detail));
        if (failure is { Code: StatusCode.Unimplemented }) Put("grpc-accept-encoding", "identity");
        foreach (var (key, value) in trailers) Put(key, value);
    }

    [LoggerMessage(1001, LogLevel.Error, "{Path} failed")]
    private static partial void HandlerFailed(ILogger log, Exception problem, string path);
}
