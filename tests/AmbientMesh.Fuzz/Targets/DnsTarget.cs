using System.Net;
using System.Text;
using AmbientMesh.Model;
using AmbientMesh.Ztunnel.Dns;

namespace AmbientMesh.Fuzz.Targets;

/// <summary>DNS messages of pods and of name servers, and the resolver's file. The first byte chooses what a question is answered with.</summary>
public sealed class DnsTarget : FuzzTarget
{
    private static readonly MeshService Service = new() { Name = "server", Namespace = "default", Hostname = "server.default.svc.cluster.local", Vips = [new NetworkAddress("", IPAddress.Parse("10.96.0.1"))] };
    private static readonly NameSettings Settings = new("cluster.local", null, AnswersIpv6: true);
    private readonly MeshSnapshot _mesh;
    private readonly Workload _client = new() { Uid = "c//Pod/default/c", Name = "c", Namespace = "default" };

    public DnsTarget()
    {
        var store = new MeshStore();
        _mesh = store.Edit(edit =>
        {
            edit.Set(Service);
            edit.Set(_client);
            edit.Set(new MeshService { Name = "w", Namespace = "default", Hostname = "*.example.org", Vips = [new NetworkAddress("", IPAddress.Parse("10.96.0.2"))] });
        });
    }

    public override string Name => "dns";
    public override string Purpose => "DNS messages: read whole or refused; our answers are messages themselves, repeat the question, keep to the client's limit";
    public override int MaxBytes => 2048;

    public override IEnumerable<byte[]> Seeds() =>
    [
        Hex("432101000001000000000001067365727665720764656661756c740373766307636c7573746572056c6f63616c00000100010000291000000000000000"),
        Hex("432185800001000100000001067365727665720764656661756c740373766307636c7573746572056c6f63616c0000010001067365727665720764656661756c740373766307636c7573746572056c6f63616c00000100010000001e00040ac600020000291000000000000000"),
        Hex("000101000001000000000000067365727665720000010001"),
        Hex("0001010000010000000000000161076578616d706c65036f72670764656661756c740373766307636c7573746572056c6f63616c00001c0001"),
        Hex("000181000001000100000000016101620000010001c00c00050001000000010002c00e"),
        SeedBytes.Of(7, "nameserver 10.0.0.1\nnameserver fd00::1\nsearch a b\n"),
    ];

    public override IEnumerable<byte[]> Words() => [[0xc0, 12], [0xc0, 0xff], [0x3f], [0, 0, 41, 16, 0], [0, 0, 1, 0, 1], [0, 0, 28, 0, 1], .. SeedBytes.Words("\u0006server\u0007default\u0003svc\u0007cluster\u0005local\0", "nameserver ")];

    public override void Run(byte[] input)
    {
        var count = input.Length > 0 ? input[0] : 0;
        var bytes = input.AsSpan(Math.Min(1, input.Length));
        Demand.That(ResolverFile.NameServers(Encoding.UTF8.GetString(bytes)).Count <= ResolverFile.MaxServers, "few name servers");
        if (DnsMessage.TryParse(bytes, out var message, out var reason)) Demand.That(message.Answers.All(a => a.DataAt + a.DataLength <= input.Length - 1), "data stand in the message");
        else Demand.That(reason.Length > 0, "a refusal has a reason");
        if (!DnsQuery.TryParse(bytes, out var query, out reason)) return;
        foreach (var transport in (DnsTransport[])[DnsTransport.Udp, DnsTransport.Tcp]) Answer(query, transport, count);
    }

    private void Answer(DnsQuery query, DnsTransport transport, int count)
    {
        var bytes = NameResolution.Decide(_mesh, _client, query.Question, Settings) is NameDecision.Answer answer
            ? AnswerWriter.Addresses(query, answer, [.. Enumerable.Range(0, count).Select(i => new IPAddress([10, 0, 0, (byte)i]))], query.Limit(transport))
            : AnswerWriter.Failure(query, DnsCode.ServerFailure);
        Demand.That(DnsMessage.TryParse(bytes, out var read, out var problem), $"an answer is a message: {problem}");
        Demand.Equal(query.Header.Id, read!.Header.Id, "the id");
        Demand.That(read.Header.IsResponse, "an answer says that it is one");
        Demand.SameSequence([query.Question], read.Questions, "the question");
        Demand.That(bytes.Length <= Math.Max(query.Limit(transport), DnsHeader.Bytes + query.QuestionBytes.Length + 11), $"an answer keeps to the client's limit: {bytes.Length} of {query.Limit(transport)}");
    }

    private static byte[] Hex(string message) => SeedBytes.Of(3, Convert.FromHexString(message));
}
