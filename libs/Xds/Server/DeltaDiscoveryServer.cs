using System.Collections.Concurrent;
using System.Net;
using System.Threading.Channels;
using AmbientMesh.Protocol.Core;
using AmbientMesh.Protocol.Discovery;
using AmbientMesh.Rpc;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;

namespace AmbientMesh.Xds;

/// <summary>How the discovery server treats its clients.</summary>
public sealed record DeltaDiscoveryOptions
{
    /// <summary>Throws <see cref="RpcException"/> to refuse a client; called once per stream with the node it says it is. Null admits everyone.</summary>
    public Func<RpcServerContext, Node, Task>? Authorize { get; init; }

    /// <summary>A stream is ended after this long, so that clients spread over servers; null never.</summary>
    public TimeSpan? MaxStreamAge { get; init; }

    /// <summary>Who opens a stream must say who it is by then (T-09).</summary>
    public TimeSpan FirstRequestTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// How long a stream's other types wait for the client to subscribe to the first source (Authorization), so that policies arrive before the workloads that
    /// name them also where the client asks for workloads first, as ztunnel does. Zero: not at all.
    /// </summary>
    public TimeSpan FirstSourceWait { get; init; }

    public DeltaRequestLimits Limits { get; init; } = new();
    public RpcServerOptions Rpc { get; init; } = new();
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}

/// <summary>A connected client, for status pages.</summary>
public sealed record DiscoveryClientStatus(string NodeId, IPEndPoint? Peer, DateTimeOffset Since, IReadOnlyList<ClientTypeStatus> Types);

/// <summary>What happens on the server; override what is wanted. Called on the streams' threads: be quick and do not throw.</summary>
public class DiscoveryObserver
{
    public virtual void ClientConnected(Node node) { }
    public virtual void ClientDisconnected(Node node) { }
    public virtual void Sent(Node node, DeltaDiscoveryResponse response) { }

    /// <summary>A response was made and written, in this time each.</summary>
    public virtual void Timed(string typeUrl, TimeSpan made, TimeSpan written) { }

    /// <summary>A response could not be written; the stream ends.</summary>
    public virtual void SendFailed(Node node, string typeUrl) { }
    public virtual void Acknowledged(Node node, string typeUrl) { }
    public virtual void Rejected(Node node, ResourceRejection rejection) { }
}

/// <summary>The delta part of ADS: <c>DeltaAggregatedResources</c> over sources of resources (reference 4.5).</summary>
/// <param name="sources">In the order in which changes go out: Authorization before Address, since workloads name policies.</param>
public sealed class DeltaDiscoveryServer(IReadOnlyList<IResourceSource> sources, DeltaDiscoveryOptions? options = null, DiscoveryObserver? observer = null) : IDisposable
{
    private readonly DeltaDiscoveryOptions _options = options ?? new();
    private readonly DiscoveryObserver _observer = observer ?? new();
    private readonly ConcurrentDictionary<Connected, byte> _clients = new();
    private readonly CancellationTokenSource _closing = new();

    /// <summary>Everyone connected now.</summary>
    public IReadOnlyList<DiscoveryClientStatus> Clients => [.. _clients.Keys.Select(client => client.Status())];

    /// <summary>Puts the service on an application's endpoints.</summary>
    public IEndpointConventionBuilder Map(IEndpointRouteBuilder endpoints) => endpoints.MapRpcDuplex(MeshMethods.DeltaAggregatedResources, ServeAsync, _options.Rpc);

    /// <summary>Ends every stream in the way after which clients come back at once; used before the process stops.</summary>
    public void Close() => _closing.Cancel();

    public void Dispose() => _closing.Dispose();

