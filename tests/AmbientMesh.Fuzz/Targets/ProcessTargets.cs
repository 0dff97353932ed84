extern alias plugin;

using System.Buffers;
using System.IO.Pipelines;
using System.Text;
using System.Text.Json.Nodes;
using AmbientMesh.Cni.Node.Installation;
using AmbientMesh.Cni.Node.Plugin;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Linux;
using AmbientMesh.Linux.Netfilter;
using AmbientMesh.Protocol.Ca;
using AmbientMesh.Protocol.Zds;
using AmbientMesh.Rpc;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.InPod;
using Google.Protobuf;
using AgentZds = AmbientMesh.Cni.Node.Ztunnel.ZdsMessages;
using ZtunnelZds = AmbientMesh.Ztunnel.InPod.ZdsMessages;

namespace AmbientMesh.Fuzz.Targets;

/// <summary>gRPC messages on a stream, arriving in pieces.</summary>
public sealed class GrpcFramesTarget : FuzzTarget
{
    private const int MaxMessageBytes = 2000;

    public override string Name => "grpc-frames";
    public override string Purpose => "length-prefixed messages: the same messages and the same error however they are cut, sizes bounded; deadlines and status texts";

    public override IEnumerable<byte[]> Seeds()
    {
        var buffer = new ArrayBufferWriter<byte>();
        MessageFrames.Write(buffer, new IstioCertificateRequest { Csr = "csr", ValidityDuration = 1 });
        MessageFrames.Write(buffer, new IstioCertificateRequest());
        yield return SeedBytes.Of(1, buffer.WrittenSpan.ToArray());
        yield return SeedBytes.Of(9, [1, 0, 0, 0, 1, 0]);
        yield return SeedBytes.Of(2, [0, 0xff, 0xff, 0xff, 0xff]);
        yield return SeedBytes.Of(0, "10S");
        yield return SeedBytes.Of(0, "bad %20%zz%c3%a9");
    }

    public override void Run(byte[] input)
    {
        if (input.Length == 0) return;
        var frames = input[1..];
        Demand.SameSequence(Messages([frames]), Messages([.. frames.Chunk((input[0] % 16) + 1)]), "messages cut differently");
        var text = Encoding.Latin1.GetString(frames);
        var decoded = GrpcStatusText.Decode(text);
        if (GrpcStatusText.Encode(decoded).Length < GrpcStatusText.MaxBytes) Demand.Equal(decoded, GrpcStatusText.Decode(GrpcStatusText.Encode(decoded)), "a status text");
        if (GrpcTimeout.Parse(text) is { } timeout)
            Demand.That(timeout >= TimeSpan.Zero && GrpcTimeout.Parse(GrpcTimeout.Format(timeout)) >= timeout, "a deadline is not shortened by being passed on");
        _ = GrpcStatusText.ParseCode(text);
    }

    private static List<string> Messages(byte[][] pieces)
    {
        List<string> read = [];
        var reader = PipeReader.Create(Joined(pieces));
        try
        {
            while (MessageFrames.ReadAsync(reader, IstioCertificateRequest.Parser, MaxMessageBytes, "request", CancellationToken.None).AsTask().GetAwaiter().GetResult() is { } message)
                read.Add(Convert.ToHexString(message.ToByteArray()));
        }
        catch (RpcException e)
        {
            read.Add($"{e.Message}");
        }
        return read;
    }

    private static ReadOnlySequence<byte> Joined(byte[][] pieces)
    {
        if (pieces.Length == 0) return ReadOnlySequence<byte>.Empty;
        var first = new Piece(pieces[0], 0);
        var last = first;
        foreach (var piece in pieces.Skip(1)) last = last.Before(piece);
        return new ReadOnlySequence<byte>(first, 0, last, last.Memory.Length);
    }

    private sealed class Piece : ReadOnlySequenceSegment<byte>
    {
        public Piece(byte[] bytes, long at) => (Memory, RunningIndex) = (bytes, at);

