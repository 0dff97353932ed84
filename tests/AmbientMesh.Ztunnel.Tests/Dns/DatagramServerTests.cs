using System.Net;
using System.Net.Sockets;
using AmbientMesh.Model;
using AmbientMesh.Model.Tests;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Certificates;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.Dns;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.Reporting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.Ztunnel.Tests.Dns;

/// <summary>Queries as datagrams while a proxy ends: what it has taken it answers.</summary>
public sealed class DatagramServerTests : IAsyncDisposable
{
    private readonly FakeTimeProvider _clock = new();
    private readonly HoldingLog _log = new();
    private readonly SvidStore _svids;
    private readonly DatagramServer _server;
    private readonly Socket _client = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);

    public DatagramServerTests()
    {
        _svids = new SvidStore((id, _) => throw new SvidUnavailableException($"nobody to ask for {id}"), _clock, NullLogger.Instance);
        var settings = new ZtunnelSettings { NodeName = "n1", IPv6Enabled = false };
        var reports = new ConnectionReports(new TcpMetrics(new MetricRegistry()), new AccessLog(NullLoggerFactory.Instance), _clock);
        var pod = new PodContext(new WorkloadInfo("server", "default", "server"), new PodSockets(null, settings), new ProxyServices(new MeshBuilder("n1").Store, _svids, reports, settings, _clock, _log));
        var forwarder = new DnsForwarder(pod.Sockets, pod.Sockets, new NameServers("/nowhere/resolv.conf", _clock, NullLogger.Instance), _clock);
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        _server = new DatagramServer(socket, new QueryAnswering(pod, forwarder, new DnsMetrics(new MetricRegistry()), new QueryLimit(8, null)));
        _client.Connect(_server.EndPoint);
    }

    [Theory, InlineData(0), InlineData(2)]
    public async Task A_query_in_hand_and_those_behind_it_are_answered_before_the_drain_ends(int behind)
    {
        await SendAsync(1);
        await Patience.Within(_log.Reached);   // taken from the socket, and nothing has come of it yet
        for (var id = 2; id <= 1 + behind; id++) await SendAsync((byte)id);
        var draining = _server.DrainAsync(Patience.Token);
        await Eventually(() => !CanReach());
        Assert.False(draining.IsCompleted);
        _log.Release();
        await draining;
        for (var id = 1; id <= 1 + behind; id++) Assert.Equal(id, await AnswerAsync());
    }

    [Fact]
    public async Task A_query_that_waits_for_others_is_answered_before_the_drain_ends()
    {
        _log.Release();
        await _client.SendAsync(DnsMessageTests.Query("nowhere.test"), Patience.Token);
        await _clock.TimersArmedAsync(1, Patience.Token);   // it waits for discovery to tell who asks
        var draining = _server.DrainAsync(Patience.Token);
        await Eventually(() => !CanReach());
        Assert.False(draining.IsCompleted);
        _clock.Advance(QueryAnswering.ClientTimeout);
        await draining;
        await AnswerAsync();
    }

    [Fact]
    public async Task With_nothing_to_answer_a_drain_ends_at_once()
    {
        _log.Release();
        await _server.DrainAsync(Patience.Token);
        Assert.False(CanReach());
    }

    // Answered at once, after a line in the log: there is no such operation.
    private async Task SendAsync(byte id) => await _client.SendAsync(new byte[] { 0, id, 0x28, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, (byte)'x', 0, 0, 1, 0, 1 }, Patience.Token);

    private async Task<int> AnswerAsync()
    {
        var buffer = new byte[512];
        Assert.True(await _client.ReceiveAsync(buffer, Patience.Token) > 2);
        return buffer[1];
    }

    /// <summary>Whether a datagram of another client finds a socket; a connected one is none for it.</summary>
    private bool CanReach()
    {
        using var other = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        try
        {
            other.Connect(_server.EndPoint);
            other.Send([0]);
            other.Send([0]);   // says what became of the first
            return true;
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused)
        {
            return false;
        }
    }

    private static async Task Eventually(Func<bool> isSo)
    {
        using var turns = new PeriodicTimer(TimeSpan.FromMilliseconds(5));
        var limit = Patience.Token;
        while (!isSo()) await turns.WaitForNextTickAsync(limit);
    }

    public async ValueTask DisposeAsync()
    {
        _log.Release();
        await _server.DisposeAsync();
        _client.Dispose();
        await _svids.DisposeAsync();
        _log.Dispose();
    }

    /// <summary>Holds whoever writes a line, until it is released.</summary>
    private sealed class HoldingLog : ILoggerFactory, ILogger
    {
        private readonly TaskCompletionSource _reached = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly ManualResetEventSlim _released = new();

        public Task Reached => _reached.Task;

        public void Release() => _released.Set();

        public ILogger CreateLogger(string categoryName) => categoryName == "ztunnel::dns::server" ? this : NullLogger.Instance;
        public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;
        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            _reached.TrySetResult();
            _released.Wait(Patience.Token);
        }

        public void Dispose() => _released.Dispose();
    }
}
