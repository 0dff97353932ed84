using AmbientMesh.Hbone;
using AmbientMesh.Model;
using AmbientMesh.Model.Tests;
using AmbientMesh.Ztunnel.Inbound;
using static AmbientMesh.Model.Tests.MeshBuilder;

namespace AmbientMesh.Ztunnel.Tests;

/// <summary>Open connections after the mesh has changed.</summary>
public sealed class OpenConnectionTests
{
    [Fact, Scenario("T-33")]
    public async Task A_service_that_is_bound_to_a_waypoint_loses_the_connections_that_went_round_it_and_keeps_the_waypoints()
    {
        await using var bench = new InboundBench(with: settings => settings with { RequireWaypoint = true },
            mesh: m => m.Pod("server", "127.0.0.1", with: w => w.Backs("s")).Service("s", "10.1.0.1").Service("wp", "10.1.0.8").Pod("waypoint", "10.0.0.8", with: w => w.Backs("wp")));
        using var stop = new CancellationTokenSource();
        var watching = new PolicyWatch(bench.Mesh.Store, () => [bench.Pod], new KeptLog()).RunAsync(stop.Token);
        var application = HboneAuthority.Of(bench.Echo());
        var (direct, through) = (await OpenAsync("client"), await OpenAsync("waypoint"));

        bench.Mesh.Service("s", "10.1.0.1", with: s => s.Waypoint = Named("wp"));

        await EndsAsync(direct);
        await Patience.Until(() => bench.Refusals.Count > 0);
        Assert.Equal([Reason.PolicyChanged], bench.Refusals);
        await through.WriteAsync("ping"u8.ToArray(), Patience.Token);
        Assert.Equal(4, await through.ReadAsync(new byte[16], Patience.Token));
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => watching);

        async Task<HboneStream> OpenAsync(string account)
        {
            var (client, _) = await bench.DialAsync();
            var tunnel = await bench.TunnelAsync(client, bench.Authority.IssueSvid(InboundBench.Id(account), TimeSpan.FromHours(1)));
            var stream = Assert.IsType<ConnectOutcome.Established>(await tunnel.ConnectAsync(application, [], Patience.Token)).Stream;
            await stream.WriteAsync("x"u8.ToArray(), Patience.Token);
            Assert.Equal(1, await stream.ReadAsync(new byte[1], Patience.Token));   // it is carried, and so watched
            return stream;
        }
    }

    private static async Task EndsAsync(HboneStream stream)
    {
        try
        {
            Assert.Equal(0, await stream.ReadAsync(new byte[1], Patience.Token));
        }
        catch (IOException)
        {
            // Reset: as good an end.
        }
    }
}
