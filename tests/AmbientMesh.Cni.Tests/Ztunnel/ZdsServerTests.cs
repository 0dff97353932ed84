using AmbientMesh.Cni.Node.Ztunnel;
using AmbientMesh.Kubernetes;
using AmbientMesh.Linux;
using AmbientMesh.Protocol.Zds;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.Cni.Tests.Ztunnel;

/// <summary>The agent's end of ZDS against a ztunnel that speaks the recorded bytes.</summary>
public sealed class ZdsServerTests : IAsyncDisposable
{
    private const string Recordings = "samples/ztunnel/zds";
    private const string First = "11111111-1111-1111-1111-111111111111", Second = "22222222-2222-2222-2222-222222222222";

    private readonly string _path = Path.Combine(Path.GetTempPath(), $"zds-{Guid.NewGuid():n}.sock");
    private readonly EnrolledPods _pods = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly SeqPacketListener _listener;
    private readonly ZdsServer _server;
    private readonly Task _running;

    public ZdsServerTests()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "Network namespaces need root.");
        _listener = SeqPacketListener.Bind(_path);
        _server = new ZdsServer(_pods, TimeProvider.System, NullLogger.Instance);
        _running = _server.RunAsync(_listener, _stop.Token);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Patience.Within(_running);
        _listener.Dispose();
        foreach (var pod in _pods.All) _pods.Remove(pod.Uid);
        _stop.Dispose();
    }

    [Fact, Scenario("L4-150", "L4-152")]
    public async Task What_is_sent_is_what_the_recorded_ztunnel_accepted_byte_for_byte()
    {
        var client = Pod(First, "client");
        var server = Pod(Second, "server");
        _pods.Put(client);
        using var ztunnel = await FakeZtunnel.ConnectAsync(_path, Samples.Hex($"{Recordings}/basic/01-z2a-hello.hex"));
        await RepliesAsync(ztunnel, client, "basic/02-a2z-add", "basic/03-z2a-reply-to-add");
        await RepliesAsync(ztunnel, null, "basic/08-a2z-snapshot-sent", "basic/09-z2a-reply-to-snapshot-sent");
        await ConnectedAsync(1);

        _pods.Put(server);
        var adding = _server.AddAsync(server, Patience.Token);
        await RepliesAsync(ztunnel, server, "basic/04-a2z-add", "basic/05-z2a-reply-to-add");
        await Patience.Within(adding);
        adding = _server.AddAsync(server, Patience.Token);
        await RepliesAsync(ztunnel, server, "basic/06-a2z-add-again-same-netns", "basic/07-z2a-reply-to-add-again-same-netns");
        await Patience.Within(adding);
        Assert.True(_server.Serves(First) && _server.Serves(Second));

        var deleting = _server.DeleteAsync(First, Patience.Token);
        await RepliesAsync(ztunnel, null, "basic/10-a2z-del", "basic/11-z2a-reply-to-del");
        await Patience.Within(deleting);
        Assert.False(_server.Serves(First));
    }

    [Fact, Scenario("L4-156")]
    public async Task A_pod_whose_namespace_is_not_found_is_kept()
    {
        var kept = Pod(Guid.NewGuid().ToString(), "kept") with { Namespace = null };
        var recorded = WorkloadRequest.Parser.ParseFrom(Samples.Hex($"{Recordings}/keep-and-add-without-fd/09-a2z-keep.hex"));
        _pods.Put(kept with { Uid = recorded.Keep.Uid });
        using var ztunnel = await FakeZtunnel.ConnectAsync(_path);
        await RepliesAsync(ztunnel, null, "keep-and-add-without-fd/09-a2z-keep", "keep-and-add-without-fd/10-z2a-reply-to-keep");
        await ztunnel.TakeSnapshotAsync();
        await ConnectedAsync(1);
        Assert.True(_server.Serves(recorded.Keep.Uid));
    }

    [Theory, Scenario("L4-151", "L4-153")]
    [InlineData("add-without-workload-info/03-z2a-reply-to-add-without-info", "workload_info is required")]
    [InlineData("keep-and-add-without-fd/07-z2a-reply-to-add-without-fd", "No control message")]
    [InlineData("proxy-start-failure/03-z2a-reply-to-add-while-port-15001-is-taken", "failure to start proxy")]
    [InlineData("undecodable/03-z2a-reply-to-garbage", "failure to read message")]
    public async Task A_recorded_refusal_reaches_the_caller_with_ztunnels_words(string reply, string words)
    {
        using var ztunnel = await ReadyAsync();
        var pod = Pod(First, "client");
        var adding = _server.AddAsync(pod, Patience.Token);
        await ztunnel.ReceiveAsync();
        await ztunnel.AnswerAsync(Samples.Hex($"{Recordings}/{reply}.hex"));
        var refusal = await Assert.ThrowsAsync<ZdsException>(() => Patience.Within(adding));
        Assert.True(refusal.IsRefusal);
        Assert.Contains(words, refusal.Message);
        Assert.False(_server.Serves(First));
        pod.Namespace!.Dispose();
    }

    [Fact, Scenario("L4-153")]
    public async Task A_pod_refused_in_the_snapshot_does_not_keep_the_others_from_it_and_counts_as_unserved()
    {
        _pods.Put(Pod(First, "client"));
        _pods.Put(Pod(Second, "server"));
        using var ztunnel = await FakeZtunnel.ConnectAsync(_path);
        var (_, refused, _) = await ztunnel.ReceiveAsync();
        await ztunnel.RefuseAsync("failure to start proxy : Bind");
        var taken = await ztunnel.TakeSnapshotAsync(pods: 1);
        await ConnectedAsync(1);
        Assert.False(_server.Serves(refused.Add.Uid));
        Assert.True(_server.Serves(taken[0]));
    }

    [Fact, Scenario("L4-170")]
    public async Task Without_a_ztunnel_a_pod_cannot_be_handed_over()
    {
        var refusal = await Assert.ThrowsAsync<ZdsException>(() => _server.AddAsync(Pod(First, "client") with { Namespace = null }, Patience.Token));
        Assert.Equal("no ztunnel connection", refusal.Message);
        Assert.False(refusal.IsRefusal);
    }

    [Fact, Scenario("L4-157")]
    public async Task Adds_go_to_the_newest_and_deletes_to_all_and_the_one_before_takes_over()
    {
        using var older = await ReadyAsync();
        var newer = await ReadyAsync(connected: 2);
        var pod = Pod(First, "client");
        _pods.Put(pod);

        var adding = _server.AddAsync(pod, Patience.Token);
        await newer.TakeAsync(WorkloadRequest.PayloadOneofCase.Add);
        await Patience.Within(adding);

        var deleting = _server.DeleteAsync(First, Patience.Token);
        await older.TakeAsync(WorkloadRequest.PayloadOneofCase.Del);
        await newer.TakeAsync(WorkloadRequest.PayloadOneofCase.Del);
        await Patience.Within(deleting);

        newer.Dispose();
        await ConnectedAsync(1);
        adding = _server.AddAsync(pod, Patience.Token);
        await older.TakeAsync(WorkloadRequest.PayloadOneofCase.Add);
        await Patience.Within(adding);
    }

    [Fact, Scenario("L4-154", "L4-155")]
    public async Task A_ztunnel_that_comes_back_gets_a_new_snapshot_of_what_is_enrolled_now()
    {
        _pods.Put(Pod(First, "client"));
        using (var before = await FakeZtunnel.ConnectAsync(_path)) Assert.Equal([First], await before.TakeSnapshotAsync(pods: 1));
        await ConnectedAsync(0);
        _pods.Remove(First);
        _pods.Put(Pod(Second, "server"));
        using var after = await FakeZtunnel.ConnectAsync(_path);
        Assert.Equal([Second], await after.TakeSnapshotAsync(pods: 1));
    }

    [Fact]
    public async Task The_namespace_that_is_handed_over_is_the_pods()
    {
        var pod = Pod(First, "client");
        _pods.Put(pod);
        using var ztunnel = await FakeZtunnel.ConnectAsync(_path);
        var (_, _, inside) = await ztunnel.ReceiveAsync();
        Assert.Equal(pod.Namespace!.Id, inside!.Id);
        inside.Dispose();
        await ztunnel.AnswerAsync(FakeZtunnel.Yes);
        await ztunnel.TakeSnapshotAsync();
    }

    [Fact]
    public async Task Changes_wait_until_the_snapshot_is_through()
    {
        _pods.Put(Pod(First, "client"));
        using var ztunnel = await FakeZtunnel.ConnectAsync(_path);
        var (_, add, _) = await ztunnel.ReceiveAsync();
        Assert.Equal(First, add.Add.Uid);
        var deleting = _server.DeleteAsync(First, Patience.Token);
        await ztunnel.AnswerAsync(FakeZtunnel.Yes);
        await ztunnel.TakeAsync(WorkloadRequest.PayloadOneofCase.SnapshotSent);
        await ztunnel.TakeAsync(WorkloadRequest.PayloadOneofCase.Del);
        await Patience.Within(deleting);
    }

    [Theory]
    [InlineData("")]
    [InlineData("ffffffff")]
    [InlineData("0a1066616c736520")]
    public async Task A_peer_whose_hello_is_none_is_sent_away_and_others_are_served(string hello)
    {
        using var stranger = await FakeZtunnel.ConnectAsync(_path, hello.Length == 0 ? new byte[2000] : Convert.FromHexString(hello));
        Assert.True(await stranger.IsClosedAsync());
        using var ztunnel = await ReadyAsync();
    }

    [Fact]
    public async Task An_answer_nobody_asked_for_ends_the_connection()
    {
        using var ztunnel = await ReadyAsync();
        await ztunnel.AnswerAsync(FakeZtunnel.Yes);
        Assert.True(await ztunnel.IsClosedAsync());
    }

    [Fact]
    public async Task An_answer_that_is_none_fails_the_request_and_ends_the_connection()
    {
        using var ztunnel = await ReadyAsync();
        var pod = Pod(First, "client");
        var adding = _server.AddAsync(pod, Patience.Token);
        await ztunnel.ReceiveAsync();
        await ztunnel.AnswerAsync([0xff, 0xff, 0xff]);
        var failure = await Assert.ThrowsAsync<ZdsException>(() => Patience.Within(adding));
        Assert.False(failure.IsRefusal);
        await ConnectedAsync(0);
        pod.Namespace!.Dispose();
    }

    [Fact]
    public async Task A_ztunnel_that_dies_before_answering_fails_the_request()
    {
        var ztunnel = await ReadyAsync();
        var pod = Pod(First, "client");
        var adding = _server.AddAsync(pod, Patience.Token);
        await ztunnel.ReceiveAsync();
        ztunnel.Dispose();
        await Assert.ThrowsAsync<ZdsException>(() => Patience.Within(adding));
        pod.Namespace!.Dispose();
    }

    [Fact]
    public async Task A_pod_whose_names_do_not_fit_is_refused_by_name()
    {
        using var ztunnel = await ReadyAsync();
        var pod = Pod(First, new string('x', 1100));
        var failure = await Assert.ThrowsAsync<ZdsException>(() => _server.AddAsync(pod, Patience.Token));
        Assert.Contains("1024", failure.Message);
        pod.Namespace!.Dispose();
    }

    private static EnrolledPod Pod(string uid, string name) => new(uid, new ObjectKey("default", name), name, [], NetworkNamespace.Create());

    private async Task<FakeZtunnel> ReadyAsync(int connected = 1)
    {
        var ztunnel = await FakeZtunnel.ConnectAsync(_path);
        await ztunnel.TakeSnapshotAsync();
        await ConnectedAsync(connected);
        return ztunnel;
    }

    private async Task ConnectedAsync(int count)
    {
        while (true)
        {
            var changed = _server.Changed;
            if (_server.Connected == count) return;
            await Patience.Within(changed);
        }
    }

    private static async Task RepliesAsync(FakeZtunnel ztunnel, EnrolledPod? pod, string request, string reply)
    {
        var (bytes, _, inside) = await ztunnel.ReceiveAsync();
        Assert.Equal(Convert.ToHexStringLower(Samples.Hex($"{Recordings}/{request}.hex")), Convert.ToHexStringLower(bytes));
        Assert.Equal(pod?.Namespace?.Id, inside?.Id);
        inside?.Dispose();
        await ztunnel.AnswerAsync(Samples.Hex($"{Recordings}/{reply}.hex"));
    }
}
