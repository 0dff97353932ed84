using System.Globalization;
using System.Text.Json.Nodes;
using AmbientMesh.Cli.CommandLine;
using AmbientMesh.Cli.Output;
using AmbientMesh.Cli.Reaching;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.Cli.Explain;

/// <summary>One end of a connection that was made, as the ztunnel that carried it remembers.</summary>
/// <param name="Record">An entry of /debug/connections.</param>
internal sealed record RememberedEnd(string Node, string Ztunnel, JsonObject Record)
{
    public bool IsOutbound => Text("direction") == "outbound";
    public string Pod => Text("pod");
    public string? Reason => Record.Text("reason");
    public string? Error => Record.Text("error");
    public string Text(string key) => Record.Text(key) ?? "";
    public string Of(string end, string key) => Record.Member(end).Text(key) ?? "";
    public (string Kind, string Name, string Detail)? DecidedBy => Record["decidedBy"] is JsonObject by ? (by.Text("kind") ?? "", by.Text("name") ?? "", by.Text("detail") ?? "") : null;
    public DateTimeOffset? At => Record.Time("endedAt") ?? Record.Time("openedAt");
}

/// <summary>An object that decided then, as it is now.</summary>
/// <param name="Now">In words: its generation now and whether it has changed since.</param>
internal sealed record DecidingObject(string Kind, string Namespace, string Name, long? Generation, bool? HasChangedSince, string Now);

/// <summary>Explains a connection by the id in the access log: what both ends remember, the objects that decided then and now, and the path as it would be now.</summary>
internal static class PastConnection
{
    private static readonly Dictionary<string, ResourceType> s_kinds = new(StringComparer.Ordinal)
    {
        ["AuthorizationPolicy"] = new("security.istio.io", "v1", "authorizationpolicies", "AuthorizationPolicy", IsNamespaced: true),
        ["PeerAuthentication"] = new("security.istio.io", "v1", "peerauthentications", "PeerAuthentication", IsNamespaced: true),
        ["Service"] = new("", "v1", "services", "Service", IsNamespaced: true),
    };

    /// <summary>A ztunnel knows services only, also those that ServiceEntries made.</summary>
    private static readonly ResourceType s_serviceEntry = new("networking.istio.io", "v1", "serviceentries", "ServiceEntry", IsNamespaced: true);

    public static async Task<int> ShowAsync(MeshCluster cluster, MeshPods pods, string id, OutputFormat format, TextWriter output, CancellationToken cancellationToken)
    {
        if (id.Length != 32 || !id.All(char.IsAsciiHexDigit)) throw new MeshctlException($"\"{id}\" is no connection id: expected 32 hex digits, as connection.id in a ztunnel's access log.");
        var (ends, problems) = await FindAsync(cluster, pods, id.ToLowerInvariant(), cancellationToken);
        if (ends.Count == 0)
            throw new MeshctlException($"No ztunnel remembers connection {id}. Each keeps its last 4096 refused and 1024 finished connections, and forgets them when it restarts.{string.Concat(problems.Select(p => $" {p}"))}");
        var objects = new List<DecidingObject>();
        foreach (var end in ends)
            if (end.DecidedBy is { } by) objects.AddRange(await ObjectsAsync(cluster, by, end.At, cancellationToken));
        var (path, unknown) = await NowAsync(cluster, pods, ends, cancellationToken);
        if (unknown is not null) problems.Add(unknown);
        objects = [.. objects.DistinctBy(o => (o.Kind, o.Namespace, o.Name))];
        if (format is OutputFormat.Json or OutputFormat.Yaml) Documents.Write(output, format, Json(id, ends, objects, path, problems));
        else Write(output, id, ends, objects, path, problems, format == OutputFormat.Short);
        return ends.All(e => e.Reason is null) ? ExitCodes.Fine : ExitCodes.NotFine;
    }

