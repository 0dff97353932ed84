using System.Net;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Network;
using FsCheck;
using FsCheck.Fluent;

namespace AmbientMesh.Lab.Tests.Network;

public sealed class ClusterNamesTests
{
    private static readonly JsonObject[] s_services =
    [
        Object("""{"metadata":{"name":"web","namespace":"demo"},"spec":{"clusterIP":"10.96.0.7","clusterIPs":["10.96.0.7","fd00:10:96::7"],"ports":[{"name":"http","port":80,"protocol":"TCP"}]}}"""),
        Object("""{"metadata":{"name":"db","namespace":"demo"},"spec":{"clusterIP":"None","clusterIPs":["None"],"ports":[{"name":"sql","port":5432}]}}"""),
        Object("""{"metadata":{"name":"out","namespace":"demo"},"spec":{"type":"ExternalName","externalName":"example.org."}}"""),
    ];

    private static readonly JsonObject s_slice = Object("""
        {"addressType":"IPv4","endpoints":[{"addresses":["10.244.1.2"],"hostname":"db-0","conditions":{"ready":true}},{"addresses":["10.244.2.2"],"conditions":{"ready":true}},
         {"addresses":["10.244.2.9"],"conditions":{"ready":false}}],"ports":[{"name":"sql","protocol":"TCP","port":5432}]}
        """);

    private static readonly NamesView s_view = new(
        (ns, name) => Array.Find(s_services, s => s.Namespace() == ns && s.Name() == name), (_, name) => name == "db" ? [s_slice] : [], () => s_services, ns => ns == "demo");

    [Theory]
    [InlineData("web.demo.svc.cluster.local", DnsType.A, "10.96.0.7")]
    [InlineData("web.demo.svc.cluster.local", DnsType.Aaaa, "fd00:10:96::7")]
    [InlineData("db.demo.svc.cluster.local", DnsType.A, "10.244.1.2 10.244.2.2")]
    [InlineData("db-0.db.demo.svc.cluster.local", DnsType.A, "10.244.1.2")]
    [InlineData("10-244-2-2.db.demo.svc.cluster.local", DnsType.A, "10.244.2.2")]
    [InlineData("10-244-9-9.demo.pod.cluster.local", DnsType.A, "10.244.9.9")]
    [InlineData("out.demo.svc.cluster.local", DnsType.A, "example.org")]
    [InlineData("7.0.96.10.in-addr.arpa", DnsType.Ptr, "web.demo.svc.cluster.local")]
    [InlineData("2.1.244.10.in-addr.arpa", DnsType.Ptr, "db-0.db.demo.svc.cluster.local")]
    [InlineData("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa", DnsType.Ptr, "web.demo.svc.cluster.local")]
    [InlineData("_http._tcp.web.demo.svc.cluster.local", DnsType.Srv, "web.demo.svc.cluster.local:80")]
    [InlineData("_sql._tcp.db.demo.svc.cluster.local", DnsType.Srv, "db-0.db.demo.svc.cluster.local:5432 10-244-2-2.db.demo.svc.cluster.local:5432")]
    public void Names_of_services_and_pods_resolve(string name, DnsType type, string expected)
    {
        var answer = ClusterNames.Resolve(s_view, name, type);
        Assert.Equal(DnsCode.NoError, answer.Code);
        Assert.Equal(expected, string.Join(' ', answer.Records.Select(r => r.Address?.ToString() ?? (r.Type == DnsType.Srv ? $"{r.Target}:{r.Port}" : r.Target))));
    }

    [Theory]
    [InlineData("nosuch.demo.svc.cluster.local")]
    [InlineData("web.nosuch.svc.cluster.local")]
    [InlineData("pod.web.demo.svc.cluster.local")]
    [InlineData("db-9.db.demo.svc.cluster.local")]
    [InlineData("example.org")]
    [InlineData("9.9.9.9.in-addr.arpa")]
    [InlineData("1.2.in-addr.arpa")]
    public void Other_names_do_not_exist(string name) => Assert.Equal(DnsCode.NoSuchName, ClusterNames.Resolve(s_view, name, DnsType.A).Code);

    [Fact]
    public void A_name_without_an_address_of_the_family_exists_and_is_empty()
    {
        var answer = ClusterNames.Resolve(s_view, "db.demo.svc.cluster.local", DnsType.Aaaa);
        Assert.Equal((DnsCode.NoError, 0), (answer.Code, answer.Records.Count));
    }

    [Fact]
    public void An_answer_longer_than_the_asker_takes_is_cut_after_whole_records_and_says_so()
    {
        var records = Enumerable.Range(0, 100).Select(i => new DnsRecord("db.demo.svc.cluster.local", DnsType.A, IPAddress.Parse($"10.244.1.{i}"))).ToArray();
        var answer = DnsMessage.WriteAnswer(new DnsQuestion(7, "db.demo.svc.cluster.local", DnsType.A, true), DnsCode.NoError, records, 512);
        Assert.InRange(answer.Length, 400, 512);
        Assert.Equal(0x02, answer[2] & 0x02);
        Assert.InRange((answer[6] << 8) | answer[7], 1, 99);
    }

    [Fact]
    public void Hostile_bytes_are_not_answered_and_break_nothing() => Prop.ForAll<byte[]>(bytes =>
    {
        _ = DnsMessage.ReadQuestion(bytes);
        return true;
    }).QuickCheckThrowOnFailure();

    private static JsonObject Object(string json) => JsonNode.Parse(json)!.AsObject();

    [Fact]
    public void The_lab_has_records_of_every_shape()
    {
        Assert.Equal(14, ClusterNames.Resolve(s_view, "big.records.lab", DnsType.Txt).Records.Count);
        Assert.Equal(2, ClusterNames.Resolve(s_view, "mail.records.lab", DnsType.Mx).Records.Count);
        Assert.Equal([DnsType.CName, DnsType.A], ClusterNames.Resolve(s_view, "alias.records.lab", DnsType.A).Records.Select(r => r.Type));
        Assert.Equal(DnsCode.NoSuchName, ClusterNames.Resolve(s_view, "none.records.lab", DnsType.A).Code);
        Assert.Single(ClusterNames.Resolve(s_view, "dns-version.cluster.local", DnsType.Txt).Records);
    }

    [Fact]
    public void An_answer_to_an_extended_question_is_extended_and_as_long_as_it_allows()
    {
        var records = ClusterNames.Resolve(s_view, "big.records.lab", DnsType.Txt).Records;
        byte[] query = [.. DnsMessage.WriteAnswer(new DnsQuestion(7, "big.records.lab", DnsType.Txt, true), DnsCode.NoError, [], 512)[..33], 0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0];
        (query[2], query[9]) = (1, 0);
        var question = DnsMessage.ReadQuestion(query);
        Assert.Equal((ushort)4096, question?.PayloadBytes);
        Assert.InRange(DnsMessage.WriteAnswer(question!, DnsCode.NoError, records, 4096).Length, 3500, 4096);
        var cut = DnsMessage.WriteAnswer(question!, DnsCode.NoError, records, 512);
        Assert.Equal((0x02, 1), (cut[2] & 0x02, cut[11]));
        Assert.InRange(cut.Length, 100, 512);
    }
}