    private async Task ServeAsync(RpcServerStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse> stream, RpcServerContext context)
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken, _closing.Token);
        using var aged = _options.MaxStreamAge is { } age ? new CancellationTokenSource(age, _options.Clock) : new CancellationTokenSource();
        await using var ending = aged.Token.UnsafeRegister(static source => ((CancellationTokenSource)source!).Cancel(), over);
        try
        {
            if (await FirstRequestAsync(stream, over.Token) is not { } first) return;
            var node = first.Node is { Id.Length: > 0 } named ? named : throw new RpcException(StatusCode.InvalidArgument, "the first request names no node");
            if (_options.Authorize is { } authorize) await authorize(context, node);
            await RunAsync(stream, context, node, first, over);
        }
        catch (OperationCanceledException) when (!context.CancellationToken.IsCancellationRequested)
        {
            throw new RpcException(StatusCode.Unavailable, "transport is closing");   // ztunnel reconnects after 10 ms on this text
        }
    }

    private async Task<DeltaDiscoveryRequest?> FirstRequestAsync(RpcServerStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse> stream, CancellationToken cancellationToken)
    {
        using var slow = new CancellationTokenSource(_options.FirstRequestTimeout, _options.Clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(slow.Token, cancellationToken);
        try
        {
            return await stream.ReadAsync(either.Token);
        }
        catch (OperationCanceledException) when (slow.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw new RpcException(StatusCode.DeadlineExceeded, $"no request came within {_options.FirstRequestTimeout.TotalSeconds:0} s");
        }
    }

    private async Task RunAsync(RpcServerStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse> stream, RpcServerContext context, Node node, DeltaDiscoveryRequest first, CancellationTokenSource over)
    {
        var client = new Connected(new DeltaSession(sources, node, _options.Limits), node, context.PeerAddress, _options.Clock.GetUtcNow());
        _clients[client] = 0;
        _observer.ClientConnected(node);
        var changes = sources.Select(source => source.OnChanged(client.Wake)).ToArray();
        try
        {
            Receive(client, first);
            var sending = SendAsync(stream, client, over.Token);
            var receiving = ReceiveAsync(stream, client, over.Token);
            var ended = await Task.WhenAny(sending, receiving);
            await over.CancelAsync();
            try
            {
                await (ended == sending ? receiving : sending);
            }
            catch (Exception problem) when (problem is OperationCanceledException or RpcException or IOException)
            {
                // The half that ended first says why.
            }
            await ended;
        }
        finally
        {
            foreach (var change in changes) change.Dispose();
            _clients.TryRemove(client, out _);
            _observer.ClientDisconnected(node);
        }
    }

    private async Task ReceiveAsync(RpcServerStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse> stream, Connected client, CancellationToken cancellationToken)
    {
        while (await stream.ReadAsync(cancellationToken) is { } request) Receive(client, request);
    }

    private void Receive(Connected client, DeltaDiscoveryRequest request)
    {
        switch (client.Receive(request))
        {
            case RequestOutcome.Acknowledged acknowledged: _observer.Acknowledged(client.Node, acknowledged.TypeUrl); break;
            case RequestOutcome.Rejected rejected:
                foreach (var rejection in rejected.Rejections) _observer.Rejected(client.Node, rejection);
                break;
        }
        client.Wake();
    }

    private async Task SendAsync(RpcServerStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse> stream, Connected client, CancellationToken cancellationToken)
    {
        using var waiting = new CancellationTokenSource(_options.FirstSourceWait > TimeSpan.Zero ? _options.FirstSourceWait : Timeout.InfiniteTimeSpan, _options.Clock);
        await using var over = waiting.Token.UnsafeRegister(static woken => ((Connected)woken!).Wake(), client);
        while (true)
        {
            await client.WokenAsync(cancellationToken);
            var began = _options.Clock.GetTimestamp();
            foreach (var response in client.Due(waitsForFirst: _options.FirstSourceWait > TimeSpan.Zero && !waiting.IsCancellationRequested))
            {
                var made = _options.Clock.GetTimestamp();
                await WriteAsync(stream, client, response, cancellationToken);
                var written = _options.Clock.GetTimestamp();
                client.Sent(response.TypeUrl, _options.Clock.GetUtcNow());
                _observer.Sent(client.Node, response);
                _observer.Timed(response.TypeUrl, _options.Clock.GetElapsedTime(began, made), _options.Clock.GetElapsedTime(made, written));
                began = _options.Clock.GetTimestamp();
            }
        }
    }

    private async Task WriteAsync(RpcServerStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse> stream, Connected client, DeltaDiscoveryResponse response, CancellationToken cancellationToken)
    {
        try
        {
            await stream.WriteAsync(response, cancellationToken);
        }
        catch (Exception e) when (e is RpcException or IOException)
        {
            _observer.SendFailed(client.Node, response.TypeUrl);
            throw;
        }
    }

    /// <summary>One stream: its session behind a lock, and the signal that something may be due. Signals coalesce.</summary>
    private sealed class Connected(DeltaSession session, Node node, IPEndPoint? peer, DateTimeOffset since)
    {
        private readonly Lock _gate = new();
        private readonly Channel<byte> _wake = Channel.CreateBounded<byte>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

        private readonly Dictionary<string, DateTimeOffset> _lastSent = [];

        public Node Node => node;

        public void Sent(string typeUrl, DateTimeOffset at)
        {
            lock (_gate) _lastSent[typeUrl] = at;
        }

        public void Wake() => _wake.Writer.TryWrite(0);

        public async ValueTask WokenAsync(CancellationToken cancellationToken) => await _wake.Reader.ReadAsync(cancellationToken);

        public RequestOutcome Receive(DeltaDiscoveryRequest request)
        {
            lock (_gate) return session.Receive(request);
        }

        public List<DeltaDiscoveryResponse> Due(bool waitsForFirst)
        {
            lock (_gate) return session.Due(waitsForFirst);
        }

        public DiscoveryClientStatus Status()
        {
            lock (_gate) return new DiscoveryClientStatus(node.Id, peer, since, [.. session.Status.Select(s => s with { LastSent = _lastSent.TryGetValue(s.TypeUrl, out var at) ? at : null })]);
        }
    }
}

/// <summary>Endpoint routing in the manner of the framework.</summary>
public static class DeltaDiscoveryEndpoints
{
    public static IEndpointConventionBuilder MapDeltaDiscovery(this IEndpointRouteBuilder endpoints, DeltaDiscoveryServer server) => server.Map(endpoints);
}
