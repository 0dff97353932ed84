using System.Globalization;
using AmbientMesh.Protocol.Core;
using AmbientMesh.Protocol.Discovery;

namespace AmbientMesh.Xds;

/// <summary>A resource a client refused, and why in its words.</summary>
/// <param name="Name">Empty when the client named none of the resources of the response.</param>
public sealed record ResourceRejection(string TypeUrl, string Name, string Reason);

/// <summary>What the session learned from a request.</summary>
internal abstract record RequestOutcome
{
    private RequestOutcome() { }

    public sealed record Subscribed : RequestOutcome;

    public sealed record Acknowledged(string TypeUrl, string Nonce) : RequestOutcome;

    public sealed record Rejected(string TypeUrl, string Nonce, IReadOnlyList<ResourceRejection> Rejections) : RequestOutcome;

    /// <summary>An answer to a response that is no longer the last.</summary>
    public sealed record Stale(string TypeUrl, string Nonce) : RequestOutcome;
}

/// <summary>The protocol state of one stream: subscriptions per type, what awaits acknowledgement, what goes out next. No I/O; callers serialise.</summary>
/// <param name="sources">In the order in which changes go out: what others refer to comes first.</param>
internal sealed class DeltaSession(IReadOnlyList<IResourceSource> sources, Node node, DeltaRequestLimits limits)
{
    private sealed class TypeState(IResourceSource? source, TypeSubscription? subscription)
    {
        /// <summary>Null for a type nobody serves, which gets one empty answer.</summary>
        public IResourceSource? Source { get; } = source;

        public TypeSubscription? Subscription { get; } = subscription;

        /// <summary>Nonce to the names sent with it; a push waits until none is left.</summary>
        public Dictionary<string, IReadOnlyList<string>> Unacknowledged { get; } = new(StringComparer.Ordinal);

        public string LastNonce { get; set; } = "";
        public string AcknowledgedNonce { get; set; } = "";
        public bool OwesEmptyAnswer { get; set; }

        /// <summary>Removals of the first response, kept back until the client has been told what refers to them no longer.</summary>
        public List<string> KeptBack { get; set; } = [];
        public Dictionary<string, ResourceRejection> Rejections { get; } = new(StringComparer.Ordinal);
    }

    private readonly Dictionary<string, TypeState> _types = new(StringComparer.Ordinal);
    private long _nonce;

    /// <summary>The types a client asked for: last nonce sent, last acknowledged, and what it refuses now.</summary>
    public IEnumerable<ClientTypeStatus> Status =>
        _types.Select(entry => new ClientTypeStatus(entry.Key, entry.Value.LastNonce, entry.Value.AcknowledgedNonce, entry.Value.Subscription?.IsWildcard ?? false, entry.Value.Subscription?.Names ?? 0, [.. entry.Value.Rejections.Values]));

    public RequestOutcome Receive(DeltaDiscoveryRequest request)
    {
        var type = TypeOf(request.TypeUrl);
        var outcome = Acknowledge(request, type);
        type.Subscription?.Apply(request);
        return outcome;
    }

    /// <summary>Every response that may go out now; empty when all is sent or an acknowledgement is awaited.</summary>
    /// <param name="waitsForFirst">Nothing goes out before the first source is subscribed to: what others refer to comes first also where the client asks for it last.</param>
    public List<DeltaDiscoveryResponse> Due(bool waitsForFirst = false)
    {
        List<DeltaDiscoveryResponse> due = [];
        foreach (var (url, type) in _types)
            if (type.OwesEmptyAnswer)
            {
                due.Add(Number(new DeltaDiscoveryResponse { TypeUrl = url }, type));
                type.OwesEmptyAnswer = false;
            }
        if (waitsForFirst && sources.Count > 0 && !_types.ContainsKey(sources[0].TypeUrl)) return due;
        var isComplete = true;
        foreach (var source in sources)
        {
            if (!_types.TryGetValue(source.TypeUrl, out var type)) continue;
            if (type.Unacknowledged.Count == 0) due.AddRange(Responses(type, waitsForFirst));
            // A workload must not arrive before the policies it names: later types wait until this one is sent.
            else if (type.Subscription!.IsDirty)
            {
                isComplete = false;
                break;
            }
        }
        if (isComplete) due.AddRange(KeptBack(waitsForFirst));
        return due;
    }

    /// <summary>The removals that were kept back, once every type that could refer to them is up to date, or when none is asked for.</summary>
    private IEnumerable<DeltaDiscoveryResponse> KeptBack(bool mayBeAskedForMore)
    {
        foreach (var source in sources)
        {
            if (!_types.TryGetValue(source.TypeUrl, out var type) || type.KeptBack.Count == 0 || type.Unacknowledged.Count > 0 || !(IsReferredTo() || (!mayBeAskedForMore && !IsOtherAskedFor()))) continue;
            var now = source.SnapshotFor(node);
            var response = new DeltaDiscoveryResponse { TypeUrl = source.TypeUrl };
            response.RemovedResources.AddRange(type.KeptBack.Where(name => !now.Resources.ContainsKey(name)));
            type.KeptBack = [];
            if (response.RemovedResources.Count > 0) yield return Number(response, type);
        }
    }

