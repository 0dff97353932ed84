using System.Net;
using AmbientMesh.Model;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.InPod;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Dns;

/// <summary>Answers one pod's queries: parse, decide, write or forward, account. Thread-safe.</summary>
public sealed class QueryAnswering(PodContext pod, DnsForwarder forwarder, DnsMetrics metrics, QueryLimit limit)
{
    /// <summary>How long discovery may take to tell who the pod is; its resolver waits 5 s.</summary>
    public static readonly TimeSpan ClientTimeout = TimeSpan.FromSeconds(3);

    private readonly ILogger _log = pod.Services.Loggers.CreateLogger("ztunnel::dns::server");
    private readonly NameSettings _names = new(pod.Services.Settings.ClusterDomain, pod.Services.Settings.PreferredServiceNamespace, pod.Services.Settings.IPv6Enabled);

    /// <summary>How many queries wait for a name server or for discovery.</summary>
    public int Waiting => limit.Waiting;

    /// <summary>The answer to a message; null for what is not answered at all. Completes at once unless somebody else must be asked.</summary>
    /// <param name="message">Kept until completion.</param>
    /// <param name="write">Sends the client a message. A zone transfer is sent by it, all of it, and there is no answer after it: it keeps its place among the queries
    /// that wait until then. Null when the client cannot be sent one.</param>
    public ValueTask<byte[]?> AnswerAsync(ReadOnlyMemory<byte> message, DnsTransport transport, IPEndPoint client, Func<byte[], Task>? write, CancellationToken cancellationToken)
    {
        // An answer to an answer would go round for ever.
        if (!DnsHeader.TryRead(message.Span, out var header) || header.IsResponse) return new(default(byte[]));
        if (!DnsQuery.TryParse(message.Span, out var query, out var reason))
        {
            if (_log.IsEnabled(LogLevel.Debug)) Log("unreadable query", transport, client, null, Field("error", reason));
            return new(AnswerWriter.Failure(header, DnsCode.FormatError));
        }
        if (header.Opcode != 0)
        {
            Log($"unimplemented op_code: {header.Opcode}", transport, client, query);
            return new(AnswerWriter.Failure(query, DnsCode.NotImplemented));
        }
        var asked = new Asked(message, query, transport, client, write);
        var mesh = pod.Services.Mesh.Current;
        var workload = pod.WorkloadIn(mesh);
        if (workload is not null && Decide(mesh, workload, asked) is NameDecision.Answer known)
        {
            metrics.Asked(query.Question.Type, transport, workload);
            return new(Write(asked, known));
        }
        return AskOthersAsync(asked, cancellationToken);
    }

    private readonly record struct Asked(ReadOnlyMemory<byte> Message, DnsQuery Query, DnsTransport Transport, IPEndPoint Client, Func<byte[], Task>? WriteMessage);

    // A version of EDNS other than 0 changes what an answer must look like (RFC 6891 §6.1.3).
    private NameDecision Decide(MeshSnapshot mesh, Workload? client, in Asked asked) => asked.Query.Edns is { Version: not 0 } && client is not null
        ? NameDecision.Forward.Instance
        : NameResolution.Decide(mesh, client, asked.Query.Question, _names);

    private byte[] Write(in Asked asked, NameDecision.Answer known)
    {
        IPAddress[] shuffled = [.. known.Addresses];
        Random.Shared.Shuffle(shuffled);
        if (_log.IsEnabled(LogLevel.Debug))
            Log("query answered", asked.Transport, asked.Client, asked.Query, Field("service", known.Service.Key.ToString()), Field("records", shuffled.Length));
        return AnswerWriter.Addresses(asked.Query, known, shuffled, asked.Query.Limit(asked.Transport));
    }

    private async ValueTask<byte[]?> AskOthersAsync(Asked asked, CancellationToken cancellationToken)
    {
        var type = asked.Query.Question.Type;
        if (!limit.TryEnter())
        {
            metrics.Asked(type, asked.Transport, pod.Services.Mesh.Current.FindWorkload(pod.Info));
            Log("query refused", asked.Transport, asked.Client, asked.Query, Field("error", $"{limit.Waiting} queries wait for an answer already"));
            return AnswerWriter.Failure(asked.Query, DnsCode.ServerFailure);
        }
        try
        {
            await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);   // what may wait does not run on the socket's thread
            var workload = await pod.LocalWorkloadAsync(ClientTimeout, cancellationToken);
            metrics.Asked(type, asked.Transport, workload);
            switch (Decide(pod.Services.Mesh.Current, workload, asked))
            {
                case NameDecision.Answer known:
                    return Write(asked, known);
                case NameDecision.Forward:
                    return await ForwardAsync(asked, workload, cancellationToken);
                default:
                    Log("query failed", asked.Transport, asked.Client, asked.Query, Field("error", $"unknown client: {pod.Info}"));
                    return AnswerWriter.Failure(asked.Query, DnsCode.ServerFailure);
            }
        }
        finally
        {
            limit.Leave();
        }
    }

    private async Task<byte[]?> ForwardAsync(Asked asked, Workload? client, CancellationToken cancellationToken)
    {
        var type = asked.Query.Question.Type;
        var started = pod.Services.Clock.GetTimestamp();
        metrics.Forwarded(type, asked.Transport, client);
        var (answer, reason, rest) = await forwarder.ForwardAsync(asked.Message, asked.Query, asked.Transport, asked.WriteMessage is not null, cancellationToken);
        using var _ = rest;
        var took = pod.Services.Clock.GetElapsedTime(started);
        metrics.ForwardEnded(type, asked.Transport, client, took, failed: answer is null);
        if (answer is not null)
        {
            if (_log.IsEnabled(LogLevel.Debug)) Log("query forwarded", asked.Transport, asked.Client, asked.Query, Field("code", answer[3] & 0xf), Field("duration", Milliseconds(took)));
            if (rest is null || asked.WriteMessage is not { } write) return answer;
            await write(answer);
            await rest.CopyAsync(write, cancellationToken);
            return null;
        }
        Log("query failed", asked.Transport, asked.Client, asked.Query, Field("error", reason), Field("duration", Milliseconds(took)));
        return AnswerWriter.Failure(asked.Query, DnsCode.ServerFailure);
    }

    private static KeyValuePair<string, object?> Field(string name, object? value) => new(name, value);

    private static string Milliseconds(TimeSpan time) => $"{(long)time.TotalMilliseconds}ms";

    private void Log(string message, DnsTransport transport, IPEndPoint client, DnsQuery? query, params KeyValuePair<string, object?>[] more)
    {
        if (!_log.IsEnabled(LogLevel.Debug)) return;
        _log.Write(LogLevel.Debug, new LogFields(message,
        [
            Field("src", client), Field("name", query?.Question.Name.ToString()), Field("type", query is null ? null : DnsTypes.NameOf(query.Question.Type)),
            Field("protocol", transport == DnsTransport.Udp ? "udp" : "tcp"), .. more,
        ])
        { Span = pod.Span });
    }
}
