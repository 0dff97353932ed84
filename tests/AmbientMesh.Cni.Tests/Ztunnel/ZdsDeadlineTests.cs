using AmbientMesh.Cni.Node.Ztunnel;
using AmbientMesh.Kubernetes;
using AmbientMesh.Linux;
using AmbientMesh.Protocol.Zds;

namespace AmbientMesh.Cni.Tests.Ztunnel;

/// <summary>ztunnels that are slow, on a clock the test moves.</summary>
public sealed class ZdsDeadlineTests : IDisposable
{
    private readonly string _path = Path.Combine(Path.GetTempPath(), $"zds-{Guid.NewGuid():n}.sock");
    private readonly FakeTimeProvider _clock = new();
    private readonly SeqPacketListener _listener;

    public ZdsDeadlineTests() => _listener = SeqPacketListener.Bind(_path);

    public void Dispose() => _listener.Dispose();

    [Fact]
    public async Task A_peer_that_says_nothing_is_sent_away_after_five_seconds()
    {
        using var silent = await SeqPacketConnection.ConnectAsync(_path, Patience.Token);
        using var connection = new ZdsConnection(1, await _listener.AcceptAsync(Patience.Token), _clock);
        var opening = connection.OpenAsync(_ => Task.CompletedTask, Patience.Token);
        await _clock.TimersArmedAsync(1, Patience.Token);
        _clock.Advance(ZdsConnection.Deadline);
        var failure = await Assert.ThrowsAsync<ZdsException>(() => Patience.Within(opening));
        Assert.Contains("no hello", failure.Message);
    }

    [Fact]
    public async Task An_answer_after_its_deadline_is_not_taken_for_the_answer_to_the_next_request()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "Network namespaces need root.");
        using var ztunnel = await FakeZtunnel.ConnectAsync(_path);
        using var connection = new ZdsConnection(1, await _listener.AcceptAsync(Patience.Token), _clock);
        var opening = connection.OpenAsync(_ => Task.CompletedTask, Patience.Token);
        await ztunnel.TakeAsync(WorkloadRequest.PayloadOneofCase.SnapshotSent);
        await Patience.Within(opening);

        using var inside = NetworkNamespace.Create();
        var slow = new EnrolledPod("slow", new ObjectKey("default", "slow"), "sa", [], inside);
        var adding = connection.AddAsync(slow, Patience.Token);
        await ztunnel.ReceiveAsync();
        await _clock.TimersArmedAsync(1, Patience.Token);
        _clock.Advance(ZdsConnection.Deadline);
        Assert.Contains("5 s", (await Assert.ThrowsAsync<ZdsException>(() => Patience.Within(adding))).Message);

        var next = connection.AddAsync(slow with { Uid = "next" }, Patience.Token);
        await ztunnel.ReceiveAsync();
        await ztunnel.AnswerAsync(FakeZtunnel.Yes);                     // for the slow one
        await ztunnel.RefuseAsync("failure to start proxy : Bind");     // for the next one
        Assert.True((await Assert.ThrowsAsync<ZdsException>(() => Patience.Within(next))).IsRefusal);
        Assert.False(connection.Serves("next"));
        Assert.False(connection.Closed.IsCompleted);
    }
}
