using System.Threading.Channels;
using AmbientMesh.Protocol.Core;
using AmbientMesh.Protocol.Discovery;
using AmbientMesh.Rpc;

namespace AmbientMesh.Xds;

/// <summary>What happens on the client; override what is wanted for logs and metrics.</summary>
public class DiscoveryClientObserver
{
    public virtual void Connected() { }

    /// <param name="failure">Null when the server ended the stream with OK.</param>
    public virtual void Terminated(ConnectionTermination reason, RpcException? failure, TimeSpan retryIn) { }

    public virtual void Received(string typeUrl, int bytes) { }
    public virtual void Rejected(string typeUrl, Rejection rejection) { }
}

/// <summary>A type to subscribe to.</summary>
/// <param name="OnDemand">False: everything. True: only what <see cref="DeltaDiscoveryClient.DemandAsync"/> asks for and what the server sends unasked.</param>
public sealed record DiscoverySubscription(IResourceHandler Handler, bool OnDemand = false);

/// <summary>Keeps the handlers' types up to date over one ADS stream that is opened again whenever it ends. What was received stays in force meanwhile.</summary>
/// <param name="subscriptions">First requests go out in this order.</param>
public sealed class DeltaDiscoveryClient(RpcChannel channel, Node node, IReadOnlyList<DiscoverySubscription> subscriptions, TimeProvider clock, DiscoveryClientObserver? observer = null)
{
    private readonly Lock _gate = new();
    private readonly DiscoveryClientObserver _observer = observer ?? new();
    private readonly Dictionary<string, ClientTypeState> _types = subscriptions.ToDictionary(s => s.Handler.TypeUrl, s => new ClientTypeState(s.Handler, s.OnDemand), StringComparer.Ordinal);
    private readonly Dictionary<string, TaskCompletionSource> _synced = subscriptions.ToDictionary(s => s.Handler.TypeUrl, _ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously), StringComparer.Ordinal);
    private ChannelWriter<DeltaDiscoveryRequest>? _outgoing;

    /// <summary>Completes with the first response of the type, also an empty one, and stays so.</summary>
    public Task Synced(string typeUrl) => _synced[typeUrl].Task;

    /// <summary>Completes when every type has been answered once: half of readiness.</summary>
    public Task AllSynced => Task.WhenAll(_synced.Values.Select(source => source.Task));

    /// <summary>Runs until cancelled; never ends because of the server or the network.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var backoff = new JitteredBackoff(Reconnect.FirstWait, Reconnect.LongestWait);
        while (true)
        {
            var failure = await StreamAsync(cancellationToken);
            cancellationToken.ThrowIfCancellationRequested();
            var reason = Reconnect.Classify(failure);
            if (Reconnect.StartsOver(reason)) backoff.Reset();
            var wait = backoff.Next();
            _observer.Terminated(reason, failure, wait);
            await Task.Delay(wait, clock, cancellationToken);
        }
    }

    /// <summary>Asks for one resource of an on-demand type by name or alias; true when it came, false when the server says there is none.</summary>
    /// <remarks>Without a time limit of its own: also waits through a lost connection.</remarks>
    /// <exception cref="ArgumentException">The type is not subscribed on demand.</exception>
    public async Task<bool> DemandAsync(string typeUrl, string name, CancellationToken cancellationToken)
    {
        if (!_types.TryGetValue(typeUrl, out var type) || !type.OnDemand) throw new ArgumentException($"{typeUrl} is not subscribed on demand", nameof(typeUrl));
        Task<bool> found;
        lock (_gate)
        {
            (found, var request) = type.Demand(name);
            // Without a stream the next one's first request names what is pending.
            if (request is not null) _outgoing?.TryWrite(request);
        }
        return await found.WaitAsync(cancellationToken);
    }

    /// <summary>One stream from its opening to its end; null when it ended with OK.</summary>
    private async Task<RpcException?> StreamAsync(CancellationToken cancellationToken)
    {
        try
        {
            await using var stream = await channel.DuplexAsync(MeshMethods.DeltaAggregatedResources, cancellationToken: cancellationToken);
            _observer.Connected();
            using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var outgoing = Open();
            var sending = SendAsync(stream, outgoing.Reader, over.Token);
            try
            {
                while (await stream.ReadAsync(cancellationToken) is { } response) outgoing.Writer.TryWrite(Receive(response));
            }
            finally
            {
                await over.CancelAsync();
                await sending;
            }
            return null;
        }
        catch (RpcException failure)
        {
            return failure;
        }
        finally
        {
            lock (_gate) _outgoing = null;
        }
    }

    /// <summary>A queue that begins with the first requests; demands from here on come after them.</summary>
    private Channel<DeltaDiscoveryRequest> Open()
    {
        var outgoing = Channel.CreateUnbounded<DeltaDiscoveryRequest>(new UnboundedChannelOptions { SingleReader = true });
        lock (_gate)
        {
            foreach (var subscription in subscriptions) outgoing.Writer.TryWrite(_types[subscription.Handler.TypeUrl].First(node));
            _outgoing = outgoing.Writer;
        }
        return outgoing;
    }

    private DeltaDiscoveryRequest Receive(DeltaDiscoveryResponse response)
    {
        _observer.Received(response.TypeUrl, response.CalculateSize());
        if (!_types.TryGetValue(response.TypeUrl, out var type)) return ClientTypeState.Acknowledge(response);
        DeltaDiscoveryRequest answer;
        IReadOnlyList<Rejection> rejections;
        lock (_gate) answer = type.Apply(response, out rejections);
        foreach (var rejection in rejections) _observer.Rejected(response.TypeUrl, rejection);
        _synced[response.TypeUrl].TrySetResult();
        return answer;
    }

    private static async Task SendAsync(RpcDuplex<DeltaDiscoveryRequest, DeltaDiscoveryResponse> stream, ChannelReader<DeltaDiscoveryRequest> outgoing, CancellationToken cancellationToken)
    {
        try
        {
            await foreach (var request in outgoing.ReadAllAsync(cancellationToken)) await stream.WriteAsync(request, cancellationToken);
        }
        catch (Exception problem) when (problem is RpcException or OperationCanceledException)
        {
            // The stream has ended; the reading side says why.
        }
    }
}
