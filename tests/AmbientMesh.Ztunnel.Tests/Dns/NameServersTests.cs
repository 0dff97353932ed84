using System.Net;
using AmbientMesh.Ztunnel.Dns;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.Ztunnel.Tests.Dns;

public sealed class NameServersTests : IDisposable
{
    private readonly string _file = Path.GetTempFileName();
    private readonly FakeTimeProvider _clock = new();

    private NameServers Servers => new(_file, _clock, NullLogger.Instance);

    public void Dispose() => File.Delete(_file);

    private static string[] Text(IEnumerable<IPEndPoint> servers) => [.. servers.Select(s => s.ToString())];

    [Fact]
    public void The_file_is_read_as_resolvers_read_it() => Assert.Equal(["10.0.0.10:53", "[fd00::10]:53", "[fe80::1%3]:53"], Text(ResolverFile.NameServers("""
        # generated
        search a.svc.cluster.local svc.cluster.local
        nameserver 10.0.0.10
        nameserver	fd00::10   # second
        nameserver nonsense
        nameserver 10.0.0.10
        options ndots:5 timeout:1
        nameserver fe80::1%3
        nameserver 10.0.0.12
        """)));

    [Fact]
    public void A_silent_server_is_asked_last_for_a_while_and_first_again_when_it_answers()
    {
        File.WriteAllText(_file, "nameserver 10.0.0.1\nnameserver 10.0.0.2\n");
        var servers = Servers;
        var first = servers.InOrder()[0];
        servers.DidNotAnswer(first);
        Assert.Equal(["10.0.0.2:53", "10.0.0.1:53"], Text(servers.InOrder()));
        servers.Answered(first);
        Assert.Equal(["10.0.0.1:53", "10.0.0.2:53"], Text(servers.InOrder()));
        servers.DidNotAnswer(first);
        _clock.Advance(TimeSpan.FromSeconds(11));
        Assert.Equal(["10.0.0.1:53", "10.0.0.2:53"], Text(servers.InOrder()));
    }

    [Fact]
    public void A_changed_file_counts_and_a_missing_one_leaves_the_last_in_use()
    {
        File.WriteAllText(_file, "nameserver 10.0.0.1\n");
        var servers = Servers;
        Assert.Equal(["10.0.0.1:53"], Text(servers.InOrder()));
        File.WriteAllText(_file, "nameserver 10.0.0.99\n# changed\n");
        _clock.Advance(TimeSpan.FromSeconds(6));
        Assert.Equal(["10.0.0.99:53"], Text(servers.InOrder()));
        File.Delete(_file);
        _clock.Advance(TimeSpan.FromSeconds(6));
        Assert.Equal(["10.0.0.99:53"], Text(servers.InOrder()));
    }

    [Fact]
    public void A_missing_file_names_no_server_until_it_is_there()
    {
        File.Delete(_file);
        var servers = Servers;
        Assert.Empty(servers.InOrder());
        File.WriteAllText(_file, "nameserver 10.0.0.1\n");
        _clock.Advance(TimeSpan.FromSeconds(6));
        Assert.Equal(["10.0.0.1:53"], Text(servers.InOrder()));
    }

    [Fact]
    public void Places_are_bounded_for_a_pod_and_for_the_node()
    {
        var node = new QueryLimit(3, null);
        var (one, other) = (new QueryLimit(2, node), new QueryLimit(2, node));
        Assert.Equal((true, true, false), (one.TryEnter(), one.TryEnter(), one.TryEnter()));
        Assert.Equal((true, false), (other.TryEnter(), other.TryEnter()));
        one.Leave();
        Assert.True(other.TryEnter());
        Assert.Equal((1, 2, 3), (one.Waiting, other.Waiting, node.Waiting));
    }
}