        public Piece Before(byte[] next)
        {
            var piece = new Piece(next, RunningIndex + Memory.Length);
            Next = piece;
            return piece;
        }
    }
}

/// <summary>Requests to admin, metrics and readiness ports.</summary>
public sealed class AdminHttpTarget : FuzzTarget
{
    public override string Name => "admin-http";
    public override string Purpose => "HTTP/1.1 requests: an answer, a request or a clean end; sizes bounded; log level rules";

    public override IEnumerable<byte[]> Seeds() => SeedBytes.Words(
        "GET /config_dump HTTP/1.1\r\nhost: localhost\r\n\r\n", "POST /logging?level=info,a::b=debug HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc",
        "GET /metrics HTTP/1.0\r\nAccept: text/plain\r\nX: a b\r\n\r\n", "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "HEAD /a%20b?x=%zz&y HTTP/1.1\r\n\r\n");

    public override IEnumerable<byte[]> Words() => SeedBytes.Words("\r\n\r\n", "\r\n", "content-length: ", "HTTP/1.1", "GET ", "POST /", "?level=", "a=debug,", "%", ":");

    public override void Run(byte[] input)
    {
        try
        {
            var (request, refusal) = HttpEndpoint.ReadAsync(new MemoryStream(input), CancellationToken.None).GetAwaiter().GetResult();
            Demand.That(request is null || refusal is null, "a request is either taken or refused");
            if (refusal is not null) Demand.That(refusal.Status is >= 400 and < 500, "a bad request is the client's fault");
            if (request is null) return;
            Demand.That(request.Path.StartsWith('/') && !request.Path.Contains('?'), "a path is a path");
            Demand.That(request.Body.Length <= input.Length, "a body was sent");
            if (request.QueryValue("level") is { } level && LogFilter.TryParse(level, out var filter, out _))
                Demand.Equal(filter.ToString(), LogFilter.Parse(filter.ToString()).ToString(), "log levels");
        }
        catch (EndOfStreamException)
        {
            // The client left inside its body.
        }
    }
}

/// <summary>ZDS packets, as each end takes them. The first byte chooses.</summary>
public sealed class ZdsTarget : FuzzTarget
{
    public override string Name => "zds";
    public override string Purpose => "packets of the node agent and of ztunnel: read or refused with a reason, acknowledgements always fit a packet";
    public override int MaxBytes => 1100;

    public override IEnumerable<byte[]> Seeds() =>
    [
        SeedBytes.Of(0, AgentZds.Add("uid", "name", "ns", "sa")), SeedBytes.Of(0, AgentZds.Keep("uid")), SeedBytes.Of(0, AgentZds.Delete("uid")), SeedBytes.Of(0, AgentZds.SnapshotSent()),
        SeedBytes.Of(1, ZtunnelZds.Hello), SeedBytes.Of(2, ZtunnelZds.Acknowledgement(null)), SeedBytes.Of(2, ZtunnelZds.Acknowledgement("no")), SeedBytes.Of(3, "an error"),
    ];

    public override void Run(byte[] input)
    {
        var mode = input.Length > 0 ? input[0] : (byte)0;
        var packet = input.AsSpan(Math.Min(1, input.Length)).ToArray();
        switch (mode % 4)
        {
            case 0: AsZtunnel(packet); break;
            case 1:
                if (!AgentZds.TryReadHello(packet, out _, out var problem)) Demand.That(problem.Length > 0, "a refusal has a reason");
                break;
            case 2:
                if (!AgentZds.TryReadAck(packet, out _, out problem)) Demand.That(problem.Length > 0, "a refusal has a reason");
                break;
            default:
                var error = Encoding.UTF8.GetString(packet);
                var acknowledgement = ZtunnelZds.Acknowledgement(error);
                Demand.That(acknowledgement.Length <= ZtunnelZds.MaxBytes, "an acknowledgement fits a packet");
                Demand.That(AgentZds.TryReadAck(acknowledgement, out var refusal, out _) && (refusal.Length > 0) == (error.Length > 0), "a refusal stays one");
                break;
        }
    }

