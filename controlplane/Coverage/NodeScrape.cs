using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using AmbientMesh.Telemetry;
using AmbientMesh.Telemetry.Coverage;

namespace AmbientMesh.ControlPlane.Coverage;

/// <summary>What a part answered. Exactly one case holds.</summary>
internal abstract record NodeAnswer
{
    private NodeAnswer()
    {
    }

    public sealed record Pods(AgentCoverage Report) : NodeAnswer;

    public sealed record Counters(PairAccount Account) : NodeAnswer;

    /// <summary>It serves no such figures: another vendor's agent.</summary>
    public sealed record NoFigures : NodeAnswer;

    public sealed record Failed(string Problem) : NodeAnswer;
}

/// <summary>Asks one part for its figures over HTTP, bounded in time and size. A ztunnel's are its standard metrics, so any vendor's can be asked.</summary>
/// <remarks>Only pods of the system namespaces are asked, as the API server names them; figures are shown and never decide anything, so plain HTTP inside the cluster is enough.</remarks>
internal sealed class NodeScrape(TimeProvider clock, HttpMessageHandler? handler = null) : IDisposable
{
    private const long MaxBytes = 32 * 1024 * 1024;
    private const int MaxPairsPerNode = 2_000;

    /// <summary>For a connection, so that what is not there does not take a whole question's time.</summary>
    internal static readonly TimeSpan ConnectLimit = TimeSpan.FromSeconds(2);

    /// <summary>For an answer, to its end.</summary>
    internal static readonly TimeSpan Limit = TimeSpan.FromSeconds(5);

    private static readonly string[] Samples =
    [
        PairAccount.Opened + "_total", PairAccount.Received + "_total", PairAccount.Sent + "_total",
    ];

    private readonly HttpClient _http = new(handler ?? new SocketsHttpHandler
    {
        ConnectCallback = (context, cancellationToken) => ConnectAsync(context.DnsEndPoint, clock, cancellationToken),
        AllowAutoRedirect = false,
        UseProxy = false,
        UseCookies = false,
        MaxResponseHeadersLength = 16,
        AutomaticDecompression = DecompressionMethods.GZip,
        PooledConnectionIdleTimeout = TimeSpan.FromSeconds(5),
    })
    { Timeout = Timeout.InfiniteTimeSpan };

    public async Task<NodeAnswer> AskAsync(NodePart part, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(Limit, clock);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            using var response = await _http.GetAsync(part.Address, HttpCompletionOption.ResponseHeadersRead, both.Token);
            if (response.StatusCode == HttpStatusCode.NotFound) return new NodeAnswer.NoFigures();
            if (response.StatusCode != HttpStatusCode.OK) return new NodeAnswer.Failed($"{part.Address} answered {(int)response.StatusCode}");
            await using var body = await response.Content.ReadAsStreamAsync(both.Token);
            return part.Kind == NodePartKind.Agent ? await ReadAgentAsync(body, both.Token) : await ReadZtunnelAsync(body, both.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return new NodeAnswer.Failed($"{part.Address} did not answer within {Limit.TotalSeconds} s");
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            // Whatever a part sends, a body that is not the encoding it claims to be among it, is that part's problem and no other's.
            return new NodeAnswer.Failed($"{part.Address}: {e.GetBaseException().Message}");
        }
    }

    public void Dispose() => _http.Dispose();

    private static async ValueTask<Stream> ConnectAsync(DnsEndPoint part, TimeProvider clock, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(ConnectLimit, clock);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(part, both.Token);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch (Exception e)
        {
            socket.Dispose();
            if (e is not OperationCanceledException || cancellationToken.IsCancellationRequested) throw;
            throw new IOException($"no connection within {ConnectLimit.TotalSeconds} s");
        }
    }

    private static async Task<NodeAnswer> ReadAgentAsync(Stream body, CancellationToken cancellationToken)
    {
        using var text = new MemoryStream();
        var buffer = new byte[64 * 1024];
        int read;
        while ((read = await body.ReadAsync(buffer, cancellationToken)) > 0)
        {
            if (text.Length + read > MaxBytes) throw new IOException($"the answer is longer than {MaxBytes} bytes");
            text.Write(buffer, 0, read);
        }
        return JsonSerializer.Deserialize(text.GetBuffer().AsSpan(0, (int)text.Length), CoverageJson.Default.AgentCoverage) is { } report
            ? new NodeAnswer.Pods(report with { Pods = [.. Readable(report.Pods)] })
            : new NodeAnswer.Failed("the answer is null");
    }

    /// <summary>Without what a report of ours never has; those pods are judged by their labels.</summary>
    private static IEnumerable<PodCoverage> Readable(IReadOnlyList<PodCoverage?>? pods) =>
        (pods ?? []).OfType<PodCoverage>().Where(pod => !string.IsNullOrEmpty(pod.Uid) && !string.IsNullOrEmpty(pod.Pod) && PodStates.All.Contains(pod.State)).DistinctBy(pod => pod.Uid);

    private static async Task<NodeAnswer> ReadZtunnelAsync(Stream body, CancellationToken cancellationToken)
    {
        var account = new PairAccount(MaxPairsPerNode);
        var reader = new MetricTextReader(Samples, PairAccount.Labels, (name, values, value) => account.Add(name[..^"_total".Length], values, value is >= 0 and < long.MaxValue ? (long)value : 0));
        await reader.ReadAsync(body, MaxBytes, cancellationToken);
        return new NodeAnswer.Counters(account);
    }
}
