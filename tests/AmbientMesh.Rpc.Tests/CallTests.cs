using System.Net;
using System.Net.Sockets;
using AmbientMesh.Protocol.Ca;

namespace AmbientMesh.Rpc.Tests;

/// <summary>Our client against our server.</summary>
public sealed class CallTests
{
    [Fact]
    public async Task A_unary_call_is_answered()
    {
        await using var server = await TestServer.StartAsync(app => TestServer.MapEcho(app));
        using var channel = server.Channel();
        var response = await channel.UnaryAsync(TestServer.Echo, new IstioCertificateRequest { Csr = "hello" }, cancellationToken: Patience.Token);
        Assert.Equal("hello", response.CertChain[0]);
    }

    [Theory]
    [InlineData(3, "bad input")]
    [InlineData(16, "request authenticate failure")]
    [InlineData(13, "100 % ü\n\u0001 ende")]
    [InlineData(5, "")]
    public async Task A_status_arrives_with_its_text(int code, string text)
    {
        await using var server = await TestServer.StartAsync(app => TestServer.MapEcho(app));
        using var channel = server.Channel();
        var failure = await Assert.ThrowsAsync<RpcException>(() => channel.UnaryAsync(TestServer.Echo, new IstioCertificateRequest { Csr = $"status:{code}:{text}" }, cancellationToken: Patience.Token));
        Assert.Equal((StatusCode)code, failure.Code);
        Assert.Equal(text, failure.Detail);
        Assert.False(failure.IsConnectionFailure);
    }

    [Fact]
    public async Task Messages_flow_both_ways_before_either_side_ends()
    {
        await using var server = await TestServer.StartAsync(app => TestServer.MapEcho(app));
        using var channel = server.Channel();
        await using var call = await channel.DuplexAsync(TestServer.Stream, cancellationToken: Patience.Token);
        for (var i = 0; i < 100; i++)
        {
            await call.WriteAsync(new IstioCertificateRequest { Csr = $"{i}" }, Patience.Token);
            Assert.Equal($"{i}", (await call.ReadAsync(Patience.Token))!.CertChain[0]);
        }
        await call.CompleteAsync();
        Assert.Null(await call.ReadAsync(Patience.Token));
        Assert.Null(await call.ReadAsync(Patience.Token));
    }

    [Fact]
    public async Task A_status_in_the_middle_of_a_stream_arrives_after_the_messages_before_it()
    {
        await using var server = await TestServer.StartAsync(app => TestServer.MapEcho(app));
        using var channel = server.Channel();
        await using var call = await channel.DuplexAsync(TestServer.Stream, cancellationToken: Patience.Token);
        await call.WriteAsync(new IstioCertificateRequest { Csr = "first" }, Patience.Token);
        await call.WriteAsync(new IstioCertificateRequest { Csr = "status:7:no more" }, Patience.Token);
        Assert.Equal("first", (await call.ReadAsync(Patience.Token))!.CertChain[0]);
        var failure = await Assert.ThrowsAsync<RpcException>(async () => await call.ReadAsync(Patience.Token));
        Assert.Equal((StatusCode.PermissionDenied, "no more"), (failure.Code, failure.Detail));
    }

    [Fact]
    public async Task A_message_of_many_windows_passes_both_ways()
    {
        var options = new RpcServerOptions { MaxReceiveBytes = 64 * 1024 * 1024 };
        await using var server = await TestServer.StartAsync(app => TestServer.MapEcho(app, options));
        using var channel = server.Channel();
        var text = new string('x', 20 * 1024 * 1024);
        var response = await channel.UnaryAsync(TestServer.Echo, new IstioCertificateRequest { Csr = text }, cancellationToken: Patience.Token);
        Assert.Equal(text, response.CertChain[0]);
    }

    [Fact]
    public async Task Oversized_requests_and_responses_are_refused_with_both_sizes()
    {
        await using var server = await TestServer.StartAsync(app => TestServer.MapEcho(app));
        using var channel = server.Channel();
        var tooLarge = await Assert.ThrowsAsync<RpcException>(() => channel.UnaryAsync(TestServer.Echo, new IstioCertificateRequest { Csr = new string('x', 5 * 1024 * 1024) }, cancellationToken: Patience.Token));
        Assert.Equal(StatusCode.ResourceExhausted, tooLarge.Code);
        Assert.Contains("at most 4194304", tooLarge.Detail);

        using var narrow = server.Channel(options => options with { MaxReceiveBytes = 1000 });
        tooLarge = await Assert.ThrowsAsync<RpcException>(() => narrow.UnaryAsync(TestServer.Echo, new IstioCertificateRequest { Csr = new string('x', 2000) }, cancellationToken: Patience.Token));
        Assert.Equal(StatusCode.ResourceExhausted, tooLarge.Code);
        Assert.Contains("response message", tooLarge.Detail);
    }

