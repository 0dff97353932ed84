using AmbientMesh.Model.Tests;
using AmbientMesh.Ztunnel.Dns;

namespace AmbientMesh.Ztunnel.Tests.Dns;

/// <summary>The recorded answers of the original, byte for byte, for everything it answers by itself.</summary>
public sealed class RecordedAnswerTests
{
    private static readonly NameSettings Names = new("cluster.local", null, AnswersIpv6: true);

    // The mesh the recordings were made in.
    private static MeshBuilder Mesh => new MeshBuilder()
        .Pod("client", "10.98.0.1,fd98::1")
        .Pod("server", "10.98.0.2,fd98::2", with: w => w.Backs("hl"))
        .Service("server", "10.198.0.2")
        .Service("hb", "10.198.0.5,fd98:198::5")
        .Service("hl")
        .Service("www.example.com", "10.198.0.9");

    [Theory]
    [InlineData("udp-01-a-service-fqdn"), InlineData("udp-02-a-service-short"), InlineData("udp-03-aaaa-of-ipv4-only-service"), InlineData("udp-05-a-search-domain-cname")]
    [InlineData("udp-07-aaaa-dual-stack-service"), InlineData("udp-09-a-headless-service"), InlineData("udp-10-aaaa-headless-service"), InlineData("udp-11-mixed-case")]
    [InlineData("udp-12-edns"), InlineData("udp-13-two-labels"), InlineData("udp-14-three-labels-svc"), InlineData("udp-17-serviceentry-host"), InlineData("udp-19-query-with-ad-cd")]
    [InlineData("tcp-01-a-service-fqdn"), InlineData("tcp-02-a-service-short"), InlineData("tcp-03-aaaa-of-ipv4-only-service"), InlineData("tcp-05-a-search-domain-cname")]
    public void A_name_of_the_mesh_is_answered_with_the_recorded_bytes(string recording)
    {
        var (query, response) = Read(recording);
        Assert.True(DnsQuery.TryParse(query, out var parsed, out var reason), reason);
        var answer = Assert.IsType<NameDecision.Answer>(NameResolution.Decide(Mesh.Mesh, Mesh.Find("client"), parsed.Question, Names));

        Assert.Equal(Convert.ToHexString(response), Convert.ToHexString(AnswerWriter.Addresses(parsed, answer, answer.Addresses, parsed.Limit(DnsTransport.Udp))));
    }

    [Theory]
    [InlineData("udp-04-a-unknown-forwarded"), InlineData("udp-06-a-nxdomain-from-upstream"), InlineData("udp-08-mx-forwarded"), InlineData("udp-15-unknown-in-cluster-domain"), InlineData("udp-18-any-type")]
    public void Everything_else_is_forwarded(string recording)
    {
        Assert.True(DnsQuery.TryParse(Read(recording).Query, out var parsed, out var reason), reason);

        Assert.IsType<NameDecision.Forward>(NameResolution.Decide(Mesh.Mesh, Mesh.Find("client"), parsed.Question, Names));
    }

    [Theory]
    [InlineData("udp-16-opcode-status", DnsCode.NotImplemented), InlineData("udp-30-servfail-unknown-client", DnsCode.ServerFailure), InlineData("tcp-30-servfail-unknown-client", DnsCode.ServerFailure)]
    public void Failures_have_the_recorded_bytes(string recording, DnsCode code)
    {
        var (query, response) = Read(recording);
        Assert.True(DnsQuery.TryParse(query, out var parsed, out var reason), reason);

        Assert.Equal(Convert.ToHexString(response), Convert.ToHexString(AnswerWriter.Failure(parsed, code)));
    }

    private static (byte[] Query, byte[] Response) Read(string recording)
    {
        var lines = Samples.Text($"samples/ztunnel/dns/{recording}.txt").Split('\n');
        return (Hex("query"), Hex("response"));

        byte[] Hex(string word) => Convert.FromHexString(lines.First(l => l.StartsWith(word + " ", StringComparison.Ordinal))[word.Length..].Trim());
    }
}
