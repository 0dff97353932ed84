using System.Net;
using AmbientMesh.Model.Tests;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Certificates;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.Inbound;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.Reporting;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.Ztunnel.Tests;

/// <summary>Who connects, for labels: asked for on demand, and never waited for long.</summary>
public sealed class SourceLookupTests : IAsyncDisposable
{
    private static readonly IPAddress s_known = IPAddress.Parse("10.0.0.1"), s_other = IPAddress.Parse("10.0.0.2");
    private readonly FakeTimeProvider _clock = new();
    private readonly SvidStore _svids = new((id, _) => throw new SvidUnavailableException($"no authority for {id}"), new FakeTimeProvider(), NullLogger.Instance);
    private readonly MeshBuilder _mesh = new MeshBuilder().Pod("client", "10.0.0.1");
    private readonly List<string> _asked = [];

    private ProxyServices Services(Func<CancellationToken, Task<bool>>? answer) =>
        new(_mesh.Store, _svids, new ConnectionReports(new TcpMetrics(new MetricRegistry()), new AccessLog(NullLoggerFactory.Instance), _clock), new ZtunnelSettings(), _clock, NullLoggerFactory.Instance)
        {
            Demand = answer is null ? null : (name, cancellationToken) =>
            {
                _asked.Add(name);
                return answer(cancellationToken);
            },
        };

    [Fact]
    public async Task A_known_source_is_not_asked_for_and_without_demand_nothing_is()
    {
        var services = Services(_ => Task.FromResult(false));
        Assert.Equal("client", (await services.Sources.FindAsync(services, s_known, CancellationToken.None))!.Name);
        var told = Services(null);
        Assert.Null(await told.Sources.FindAsync(told, s_other, CancellationToken.None));
        Assert.Empty(_asked);
    }

    [Fact]
    public async Task An_unknown_one_is_there_once_discovery_has_answered()
    {
        var services = Services(_ =>
        {
            _mesh.Pod("late", "10.0.0.2");
            return Task.FromResult(true);
        });
        Assert.Equal("late", (await services.Sources.FindAsync(services, s_other, CancellationToken.None))!.Name);
        Assert.Equal(["/10.0.0.2"], _asked);
    }

    [Fact]
    public async Task A_discovery_that_is_silent_holds_nobody_up()
    {
        var services = Services(Forever);
        var finding = services.Sources.FindAsync(services, s_other, CancellationToken.None).AsTask();
        Assert.False(finding.IsCompleted);
        _clock.Advance(SourceLookup.Limit);
        Assert.Null(await Patience.Within(finding));
    }

    [Fact, Scenario("T-40")]
    public async Task Only_so_many_are_asked_for_at_once()
    {
        var services = Services(Forever);
        var finding = Enumerable.Range(0, SourceLookup.MaxAsking).Select(i => services.Sources.FindAsync(services, new IPAddress([10, 1, 0, (byte)i]), CancellationToken.None).AsTask()).ToList();
        Assert.Null(await Patience.Within(services.Sources.FindAsync(services, s_other, CancellationToken.None).AsTask()));
        Assert.Equal(SourceLookup.MaxAsking, _asked.Count);
        _clock.Advance(SourceLookup.Limit);
        Assert.All(await Patience.Within(Task.WhenAll(finding)), Assert.Null);
        _ = services.Sources.FindAsync(services, s_other, CancellationToken.None).AsTask();
        Assert.Equal(SourceLookup.MaxAsking + 1, _asked.Count);
        _clock.Advance(SourceLookup.Limit);
    }

    [Fact]
    public async Task A_connection_that_is_to_end_does_not_wait()
    {
        var services = Services(Forever);
        using var closing = new CancellationTokenSource();
        var finding = services.Sources.FindAsync(services, s_other, closing.Token).AsTask();
        await closing.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Patience.Within(finding));
    }

    private static async Task<bool> Forever(CancellationToken cancellationToken)
    {
        await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, cancellationToken);
        return true;
    }

    public ValueTask DisposeAsync() => _svids.DisposeAsync();
}
