namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>A node whose clock is an hour off: what it cannot judge it refuses and says so, others go on, and all is well when the clock is right.</summary>
public sealed class ClockTests : IAsyncLifetime
{
    private readonly ShiftedClock _clock = new();
    private PodNetwork _network = null!;
    private ControlPlaneStandIn _plane = null!;
    private TestNode _wrong = null!, _right = null!;
    private PodNamespace _onWrong = null!, _onRight = null!, _other = null!;
    private readonly List<PodServer> _apps = [];

    public async ValueTask InitializeAsync()
    {
        _network = await PodNetwork.CreateAsync();
        _plane = await ControlPlaneStandIn.StartAsync();
        _wrong = await TestNode.StartAsync("wrong", _plane, clock: _clock);
        _right = await TestNode.StartAsync("right", _plane);
        _onWrong = await EnrolAsync("one", _wrong);
        _onRight = await EnrolAsync("two", _right);
        _other = await EnrolAsync("three", _right);
        foreach (var node in (TestNode[])[_wrong, _right])
            await Patience.Within(node.App.Mesh.WhenAsync(mesh => mesh.Workloads.Count() == 3 ? mesh : null, Patience.Token).AsTask());
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var app in _apps) app.Dispose();
        if (_wrong is not null) await _wrong.DisposeAsync();
        if (_right is not null) await _right.DisposeAsync();
        if (_plane is not null) await _plane.DisposeAsync();
        if (_network is not null) await _network.DisposeAsync();
    }

    [Fact]
    public async Task Behind_it_refuses_certificates_of_the_future_and_names_the_clock()
    {
        Assert.Equal("ping", await PodClient.CallAsync(_onRight, TestMesh.At(_onWrong, 8080)));
        _clock.Offset = TimeSpan.FromHours(-1);
        var late = await EnrolAsync("late", _right);   // its certificate is of now, an hour ahead of the wrong clock
        await Patience.Within(_wrong.App.Mesh.WhenAsync(mesh => mesh.Workloads.FirstOrDefault(w => w.Name == "late"), Patience.Token).AsTask());

        Assert.True(await PodClient.FailsAsync(late, TestMesh.At(_onWrong, 8080)));
        await _wrong.Log.LineAsync("connection failed", "direction=\"inbound\"", "reason=\"peer-not-trusted\"", "not yet valid", "the clock here says");
        Assert.True(await PodClient.FailsAsync(_onWrong, TestMesh.At(late, 8080)));
        await _wrong.Log.LineAsync("connection complete", "direction=\"outbound\"", "reason=\"peer-not-trusted\"", "the clock here says");
        Assert.Equal("ping", await PodClient.CallAsync(_other, TestMesh.At(_onRight, 8080)));   // nobody else is disturbed
        Assert.Equal("ping", await PodClient.CallAsync(late, TestMesh.At(_onRight, 8080)));

        _clock.Offset = TimeSpan.Zero;
        Assert.Equal("ping", await PodClient.CallAsync(late, TestMesh.At(_onWrong, 8080)));
        Assert.Equal("ping", await PodClient.CallAsync(_onWrong, TestMesh.At(late, 8080)));
    }

    [Fact]
    public async Task The_difference_to_the_authoritys_clock_is_told_as_a_number()
    {
        _clock.Offset = TimeSpan.FromHours(-1);
        await EnrolAsync("newcomer", _wrong);
        await _wrong.MetricReachesAsync(3500, "ambientmesh_ca_clock_skew_seconds");
        await _wrong.Log.LineAsync("NTP");

        _clock.Offset = TimeSpan.Zero;
        await EnrolAsync("another", _wrong);
        await Eventually.IsTrueAsync(() => Math.Abs(_wrong.Metric("ambientmesh_ca_clock_skew_seconds")) < 60, "the skew is gone");
    }

    private async Task<PodNamespace> EnrolAsync(string name, TestNode node)
    {
        var pod = await _network.AddPodAsync(name);
        await TestMesh.RedirectAsync(pod);
        _plane.Put(TestMesh.WorkloadOf(pod, node.Name, hbone: true));
        await Patience.Within(node.App.Mesh.WhenAsync(mesh => mesh.Workloads.FirstOrDefault(w => w.Name == name), Patience.Token).AsTask());
        Assert.Equal("", await node.Agent.AddAsync(TestMesh.UidOf(pod), pod));
        _apps.Add(PodServer.Echo(pod, 8080));
        return pod;
    }

    private sealed class ShiftedClock : TimeProvider
    {
        public TimeSpan Offset { get; set; }

        public override DateTimeOffset GetUtcNow() => System.GetUtcNow() + Offset;
    }
}