    /// <summary>Every ztunnel is asked: the two ends may be anywhere, and the id is the same at both.</summary>
    private static async Task<(List<RememberedEnd> Ends, List<string> Problems)> FindAsync(MeshCluster cluster, MeshPods pods, string id, CancellationToken cancellationToken)
    {
        var running = pods.Ztunnels.Where(z => z.Status.Phase == "Running").ToList();
        var answers = await Task.WhenAll(running.Select(z => PartClient.TryAsync(() => cluster.Parts.JsonAsync(z, PartClient.ZtunnelAdmin, $"/debug/connections?id={id}", cancellationToken))));
        var ends = new List<RememberedEnd>();
        for (var i = 0; i < running.Count; i++)
            foreach (var record in answers[i].Answer.Objects("connections")) ends.Add(new RememberedEnd(running[i].Spec.NodeName ?? "", running[i].Key.Name, record));
        return ([.. ends.OrderByDescending(e => e.IsOutbound).ThenBy(e => e.At)], [.. answers.Select(a => a.Problem).OfType<string>()]);
    }

    private static async Task<IReadOnlyList<DecidingObject>> ObjectsAsync(MeshCluster cluster, (string Kind, string Name, string Detail) by, DateTimeOffset? at, CancellationToken cancellationToken)
    {
        var found = new List<DecidingObject>();
        if (!s_kinds.TryGetValue(by.Kind, out var type)) return found;
        foreach (var name in by.Name.Split(','))   // of several ALLOW policies of which none matched
        {
            if (name.Split('/') is not [var ns, var own]) continue;
            try
            {
                var (kind, now) = (by.Kind, await cluster.Client.Of(type).GetAsync(ns, own, cancellationToken));
                if (now is null && kind == "Service" && await cluster.Client.Of(s_serviceEntry).GetAsync(ns, own, cancellationToken) is { } entry) (kind, now) = (s_serviceEntry.Kind, entry);
                found.Add(now is null ? new DecidingObject(kind, ns, own, null, true, "does not exist any more") : Compared(kind, ns, own, now, at));
            }
            catch (KubernetesException e)
            {
                found.Add(new DecidingObject(by.Kind, ns, own, null, null, $"cannot be read: {e.Status.Message ?? e.Message}"));
            }
        }
        return found;
    }

    /// <summary>Its managers say when they last wrote it; writes to the status alone do not count.</summary>
    private static DecidingObject Compared(string kind, string ns, string name, JsonObject now, DateTimeOffset? at)
    {
        var generation = now.Member("metadata").Number("generation");
        var writes = now.Member("metadata").Objects("managedFields").Where(m => m.Text("subresource") is null or "").Select(m => (By: m.Text("manager") ?? "?", At: m.Time("time")));
        var last = writes.Where(w => w.At is not null).OrderByDescending(w => w.At).FirstOrDefault();
        if (at is null || last.At is null) return new DecidingObject(kind, ns, name, generation, null, $"generation {generation} now");
        return last.At > at
            ? new DecidingObject(kind, ns, name, generation, true, $"generation {generation} now, CHANGED {Ages.Of(last.At.Value - at.Value)} after the connection, by {last.By}")
            : new DecidingObject(kind, ns, name, generation, false, $"generation {generation}, unchanged since: it was last written {Ages.Of(at.Value - last.At.Value)} before the connection, by {last.By}");
    }

    /// <summary>The same connection, made now.</summary>
    private static async Task<(PathExplanation? Path, string? Problem)> NowAsync(MeshCluster cluster, MeshPods pods, IReadOnlyList<RememberedEnd> ends, CancellationToken cancellationToken)
    {
        try
        {
            var outbound = ends.FirstOrDefault(e => e.IsOutbound);
            var (from, to) = outbound is not null ? (outbound.Pod, outbound.Text("asked")) : await SourceOfAsync(cluster, ends[0], cancellationToken);
            if (from.Length == 0 || to.Length == 0) return (null, $"the client {ends[0].Of("source", "address")} is no pod of this cluster now: what would happen today is not explained");
            var (ns, name) = PodName.Parse(from, cluster.DefaultNamespace);
            return (await new PathReading(cluster, pods).ReadAsync(ns, name, to, cancellationToken), null);
        }
        catch (Exception e) when (e is MeshctlException or KubernetesException)
        {
            return (null, $"what would happen today is not known: {(e as KubernetesException)?.Status.Message ?? e.Message}");
        }
    }

