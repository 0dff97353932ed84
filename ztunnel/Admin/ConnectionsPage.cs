using System.Buffers;
using System.Globalization;
using System.Text.Json;
using AmbientMesh.Model;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.Reporting;

namespace AmbientMesh.Ztunnel.Admin;

/// <summary><c>GET /debug/connections</c>: connections that are open, and the last that ended, newest first.</summary>
/// <remarks>
/// Parameters, all optional: <c>id</c> (32 hex digits), <c>state</c> (<c>open</c> or <c>ended</c>), <c>reason</c> (a word of <see cref="Reasons"/>, or <c>any</c>
/// for every refused or failed one), <c>limit</c> (1 to 10000; 100). Answer: <c>{"connections":[{id, state, direction, pod, …}]}</c>; what is unknown is left out.
/// </remarks>
public sealed class ConnectionsPage(Func<IEnumerable<ConnectionTable>> tables, EndedConnections ended, TimeProvider clock)
{
    private const int DefaultLimit = 100;
    private const int MaxLimit = 10_000;

    private sealed record Question(UInt128? Id, bool Open, bool Ended, bool AnyReason, Reason? Reason, int Limit)
    {
        public bool Wants(in EndedConnection connection) =>
            (Id is null || connection.Trace.TraceId == Id) && (!AnyReason || connection.Reason is not null) && (Reason is null || connection.Reason?.Reason == Reason);
    }

    public HttpEndpointResponse Answer(HttpEndpointRequest request)
    {
        if (request.Method is not ("GET" or "HEAD")) return HttpEndpointResponse.MethodNotAllowed;
        return Read(request, out var problem) is { } question ? HttpEndpointResponse.Json(Write(question)) : HttpEndpointResponse.Text(400, problem + "\n");
    }

    private static Question? Read(HttpEndpointRequest request, out string problem)
    {
        problem = "";
        UInt128? id = null;
        if (request.QueryValue("id") is { } idText)
        {
            if (!TraceContext.TryParseId(idText, out var parsed)) problem = "id: expected 32 hex digits, as connection.id in the access log";
            id = parsed;
        }
        var state = request.QueryValue("state");
        if (state is not (null or "open" or "ended")) problem = "state: expected open or ended";
        var word = request.QueryValue("reason");
        var reason = Reasons.Parse(word);
        if (word is not (null or "any") && reason is null) problem = $"reason: expected any or one of {string.Join(", ", Reasons.All.Select(r => r.Word()))}";
        var limit = DefaultLimit;
        if (request.QueryValue("limit") is { } limitText && !(int.TryParse(limitText, NumberStyles.None, CultureInfo.InvariantCulture, out limit) && limit is >= 1 and <= MaxLimit))
            problem = $"limit: expected 1 to {MaxLimit}";
        if (problem.Length > 0) return null;
        return new Question(id, state is null or "open" && word is null, state is null or "ended", word is not null, reason, limit);
    }

    private ReadOnlyMemory<byte> Write(Question question)
    {
        var buffer = new ArrayBufferWriter<byte>(16 * 1024);
        using var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        json.WriteStartObject();
        json.WriteStartArray("connections");
        var left = question.Limit;
        if (question.Open)
        {
            foreach (var connection in tables().SelectMany(t => t.Open).Where(c => c.Account is not null && (question.Id is null || c.Trace.TraceId == question.Id)).OrderByDescending(c => c.Account!.OpenedAt).Take(left))
            {
                WriteOpen(json, connection);
                left--;
            }
        }
        if (question.Ended && left > 0)
            foreach (var connection in ended.Newest(left, c => question.Wants(c))) WriteEnded(json, connection);
        json.WriteEndArray();
        json.WriteEndObject();
        json.Flush();
        return buffer.WrittenMemory;
    }

    private void WriteOpen(Utf8JsonWriter json, OpenConnection connection)
    {
        var account = connection.Account!;
        var (received, sent) = connection.Carried;
        json.WriteStartObject();
        Identify(json, "open", connection.Trace, connection.Pod, account.Description, account.OpenedAt);
        Measure(json, clock.GetUtcNow() - account.OpenedAt, received, sent);
        json.WriteEndObject();
    }

    private static void WriteEnded(Utf8JsonWriter json, in EndedConnection connection)
    {
        json.WriteStartObject();
        Identify(json, "ended", connection.Trace, connection.Pod, connection.Description, connection.OpenedAt);
        json.WriteString("endedAt", connection.OpenedAt + connection.Duration);
        Measure(json, connection.Duration, connection.Received, connection.Sent);
        if (connection.Reason is { } reason)
        {
            json.WriteString("reason", reason.Reason.Word());
            json.WriteString("error", reason.Text);
            json.WriteString("responseFlags", reason.ResponseFlags);
            if (reason.DecidedBy is { } decider)
            {
                json.WriteStartObject("decidedBy");
                json.WriteString("kind", decider.Kind);
                json.WriteString("name", decider.Name);
                Text(json, "detail", decider.Detail);
                json.WriteEndObject();
            }
        }
        json.WriteEndObject();
    }

    private static void Identify(Utf8JsonWriter json, string state, TraceContext trace, WorkloadInfo pod, ConnectionDescription description, DateTimeOffset openedAt)
    {
        json.WriteString("id", trace.Id);
        json.WriteString("state", state);
        json.WriteString("direction", description.Direction == Direction.Inbound ? "inbound" : "outbound");
        json.WriteString("pod", $"{pod.Namespace}/{pod.Name}");
        json.WriteString("protocol", description.IsMutualTls ? "HBONE" : "TCP");
        End(json, "source", description.Source.ToString(), null, description.SourcePeer, description.IsMutualTls ? description.SourceIdentity : null);
        End(json, "destination", description.Destination.ToString(), description.HboneTarget, description.DestinationPeer, description.IsMutualTls ? description.DestinationIdentity : null);
        if (description.Direction == Direction.Outbound) json.WriteString("asked", (description.Original ?? description.Destination).ToString());
        Text(json, "service", description.Service?.Key.ToString());
        json.WriteString("openedAt", openedAt);
    }

    private static void Measure(Utf8JsonWriter json, TimeSpan duration, long received, long sent)
    {
        json.WriteNumber("durationMs", (long)duration.TotalMilliseconds);
        json.WriteNumber("bytesReceived", received);
        json.WriteNumber("bytesSent", sent);
    }

    private static void End(Utf8JsonWriter json, string name, string address, string? hbone, PeerLabels? peer, SpiffeId? identity)
    {
        json.WriteStartObject(name);
        json.WriteString("address", address);
        Text(json, "hboneAddress", hbone);
        Text(json, "workload", peer?.LogName);
        Text(json, "namespace", peer?.Namespace);
        Text(json, "cluster", peer?.Cluster);
        Text(json, "identity", identity?.ToString());
        json.WriteEndObject();
    }

    private static void Text(Utf8JsonWriter json, string name, string? value)
    {
        if (!string.IsNullOrEmpty(value)) json.WriteString(name, value);
    }
}
