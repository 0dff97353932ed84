using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using Google.Protobuf;

namespace AmbientMesh.Rpc;

/// <summary>A client's way to one server: HTTP/2 over one connection that is made again when it is lost. Safe for concurrent use.</summary>
/// <remarks>Calls are not repeated; whoever needs that waits on a <see cref="JitteredBackoff"/> and calls again.</remarks>
public sealed class RpcChannel : IDisposable
{
    private readonly RpcChannelOptions _options;
    private readonly HttpMessageInvoker _http;

    /// <summary>Connects on the first call.</summary>
    /// <exception cref="ArgumentException">The options cannot be used; the message says why.</exception>
    public RpcChannel(RpcChannelOptions options)
    {
        var problems = string.Join("; ", options.Problems());
        if (problems.Length > 0) throw new ArgumentException(problems, nameof(options));
        _options = options;
        _http = new HttpMessageInvoker(Handler(options));
    }

    /// <summary>One request, one response.</summary>
    /// <param name="deadline">From now; null waits for as long as the caller does.</param>
    /// <exception cref="RpcException">Any status but OK, also for failures on this side.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled; the server is told.</exception>
    public async Task<TResponse> UnaryAsync<TRequest, TResponse>(
        RpcMethod<TRequest, TResponse> method, TRequest request, RpcMetadata? metadata = null, TimeSpan? deadline = null, CancellationToken cancellationToken = default)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
    {
        await using var call = await DuplexAsync(method, metadata, deadline, cancellationToken);
        await call.WriteLastAsync(request, cancellationToken);
        var response = await call.ReadAsync(cancellationToken) ?? throw new RpcException(StatusCode.Internal, "server ended the call without a response");
        if (await call.ReadAsync(cancellationToken) is not null) throw new RpcException(StatusCode.Internal, "server sent more than one response to a unary call");
        return response;
    }

    /// <summary>Opens a stream both ways; returns once the request is on its way, which need not mean that the server answered.</summary>
    /// <inheritdoc cref="UnaryAsync"/>
    public async Task<RpcDuplex<TRequest, TResponse>> DuplexAsync<TRequest, TResponse>(
        RpcMethod<TRequest, TResponse> method, RpcMetadata? metadata = null, TimeSpan? deadline = null, CancellationToken cancellationToken = default)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
    {
        var body = new RequestBody();
        var request = new HttpRequestMessage(HttpMethod.Post, new Uri(_options.Address, method.Path)) { Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionExact, Content = body };
        await AddHeadersAsync(request.Headers, metadata, deadline, cancellationToken);
        var call = new RpcDuplex<TRequest, TResponse>(method, _http, request, body, deadline, _options, cancellationToken);
        try
        {
            await call.StartedAsync();
            return call;
        }
        catch
        {
            await call.DisposeAsync();
            throw;
        }
    }

    public void Dispose() => _http.Dispose();

    private async ValueTask AddHeadersAsync(HttpRequestHeaders headers, RpcMetadata? metadata, TimeSpan? deadline, CancellationToken cancellationToken)
    {
        headers.TryAddWithoutValidation("te", "trailers");
        if (deadline is { } timeout) headers.TryAddWithoutValidation(GrpcTimeout.Header, GrpcTimeout.Format(timeout));
        if (_options.CallMetadata is { } provider)
            foreach (var (key, value) in await provider(cancellationToken)) headers.TryAddWithoutValidation(key, value);
        foreach (var (key, value) in metadata ?? []) headers.TryAddWithoutValidation(key, value);
    }

    private static SocketsHttpHandler Handler(RpcChannelOptions options) => new()
    {
        UseProxy = false,
        UseCookies = false,
        AllowAutoRedirect = false,
        ActivityHeadersPropagator = null,
        EnableMultipleHttp2Connections = false,
        PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
        ConnectTimeout = options.ConnectTimeout,
        KeepAlivePingDelay = options.KeepAliveInterval,
        KeepAlivePingTimeout = options.KeepAliveTimeout,
        KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
        InitialHttp2StreamWindowSize = options.StreamWindowBytes,
        SslOptions = ServerTrust.Options(options),
        ConnectCallback = (context, cancellationToken) => options.Dial is { } dial ? dial(context.DnsEndPoint, cancellationToken) : DialAsync(context.DnsEndPoint, cancellationToken),
    };

    private static async ValueTask<Stream> DialAsync(DnsEndPoint server, CancellationToken cancellationToken)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 300);   // seconds, reference 4.1
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 75);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 9);
            await socket.ConnectAsync(server, cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