    /// <summary>Of a client whose own ztunnel remembers nothing, as of one that is not enrolled: the pod with that address.</summary>
    private static async Task<(string From, string To)> SourceOfAsync(MeshCluster cluster, RememberedEnd inbound, CancellationToken cancellationToken)
    {
        var address = inbound.Of("source", "address");
        if (!System.Net.IPEndPoint.TryParse(address, out var client)) return ("", "");
        var pods = await cluster.Client.Of<Pod>().ListAsync(new Selection { FieldSelector = $"status.podIP={client.Address}" }, cancellationToken);
        var asked = inbound.Of("destination", "hboneAddress") is { Length: > 0 } authority ? authority : inbound.Of("destination", "address");
        return pods.Items.FirstOrDefault(p => p.Spec.HostNetwork != true && p.Status.PodIPs.Any(a => a.Ip == client.Address.ToString())) is { } pod ? ($"{pod.Metadata.Namespace}/{pod.Key.Name}", asked) : ("", "");
    }

    private static void Write(TextWriter output, string id, IReadOnlyList<RememberedEnd> ends, IReadOnlyList<DecidingObject> objects, PathExplanation? path, IReadOnlyList<string> problems, bool isShort)
    {
        output.WriteLine($"Connection {id}, as it was");
        var table = new Table("SIDE", "POD", "NODE", "WHEN", "FROM", "TO", "PROTOCOL", "SENT", "RECEIVED", "ENDED");
        foreach (var e in ends)
            table.Add(e.IsOutbound ? "source" : "destination", e.Pod, e.Node, e.At?.UtcDateTime.ToString("u", CultureInfo.InvariantCulture), e.Of("source", "address"), e.IsOutbound && e.Text("asked").Length > 0 ? e.Text("asked") : e.Of("destination", "address"),
                e.Text("protocol"), $"{e.Record["bytesSent"]}", $"{e.Record["bytesReceived"]}", e.Text("state") == "open" ? "still open" : e.Reason ?? "both sides finished");
        table.Write(output, indent: 2);
        foreach (var e in ends)
        {
            var side = e.IsOutbound ? "source" : "destination";
            if (e.Of("source", "identity") is { Length: > 0 } client) output.WriteLine($"  {side}: client {client}, server {e.Of("destination", "identity")}");
            if (e.Error is { } error) output.WriteLine($"  {side}: {error}");
            if (e.DecidedBy is var (kind, name, detail)) output.WriteLine($"  {side}: decided by {kind} {name} {detail}".TrimEnd());
        }
        if (objects.Count > 0)
        {
            output.WriteLine();
            output.WriteLine("What decided then, as it is now");
            foreach (var o in objects) output.WriteLine($"  {o.Kind} {o.Namespace}/{o.Name}: {o.Now}");
        }
        foreach (var problem in problems) output.WriteLine($"  {problem}");
        if (path is null) return;
        output.WriteLine();
        output.WriteLine("The same connection, made now");
        output.WriteLine();
        PathText.Write(output, path, isShort);
    }

    private static JsonObject Json(string id, IReadOnlyList<RememberedEnd> ends, IReadOnlyList<DecidingObject> objects, PathExplanation? path, IReadOnlyList<string> problems) => new()
    {
        ["connection"] = id,
        ["then"] = new JsonArray([.. ends.Select(e =>
        {
            var record = e.Record.DeepClone().AsObject();
            record["node"] = e.Node;
            record["ztunnel"] = e.Ztunnel;
            return (JsonNode)record;
        })]),
        ["objects"] = new JsonArray([.. objects.Select(o => (JsonNode)new JsonObject
        {
            ["kind"] = o.Kind, ["namespace"] = o.Namespace, ["name"] = o.Name, ["generation"] = o.Generation, ["changedSince"] = o.HasChangedSince, ["text"] = o.Now,
        })]),
        ["now"] = path is null ? null : PathJson.Of(path),
        ["notes"] = new JsonArray([.. problems.Select(p => (JsonNode?)p)]),
    };
}
