using System.Net;
using AmbientMesh.Ztunnel.Dns;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>Name servers that are silent, lie or refuse. Each test has servers of its own, since the proxy remembers how they were.</summary>
public sealed class DnsSilenceTests : IAsyncLifetime
{
    private readonly DnsMesh _mesh = new();

    public ValueTask InitializeAsync() => _mesh.InitializeAsync();

    public ValueTask DisposeAsync() => _mesh.DisposeAsync();

    private async Task<byte[]> AskAsync(byte[] query, bool tcp = false) => await DnsClient.AskAsync(_mesh.Client, _mesh.FirstPod.V4, query, tcp);

    private void Reset()
    {
        _mesh.First.Answer = _mesh.Second.Answer = (query, _) => DnsMesh.NoSuchName(query);
        _mesh.First.Forget();
        _mesh.Second.Forget();
    }

    [Fact]
    public async Task Answers_that_are_none_to_the_question_are_passed_over()
    {
        Reset();
        var query = DnsClient.Query("spoof.test", id: 9);
        // The right answer comes from the second server; what the first one sends must not end the wait.
        _mesh.First.Answer = (asked, _) => DnsMesh.Response([.. asked[..2], .. DnsClient.Query("other.test")[2..]], 0x8180);
        var asking = AskAsync(query);
        await Eventually.IsTrueAsync(() => _mesh.First.Seen.Count > 0, "the first server is asked");
        var answer = await _mesh.AfterAsync(DnsForwarder.NextTry, () => asking);
        Assert.Equal(Convert.ToHexString(DnsMesh.NoSuchName(query)), Convert.ToHexString(answer));
        Assert.NotEmpty(_mesh.Second.Seen);
    }

    [Fact, Scenario("L4-177")]
    public async Task A_silent_server_costs_one_pause_and_the_next_one_answers_over_ipv6()
    {
        _mesh.First.Answer = (_, _) => null;
        var query = DnsClient.Query("second.test");
        Assert.Equal(Convert.ToHexString(DnsMesh.NoSuchName(query)), Convert.ToHexString(await _mesh.AfterAsync(DnsForwarder.NextTry, () => AskAsync(query))));
        Assert.All(_mesh.Second.Seen, seen => Assert.Equal(_mesh.Client.V6, seen.Peer.Address));

        // From now on the silent one is asked last, and costs no pause.
        _mesh.First.Forget();
        await AskAsync(query);
        Assert.Empty(_mesh.First.Seen);
    }

    [Fact]
    public async Task A_server_that_refuses_or_fails_is_followed_by_the_next_and_its_word_counts_when_it_is_the_only_one()
    {
        var query = DnsClient.Query("refused.test");
        _mesh.First.Answer = _mesh.Second.Answer = (asked, _) => DnsMesh.Response(asked, 0x8185);
        Assert.Equal(Convert.ToHexString(DnsMesh.Response(query, 0x8185)), Convert.ToHexString(await AskAsync(query)));
        Assert.NotEmpty(_mesh.First.Seen);
        Assert.NotEmpty(_mesh.Second.Seen);
        _mesh.First.Answer = (asked, _) => DnsMesh.NoSuchName(asked);
        Assert.Equal(Convert.ToHexString(DnsMesh.NoSuchName(query)), Convert.ToHexString(await AskAsync(query)));
    }

    [Fact]
    public async Task Servers_that_never_answer_fail_lookups_in_time_leave_names_of_the_mesh_alone_and_recover()
    {
        _mesh.First.Answer = _mesh.Second.Answer = (_, _) => null;
        var failures = Failures();

        // More than may wait: the ones beyond are refused at once.
        using var socket = _mesh.Client.Namespace.Run(() => new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.InterNetwork, System.Net.Sockets.SocketType.Dgram, System.Net.Sockets.ProtocolType.Udp));
        socket.ReceiveBufferSize = 1 << 20;   // all answers come at once
        await socket.ConnectAsync(new IPEndPoint(_mesh.FirstPod.V4, 53), Patience.Token);
        for (var id = 0; id < QueryLimit.PerPod + 44; id++) await socket.SendAsync(DnsClient.Query($"silent{id}.test", id: (ushort)id), Patience.Token);
        for (var i = 0; i < 44; i++) Assert.Equal(2, await CodeAsync());   // no time has passed

        // The mesh's own names do not wait for anybody.
        Assert.Equal("10.1.0.1", new IPAddress((await AskAsync(DnsClient.Query("productpage")))[^4..]).ToString());

        // The others are given up when their time is over, and not before.
        await _mesh.Clock.TimersAsync(times => times.Count(time => time == DnsForwarder.NextTry) == QueryLimit.PerPod, Patience.Token);
        Assert.Equal((0, failures), (socket.Available, Failures()));
        _mesh.Clock.Advance(DnsForwarder.Patience);
        for (var i = 0; i < QueryLimit.PerPod; i++) Assert.Equal(2, await CodeAsync());
        await _mesh.Node.MetricReachesAsync(failures + QueryLimit.PerPod, "istio_dns_upstream_failures_total", "source_canonical_service=\"client\"");

        Reset();
        var query = DnsClient.Query("again.test");
        Assert.Equal(Convert.ToHexString(DnsMesh.NoSuchName(query)), Convert.ToHexString(await AskAsync(query)));
        Assert.Equal(Convert.ToHexString(DnsMesh.NoSuchName(query)), Convert.ToHexString(await AskAsync(query, tcp: true)));

        double Failures() => _mesh.Node.Metric("istio_dns_upstream_failures_total", "source_canonical_service=\"client\"");

        async Task<int> CodeAsync()
        {
            var buffer = new byte[512];
            await socket.ReceiveAsync(buffer, Patience.Token);
            return buffer[3] & 0xf;
        }
    }
}