    private bool IsOtherAskedFor() => sources.Skip(1).Any(later => _types.ContainsKey(later.TypeUrl));

    // A later type has been answered, so the client no longer holds workloads of before.
    private bool IsReferredTo() => sources.Skip(1).Any(later => _types.TryGetValue(later.TypeUrl, out var type) && type.LastNonce.Length > 0);

    private TypeState TypeOf(string url)
    {
        if (_types.TryGetValue(url, out var known)) return known;
        var source = sources.FirstOrDefault(s => s.TypeUrl == url);
        var type = new TypeState(source, source is null ? null : new TypeSubscription(source, node, limits)) { OwesEmptyAnswer = source is null };
        // A client asking for ever new types would grow this without end.
        if (_types.Count >= 64) throw new Rpc.RpcException(Rpc.StatusCode.InvalidArgument, "too many resource types on one stream");
        return _types[url] = type;
    }

    private static RequestOutcome Acknowledge(DeltaDiscoveryRequest request, TypeState type)
    {
        if (request.ResponseNonce.Length == 0) return new RequestOutcome.Subscribed();
        if (!type.Unacknowledged.Remove(request.ResponseNonce, out var names)) return new RequestOutcome.Stale(request.TypeUrl, request.ResponseNonce);
        type.AcknowledgedNonce = request.ResponseNonce;
        foreach (var name in names) type.Rejections.Remove(name);
        if (request.ErrorDetail is null) return new RequestOutcome.Acknowledged(request.TypeUrl, request.ResponseNonce);
        var rejections = Rejections(request, names);
        foreach (var rejection in rejections) type.Rejections[rejection.Name] = rejection;
        return new RequestOutcome.Rejected(request.TypeUrl, request.ResponseNonce, rejections);
    }

    /// <summary>Finds <c>name: reason</c> entries, joined by <c>"; "</c>, for the names that were sent; both parts may contain either separator.</summary>
    private static List<ResourceRejection> Rejections(DeltaDiscoveryRequest request, IReadOnlyList<string> names)
    {
        var text = request.ErrorDetail.Message;
        List<(int At, string Name)> found = [];
        foreach (var name in names)
        {
            var at = text.StartsWith($"{name}: ", StringComparison.Ordinal) ? 0 : text.IndexOf($"; {name}: ", StringComparison.Ordinal) is var i and >= 0 ? i + 2 : -1;
            if (at >= 0) found.Add((at, name));
        }
        if (found.Count == 0) return [new ResourceRejection(request.TypeUrl, "", text)];
        found.Sort();
        return [.. found.Select((entry, i) => new ResourceRejection(request.TypeUrl, entry.Name, Reason(text, entry.At + entry.Name.Length + 2, i + 1 < found.Count ? found[i + 1].At - 2 : text.Length)))];
    }

    private static string Reason(string text, int from, int to) => to > from ? text[from..to] : "";

    private IEnumerable<DeltaDiscoveryResponse> Responses(TypeState type, bool mayBeAskedForMore)
    {
        if (type.Subscription!.Take() is not { } delta) return [];
        var url = type.Source!.TypeUrl;
        List<DeltaDiscoveryResponse> chunks = [];
        var response = new DeltaDiscoveryResponse { TypeUrl = url };
        var bytes = 0;
        foreach (var resource in delta.Resources)
        {
            var size = resource.CalculateSize() + 6;
            if (bytes + size > limits.MaxResponseBytes && response.Resources.Count > 0)
            {
                chunks.Add(response);
                (response, bytes) = (new DeltaDiscoveryResponse { TypeUrl = url }, 0);
            }
            response.Resources.Add(resource);
            bytes += size;
        }
        // A client that comes back holds workloads that still name what is gone: those are corrected first.
        if (type.LastNonce.Length == 0 && type.Source == sources[0] && (mayBeAskedForMore || IsOtherAskedFor())) type.KeptBack = [.. delta.Removed];
        else response.RemovedResources.AddRange(delta.Removed);   // after every resource, as within one response
        chunks.Add(response);
        return chunks.ConvertAll(chunk => Number(chunk, type));
    }

    private DeltaDiscoveryResponse Number(DeltaDiscoveryResponse response, TypeState type)
    {
        response.Nonce = (++_nonce).ToString(CultureInfo.InvariantCulture);
        type.LastNonce = response.Nonce;
        type.Unacknowledged[response.Nonce] = [.. response.Resources.Select(r => r.Name), .. response.RemovedResources];
        return response;
    }
}

/// <summary>One type of one client, for status pages.</summary>
/// <param name="Rejections">Resources whose last sent version the client refused.</param>
public sealed record ClientTypeStatus(string TypeUrl, string SentNonce, string AcknowledgedNonce, bool IsWildcard, int Names, IReadOnlyList<ResourceRejection> Rejections)
{
    /// <summary>When the last response went out; null when none did.</summary>
    public DateTimeOffset? LastSent { get; init; }

    /// <summary>True when the client has answered the last push.</summary>
    public bool IsSynced => SentNonce == AcknowledgedNonce;
}