    private static void AsZtunnel(byte[] packet)
    {
        try
        {
            var message = ZtunnelZds.Read(new Packet(packet, [], IsTruncated: false));
            Demand.That(message is not ZdsMessage.Add, "a pod without a namespace is not taken");
            var request = WorkloadRequest.Parser.ParseFrom(packet);
            Demand.Equal(message, ZtunnelZds.Read(new Packet(request.ToByteArray(), [], IsTruncated: false)), "a message encoded again");
        }
        catch (ZdsReadException e)
        {
            Demand.That(e.Message.Length > 0, "a refusal has a reason");
        }
    }
}

/// <summary>JSON around the CNI plugin: its standard input, its request to the agent, the agent's answer, the files of other plugins.</summary>
public sealed class CniJsonTarget : FuzzTarget
{
    private static readonly JsonObject Stanza = new() { ["type"] = PluginStanza.PluginType, ["name"] = "x" };

    public override string Name => "cni-json";
    public override string Purpose => "plugin configuration, /cmdadd bodies, answers, configuration lists: read or refused by name; an entry added is there and can be removed";

    public override IEnumerable<byte[]> Seeds() =>
    [
        SeedBytes.Of(0, """{"cniVersion":"1.0.0","name":"istio-cni","ambient_enabled":true,"enablement_selectors":[{"podSelector":{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"k","operator":"NotIn","values":["v"]}]}}],"exclude_namespaces":["kube-system"],"prevResult":{"ips":[{"address":"10.0.0.1/24"}]}}"""),
        SeedBytes.Of(1, """{"Netns":"/var/run/netns/a","PodName":"a","PodNamespace":"b","IPs":[{"Interface":0,"Address":{"IP":"10.0.0.1","Mask":null},"Gateway":null}]}"""),
        SeedBytes.Of(1, """{"IPs":[null,{}],"PodName":"a","PodNamespace":"b","Netns":"c"}"""),
        SeedBytes.Of(2, """{"name":"n","cniVersion":"0.3.1","plugins":[{"type":"bridge"},{"type":"istio-cni"}]}"""),
        SeedBytes.Of(2, """{"type":"bridge","cniVersion":"0.3.1"}"""),
        SeedBytes.Of(3, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
    ];

    public override IEnumerable<byte[]> Words() => SeedBytes.Words("null", "[]", "{}", "\"\"", "[[[[", "\"plugins\":", "\"type\":\"istio-cni\"", "\"enablement_selectors\":", "\"podSelector\":", "\"matchExpressions\":", "\"prevResult\":", "\"ips\":", "\"IPs\":", "\"Address\":", "\\u0000", "1e999", "\"exclude_namespaces\":");

    public override void Run(byte[] input)
    {
        var mode = input.Length > 0 ? input[0] : (byte)0;
        var rest = input.AsSpan(Math.Min(1, input.Length)).ToArray();
        switch (mode % 4)
        {
            case 0: AsPlugin(rest); break;
            case 1:
                if (AddRequest.TryRead(rest, out var request, out var problem)) Demand.That(request.Addresses.Count > 0 && request.PodName!.Length > 0, "a pod has a name and an address");
                else Demand.That(problem.Length > 0, "a refusal has a reason");
                break;
            case 2: AsInstaller(Encoding.UTF8.GetString(rest)); break;
            default:
                var answer = plugin::AmbientMesh.Cni.Plugin.AgentCall.Parse(Encoding.UTF8.GetString(rest));
                Demand.That(answer.ToString().Length > 0, "an answer can be told");
                break;
        }
    }

    private static void AsPlugin(byte[] input)
    {
        try
        {
            var call = plugin::AmbientMesh.Cni.Plugin.PluginCall.Read(input, name => name == "CNI_ARGS" ? "K8S_POD_NAME=a;K8S_POD_NAMESPACE=b" : null);
            Demand.That(call.Pod == "b/a" && call.Selectors is not null && call.RunFolder.Length > 0, "a call is complete");
            var labels = new Dictionary<string, string> { ["a"] = "b" };
            foreach (var selector in call.Selectors!) _ = selector.Matches(labels, labels);
        }
        catch (FormatException e)
        {
            Demand.That(e.Message.Length > 0, "a refusal has a reason");
        }
    }

    private static void AsInstaller(string text)
    {
        JsonObject list;
        try
        {
            list = PluginStanza.Added(text, Stanza);
        }
        catch (FormatException)
        {
            return;
        }
        var written = list.ToJsonString();
        Demand.That(PluginStanza.IsIn(written, Stanza), "an entry that was added is there");
        Demand.That(PluginStanza.Removed(written) is { } removed && !PluginStanza.IsIn(removed.ToJsonString(), Stanza), "an entry that was removed is gone");
        Demand.Equal(written, PluginStanza.Added(written, Stanza).ToJsonString(), "adding twice");
    }
}

/// <summary>What iptables-save, ipset and nft print; root of the pod's namespace may have put anything there.</summary>
public sealed class NetfilterTarget : FuzzTarget
{
    private static readonly IReadOnlyList<IptablesTable> Wanted = IptablesPodRules.For(System.Net.Sockets.AddressFamily.InterNetwork, new RedirectSettings(), new PodRedirectOptions(true, false, []));

