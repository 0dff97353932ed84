using AmbientMesh.Linux;
using AmbientMesh.Model;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.InPod;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Win32.SafeHandles;

namespace AmbientMesh.Ztunnel.Tests;

/// <summary>The recorded sessions between agent and ztunnel, byte for byte, over a real socket.</summary>
public sealed class ZdsReplayTests : IAsyncLifetime
{
    private sealed class FakeProxy : IPodProxy
    {
        public bool IsStopped { get; private set; }

        public Task StopAsync()
        {
            IsStopped = true;
            return Task.CompletedTask;
        }
    }

    private readonly string _folder = Directory.CreateTempSubdirectory("amz-zdsreplay-").FullName;
    private readonly Readiness _readiness = new();
    private readonly MetricRegistry _metrics = new();
    private readonly FakeTimeProvider _clock = new();
    private readonly List<(Pod Pod, FakeProxy Proxy)> _started = [];
    private readonly CancellationTokenSource _stop = new();
    private readonly HashSet<string> _taken = [];
    private SeqPacketListener _listener = null!;
    private SeqPacketConnection? _agent;
    private Task _running = null!;

    public ValueTask InitializeAsync()
    {
        var path = Path.Combine(_folder, "z.sock");
        _listener = SeqPacketListener.Bind(path);
        var pods = new PodTable(pod =>
        {
            if (_taken.Contains(pod.Uid)) return Task.FromException<IPodProxy>(new IOException("Bind([::]:15001, Os { code: 98, kind: AddrInUse, message: \"Address already in use\" })"));
            _started.Add((pod, new FakeProxy()));
            return Task.FromResult<IPodProxy>(_started[^1].Proxy);
        }, _readiness, _metrics, NullLogger.Instance);
        _running = new ZdsClient(path, pods, _clock, NullLogger.Instance).RunAsync(_stop.Token);
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _agent?.Dispose();
        await _running.ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        _listener.Dispose();
        _stop.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_pod_whose_sockets_cannot_be_made_waits_for_the_next_try()
    {
        var fails = true;
        var pods = new PodTable(_ => fails ? throw new System.Net.Sockets.SocketException((int)System.Net.Sockets.SocketError.TooManyOpenSockets) : Task.FromResult<IPodProxy>(new FakeProxy()),
            new Readiness(), new MetricRegistry(), NullLogger.Instance);
        pods.BeginSnapshot();
        var error = await pods.HandleAsync(new ZdsMessage.Add("u", new WorkloadInfo("p", "default", "p"), NetworkNamespace.Current()));
        Assert.StartsWith("failure to start proxy : ", error, StringComparison.Ordinal);
        Assert.True(pods.HasPending);
        fails = false;
        await pods.RetryPendingAsync();
        Assert.False(pods.HasPending);
        Assert.NotNull(Assert.Single(pods.Pods).Proxy);
        await pods.StopAllAsync();
    }

    /// <summary>Plays a recorded session: sends every a2z packet, compares every z2a packet. A descriptor goes along where the recording had one.</summary>
    private async Task PlayAsync(string session, Func<string, SafeFileHandle>? descriptor = null)
    {
        using var own = NetworkNamespace.Current();
        foreach (var file in Directory.EnumerateFiles(Samples.Path($"samples/ztunnel/zds/{session}"), "*.hex").Order())
        {
            var bytes = Convert.FromHexString(File.ReadAllText(file).Trim());
            var name = Path.GetFileName(file);
            if (name.Contains("-hello")) _agent = await AcceptAsync();
            if (name.Contains("-a2z-")) await _agent!.SendAsync(bytes, File.ReadAllText(Path.ChangeExtension(file, ".txt")).Contains("one SCM_RIGHTS fd") ? (descriptor?.Invoke(name) ?? own.Handle) : null, Patience.Token);
            else
            {
                using var packet = await _agent!.ReceiveAsync(1024, Patience.Token);
                if (name.Contains("garbage")) Assert.StartsWith(DecoderPrefix, ErrorOf(packet.Bytes.Span));   // the decoder's own words follow
                else Assert.Equal(name + Convert.ToHexString(bytes), name + Convert.ToHexString(packet.Bytes.Span));
            }
        }
    }

    private const string DecoderPrefix = "failure to read message : failed to decode Protobuf message: ";

    private static string ErrorOf(ReadOnlySpan<byte> acknowledgement) => AmbientMesh.Protocol.Zds.WorkloadResponse.Parser.ParseFrom(acknowledgement).Ack.Error;

    private async Task<SeqPacketConnection> AcceptAsync()
    {
        var accepting = _listener.AcceptAsync(Patience.Token).AsTask();
        while (!accepting.IsCompleted)
        {
            // The proxy waits on the test's clock before it connects again.
            await Task.WhenAny(accepting, _clock.TimersArmedAsync(1, Patience.Token));
            if (!accepting.IsCompleted) _clock.Advance(TimeSpan.FromMilliseconds(20));
        }
        return await accepting;
    }

    private int Running => _started.Count(s => !s.Proxy.IsStopped);

    [Fact, Scenario("L4-150", "L4-152")]
    public async Task A_whole_session()
    {
        _readiness.Wait(PodTable.ReadinessTask);
        await PlayAsync("basic");
        Assert.Equal(3, _started.Count);   // the repeated Add started nothing
        Assert.Equal(2, Running);
        Assert.Equal(new WorkloadInfo("client", "default", "client"), _started[0].Pod.Info);
        Assert.True(_readiness.IsReady);
    }

    [Fact, Scenario("L4-151", "L4-156")]
    public async Task Add_without_descriptor_then_reconnect_then_keep_after_the_snapshot()
    {
        await PlayAsync("keep-and-add-without-fd");
        await Assert.ThrowsAsync<ZdsProtocolException>(() => Patience.Within(_running));
        Assert.False(_readiness.IsReady);
    }

    [Theory, Scenario("L4-151")]
    [InlineData("add-without-workload-info")]
    [InlineData("snapshot-twice")]
    public async Task A_broken_protocol_ends_the_process(string session)
    {
        await PlayAsync(session);
        await Assert.ThrowsAsync<ZdsProtocolException>(() => Patience.Within(_running));
    }

    [Theory]
    [InlineData("undecodable")]
    [InlineData("empty-payload")]
    [InlineData("fd-on-del")]
    public async Task An_unreadable_message_ends_the_connection_and_the_proxy_comes_back(string session)
    {
        await PlayAsync(session);
        using (var end = await _agent!.ReceiveAsync(1024, Patience.Token)) Assert.True(end.IsEnd);
        using var again = await AcceptAsync();
        using var hello = await again.ReceiveAsync(1024, Patience.Token);
        Assert.Equal("0801", Convert.ToHexString(hello.Bytes.Span));
    }

    [Theory]
    [InlineData("del-unknown-uid", 0)]
    [InlineData("del-before-snapshot", 0)]
    public async Task Deletes_are_acknowledged(string session, int running)
    {
        await PlayAsync(session);
        Assert.Equal(running, Running);
        Assert.True(_readiness.IsReady);
    }

    [Fact, Scenario("L4-153")]
    public async Task A_pod_that_cannot_start_is_refused_with_the_kernels_words_and_tried_again()
    {
        _taken.Add("11111111-1111-1111-1111-111111111111");
        await PlayAsync("proxy-start-failure");
        Assert.True(_readiness.IsReady);   // the last message took the waiting pod back
        Assert.Equal(2, Running);
    }

    [Fact]
    public async Task A_descriptor_that_is_no_network_namespace_is_refused()
    {
        using var file = File.OpenHandle(Path.Combine(_folder, "plain"), FileMode.Create, FileAccess.ReadWrite);
        _agent = await AcceptAsync();
        using (await _agent.ReceiveAsync(1024, Patience.Token)) { }
        var add = Samples.Hex("samples/ztunnel/zds/basic/02-a2z-add.hex");
        await _agent.SendAsync(add, file, Patience.Token);
        using var answer = await _agent.ReceiveAsync(1024, Patience.Token);
        Assert.Contains("failure to read message : the descriptor is unusable", System.Text.Encoding.UTF8.GetString(answer.Bytes.Span));
        Assert.Empty(_started);
    }

    [Fact]
    public async Task A_message_over_the_limit_is_refused()
    {
        _agent = await AcceptAsync();
        using (await _agent.ReceiveAsync(1024, Patience.Token)) { }
        await _agent.SendAsync(new byte[2000], null, Patience.Token);
        using var answer = await _agent.ReceiveAsync(1024, Patience.Token);
        Assert.Contains("failure to read message : message was truncated", System.Text.Encoding.UTF8.GetString(answer.Bytes.Span));
    }
}
