using System.Net;
using AmbientMesh.Linux;
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

namespace AmbientMesh.Ztunnel.Tests;

/// <summary>A namespace without the addresses of the workload it was paired with (T-24).</summary>
public sealed class MisfitTests : IAsyncDisposable
{
    private readonly FakeTimeProvider _clock = new();
    private readonly KeptLog _log = new();
    private readonly MeshBuilder _mesh = new MeshBuilder("n1").Pod("server", "10.9.9.9").Service("known", "10.1.0.1");
    private readonly SvidStore _svids;
    private readonly NetworkNamespace _empty;
    private readonly PodContext _pod;

    public MisfitTests()
    {
        Assert.SkipUnless(Environment.UserName == "root", "Network namespaces need root.");
        _empty = NetworkNamespace.Create();
        _svids = new SvidStore((id, _) => throw new SvidUnavailableException($"nobody to ask for {id}"), _clock, NullLogger.Instance);
        var settings = new ZtunnelSettings { NodeName = "n1", IPv6Enabled = false };
        var reports = new ConnectionReports(new TcpMetrics(new MetricRegistry()), new AccessLog(NullLoggerFactory.Instance), _clock);
        _pod = new PodContext(new WorkloadInfo("server", "default", "server"), new PodSockets(_empty, settings), new ProxyServices(_mesh.Store, _svids, reports, settings, _clock, _log));
    }

    [Fact, Scenario("T-24")]
    public void It_is_told_once_for_each_version_of_the_workload_however_often_it_is_asked_for()
    {
        for (var i = 0; i < 100; i++)
        {
            Assert.Null(_pod.WorkloadIn(_mesh.Mesh));
            _clock.Advance(TimeSpan.FromMilliseconds(100));
        }
        Assert.Single(_log.At(LogLevel.Error));
        _mesh.Pod("server", "10.9.9.10");
        Assert.Null(_pod.WorkloadIn(_mesh.Mesh));
        Assert.Equal(2, _log.At(LogLevel.Error).Count);
    }

    [Fact, Scenario("T-24")]
    public async Task Its_lookups_are_not_answered_as_that_workloads()
    {
        var metrics = new DnsMetrics(new MetricRegistry());
        var forwarder = new DnsForwarder(_pod.Sockets, _pod.Sockets, new NameServers("/nowhere/resolv.conf", _clock, NullLogger.Instance), _clock);
        var answering = new QueryAnswering(_pod, forwarder, metrics, new QueryLimit(1, null));
        var asking = answering.AnswerAsync(Dns.DnsMessageTests.Query("known.default.svc.cluster.local"), DnsTransport.Udp, new IPEndPoint(IPAddress.Loopback, 1), null, Patience.Token).AsTask();
        Assert.False(asking.IsCompleted);
        await _clock.TimersArmedAsync(1, Patience.Token);
        _clock.Advance(TimeSpan.FromSeconds(3));
        var answer = await Patience.Within(asking);
        Assert.Equal((int)DnsCode.ServerFailure, answer![3] & 0xf);
    }

    public async ValueTask DisposeAsync()
    {
        _empty?.Dispose();
        if (_svids is not null) await _svids.DisposeAsync();
    }
}