    public override string Name => "netfilter";
    public override string Purpose => "outputs of iptables-save, ipset save, nft -j: scripts touch our chains only, whatever stands beside them";

    public override IEnumerable<byte[]> Seeds() =>
    [
        SeedBytes.Of(0, IptablesScript.Install(Wanted, "")), SeedBytes.Of(0, "*nat\n:PREROUTING ACCEPT [0:0]\n:ISTIO_PRERT - [0:0]\n-A PREROUTING -j ISTIO_PRERT\n-A ISTIO_PRERT -p tcp -j REDIRECT --to-ports 15006\nCOMMIT\n"),
        SeedBytes.Of(1, "create istio-inpod-probes-v4 hash:ip family inet\nadd istio-inpod-probes-v4 10.0.0.1 comment \"uid\"\n"),
        SeedBytes.Of(2, """{"nftables":[{"metainfo":{}},{"set":{"elem":["10.0.0.1",{"elem":{"val":"10.0.0.2","comment":"uid"}}]}}]}"""),
    ];

    public override IEnumerable<byte[]> Words() => SeedBytes.Words("*nat\n", "*mangle\n", ":ISTIO_PRERT ", "-A PREROUTING -j ISTIO_PRERT\n", "-A OUTPUT ", "COMMIT\n", "\"elem\":", "\"val\":", "null", "add x 10.0.0.1 comment ");

    public override void Run(byte[] input)
    {
        var text = Encoding.UTF8.GetString(input, Math.Min(1, input.Length), Math.Max(0, input.Length - 1));
        switch ((input.Length > 0 ? input[0] : 0) % 3)
        {
            case 0:
                foreach (var script in (string[])[IptablesScript.Install(Wanted, text), IptablesScript.Remove(text)])
                    foreach (var line in script.Split('\n'))
                        Demand.That(line.Length == 0 || line[0] is '*' or ':' || line == "COMMIT" || line.Contains("ISTIO_", StringComparison.Ordinal), $"scripts touch our chains only: {line}");
                _ = IptablesScript.Ours(text);
                break;
            case 1:
                foreach (var line in text.Split('\n')) _ = IpSets.Parse(line);
                break;
            default:
                try
                {
                    _ = NftProbeExemptions.Elements(text);
                }
                catch (IOException)
                {
                    // nft printed something else: the caller reports it as any other failure of nft.
                }
                break;
        }
    }
}