    [Fact]
    public async Task An_unknown_method_is_unimplemented()
    {
        await using var server = await TestServer.StartAsync(_ => { });
        using var channel = server.Channel();
        var failure = await Assert.ThrowsAsync<RpcException>(() => channel.UnaryAsync(TestServer.Echo, new IstioCertificateRequest(), cancellationToken: Patience.Token));
        Assert.Equal(StatusCode.Unimplemented, failure.Code);
        Assert.Contains("/test.Echo/Unary", failure.Detail);
    }

    [Theory]
    [InlineData("client")]
    [InlineData("server")]
    public async Task A_deadline_ends_the_call_on_both_sides_whichever_sees_it_first(string side)
    {
        FakeTimeProvider clock = new(), serverClock = new();
        TaskCompletionSource entered = new(), ended = new();
        DateTimeOffset? due = null;
        await using var server = await TestServer.StartAsync(app => app.MapRpcUnary(TestServer.Echo, async (_, context) =>
        {
            due = context.Deadline;
            await using var registration = context.CancellationToken.Register(() => ended.TrySetResult());
            entered.TrySetResult();
            await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.CancellationToken);
            return new IstioCertificateResponse();
        }, new RpcServerOptions { Clock = serverClock }));
        using var channel = server.Channel(options => options with { Clock = clock });
        var call = channel.UnaryAsync(TestServer.Echo, new IstioCertificateRequest(), deadline: TimeSpan.FromSeconds(5), cancellationToken: Patience.Token);
        await Patience.Within(entered.Task);
        Assert.Equal(serverClock.GetUtcNow() + TimeSpan.FromSeconds(5), due);
        (side == "client" ? clock : serverClock).Advance(TimeSpan.FromSeconds(5) - TimeSpan.FromMilliseconds(1));
        Assert.False(call.IsCompleted || ended.Task.IsCompleted);
        (side == "client" ? clock : serverClock).Advance(TimeSpan.FromMilliseconds(1));
        var failure = await Assert.ThrowsAsync<RpcException>(() => Patience.Within(call));
        Assert.Equal(StatusCode.DeadlineExceeded, failure.Code);
        await Patience.Within(ended.Task);
    }

    [Fact]
    public async Task Cancelling_a_call_reaches_the_handler()
    {
        TaskCompletionSource entered = new(), cancelled = new();
        await using var server = await TestServer.StartAsync(app => app.MapRpcDuplex(TestServer.Stream, async (stream, context) =>
        {
            entered.TrySetResult();
            await using var registration = context.CancellationToken.Register(() => cancelled.TrySetResult());
            await stream.ReadAsync(context.CancellationToken);
        }));
        using var channel = server.Channel();
        using var stop = new CancellationTokenSource();
        await using var call = await channel.DuplexAsync(TestServer.Stream, cancellationToken: stop.Token);
        await Patience.Within(entered.Task);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await call.ReadAsync(Patience.Token));
        await Patience.Within(cancelled.Task);
    }

    [Fact]
    public async Task Giving_up_a_call_by_disposing_it_reaches_the_handler()
    {
        TaskCompletionSource entered = new(), cancelled = new();
        await using var server = await TestServer.StartAsync(app => app.MapRpcDuplex(TestServer.Stream, async (stream, context) =>
        {
            await stream.WriteAsync(new IstioCertificateResponse { CertChain = { "x" } }, context.CancellationToken);
            await using var registration = context.CancellationToken.Register(() => cancelled.TrySetResult());
            entered.TrySetResult();
            await stream.ReadAsync(context.CancellationToken);
        }));
        using var channel = server.Channel();
        var call = await channel.DuplexAsync(TestServer.Stream, cancellationToken: Patience.Token);
        Assert.NotNull(await call.ReadAsync(Patience.Token));
        await Patience.Within(entered.Task);
        await call.DisposeAsync();
        await Patience.Within(cancelled.Task);
    }

    [Fact]
    public async Task Metadata_passes_both_ways_text_and_bytes()
    {
        RpcMetadata? seen = null;
        await using var server = await TestServer.StartAsync(app => app.MapRpcUnary(TestServer.Echo, (_, context) =>
        {
            seen = context.Metadata;
            context.Trailers.Add("answer-bin", [0, 255, 7]);
            context.Trailers.Add("answer", "yes");
            return Task.FromResult(new IstioCertificateResponse());
        }));
        using var channel = server.Channel(o => o with { CallMetadata = _ => ValueTask.FromResult(new RpcMetadata { { "authorization", "Bearer t" }, { "x_sample", "extra" } }) });
        RpcMetadata metadata = [];
        metadata.Add("clusterid", "Kubernetes");
        metadata.Add("trace-bin", [1, 2, 3, 4]);
        await using var call = await channel.DuplexAsync(TestServer.Echo, metadata, cancellationToken: Patience.Token);
        await call.WriteAsync(new IstioCertificateRequest(), Patience.Token);
        await call.CompleteAsync();
        Assert.NotNull(await call.ReadAsync(Patience.Token));
        Assert.Null(await call.ReadAsync(Patience.Token));
        Assert.Equal(("Bearer t", "extra", "Kubernetes", "trailers"), (seen!.Get("authorization"), seen.Get("x_sample"), seen.Get("clusterid"), seen.Get("te")));
        Assert.Equal([1, 2, 3, 4], seen.GetBytes("trace-bin"));
        Assert.Equal([0, 255, 7], call.Trailers.GetBytes("answer-bin"));
        Assert.Equal("yes", call.Trailers.Get("answer"));
    }

    [Fact]
    public async Task A_handler_that_throws_tells_its_caller_nothing_of_why()
    {
        await using var server = await TestServer.StartAsync(app => app.MapRpcUnary(TestServer.Echo, (_, _) => throw new InvalidOperationException("secret")));
        using var channel = server.Channel();
        var failure = await Assert.ThrowsAsync<RpcException>(() => channel.UnaryAsync(TestServer.Echo, new IstioCertificateRequest(), cancellationToken: Patience.Token));
        Assert.Equal(StatusCode.Unknown, failure.Code);
        Assert.DoesNotContain("secret", failure.Detail);
    }

    [Fact]
    public async Task A_server_that_is_not_there_is_a_connection_failure_and_is_reached_once_it_is()
    {
        using var closed = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        closed.Bind(new IPEndPoint(IPAddress.Loopback, 0));   // it does not listen, and nobody else can there
        var there = (IPEndPoint)closed.LocalEndPoint!;
        using var channel = new RpcChannel(new RpcChannelOptions { Address = new Uri("http://server.test"), Dial = async (_, cancellationToken) => await DialAsync(there, cancellationToken) });
        var failure = await Assert.ThrowsAsync<RpcException>(() => channel.UnaryAsync(TestServer.Echo, new IstioCertificateRequest(), cancellationToken: Patience.Token));
        Assert.Equal(StatusCode.Unavailable, failure.Code);
        Assert.True(failure.IsConnectionFailure);
        await using var server = await TestServer.StartAsync(app => TestServer.MapEcho(app));
        there = new IPEndPoint(IPAddress.Loopback, server.Port);
        Assert.Equal("x", (await channel.UnaryAsync(TestServer.Echo, new IstioCertificateRequest { Csr = "x" }, cancellationToken: Patience.Token)).CertChain[0]);

        static async Task<Stream> DialAsync(IPEndPoint there, CancellationToken cancellationToken)
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync(there, cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
    }

    [Fact]
    public async Task A_connection_that_is_lost_ends_the_call_as_unavailable()
    {
        var server = await TestServer.StartAsync(app => app.MapRpcDuplex(TestServer.Stream, async (stream, context) =>
        {
            await stream.WriteAsync(new IstioCertificateResponse(), context.CancellationToken);
            await stream.ReadAsync(context.CancellationToken);
            context.Http.Abort();
            await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.CancellationToken);
        }));
        using var channel = server.Channel();
        await using var call = await channel.DuplexAsync(TestServer.Stream, cancellationToken: Patience.Token);
        Assert.NotNull(await call.ReadAsync(Patience.Token));
        await call.WriteAsync(new IstioCertificateRequest(), Patience.Token);
        var failure = await Assert.ThrowsAsync<RpcException>(async () => await call.ReadAsync(Patience.Token));
        Assert.Contains(failure.Code, new[] { StatusCode.Unavailable, StatusCode.Cancelled, StatusCode.Internal });
        await server.DisposeAsync();
    }

    [Fact]
    public async Task Options_that_cannot_work_are_named()
    {
        Assert.Contains("https://", Assert.Throws<ArgumentException>(() => new RpcChannel(new RpcChannelOptions { Address = new Uri("ftp://x") })).Message);
        Assert.Throws<ArgumentException>(() => new RpcMetadata { { "Upper", "x" } });
        Assert.Throws<ArgumentException>(() => new RpcMetadata { { "key", "line\nbreak" } });
        await using var server = await TestServer.StartAsync(app => TestServer.MapEcho(app));
        using var channel = server.Channel(o => o with { CallMetadata = CallCredentials.FromFile("/no/such/token", [], "Kubernetes") });
        var failure = await Assert.ThrowsAsync<RpcException>(() => channel.UnaryAsync(TestServer.Echo, new IstioCertificateRequest(), cancellationToken: Patience.Token));
        Assert.Equal(StatusCode.Unauthenticated, failure.Code);
        Assert.Contains("/no/such/token", failure.Detail);
    }
}
