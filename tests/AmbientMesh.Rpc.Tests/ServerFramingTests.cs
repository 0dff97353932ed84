using AmbientMesh.Protocol.Ca;
using Google.Protobuf;

namespace AmbientMesh.Rpc.Tests;

/// <summary>Our server against frames written by hand.</summary>
public sealed class ServerFramingTests
{
    private static readonly byte[] Hello = new IstioCertificateRequest { Csr = "hello" }.ToByteArray();

    [Fact]
    public async Task A_response_is_headers_then_messages_then_trailers()
    {
        await using var server = await TestServer.StartAsync(app => TestServer.MapEcho(app));
        await using var raw = await RawHttp2.ConnectAsync(server.Port);
        await raw.HeadersAsync(1, false, Request("/test.Echo/Unary"));
        await raw.DataAsync(1, RawHttp2.Message(Hello), end: true);
        var frames = await raw.ReadResponseAsync(1);
        Assert.Equal(("200", "application/grpc"), (frames[0].Header(":status"), frames[0].Header("content-type")));
        Assert.Null(frames[0].Header("grpc-status"));
        Assert.Equal(RawHttp2.Message(new IstioCertificateResponse { CertChain = { "hello" } }.ToByteArray()), frames.Where(f => f.Type == FrameType.Data).SelectMany(f => f.Payload).ToArray());
        Assert.Equal("0", frames[^1].Header("grpc-status"));
        Assert.True(frames[^1] is { Type: FrameType.Headers, EndStream: true });
    }

    [Fact]
    public async Task A_failure_without_messages_is_trailers_only()
    {
        await using var server = await TestServer.StartAsync(app => TestServer.MapEcho(app));
        await using var raw = await RawHttp2.ConnectAsync(server.Port);
        await raw.HeadersAsync(1, false, Request("/test.Echo/Unary"));
        await raw.DataAsync(1, RawHttp2.Message(new IstioCertificateRequest { Csr = "status:16:50 % ü" }.ToByteArray()), end: true);
        var only = Assert.Single(await raw.ReadResponseAsync(1));
        Assert.Equal(("200", "16", "50 %25 %C3%BC"), (only.Header(":status"), only.Header("grpc-status"), only.Header("grpc-message")));
        Assert.True(only.EndStream);
    }

    [Fact]
    public async Task A_message_may_come_in_any_pieces()
    {
        await using var server = await TestServer.StartAsync(app => TestServer.MapEcho(app));
        await using var raw = await RawHttp2.ConnectAsync(server.Port);
        await raw.HeadersAsync(1, false, Request("/test.Echo/Stream"));
        byte[] two = [.. RawHttp2.Message(Hello), .. RawHttp2.Message(Hello)];
        foreach (var b in two) await raw.DataAsync(1, [b]);   // one byte a frame, and empty ones between
        await raw.DataAsync(1, []);
        await raw.WriteAsync(FrameType.Data, 8, 1, [3, .. RawHttp2.Message(Hello), 0, 0, 0]);   // padded
        await raw.DataAsync(1, [], end: true);
        var frames = await raw.ReadResponseAsync(1);
        var expected = RawHttp2.Message(new IstioCertificateResponse { CertChain = { "hello" } }.ToByteArray());
        Assert.Equal([.. expected, .. expected, .. expected], frames.Where(f => f.Type == FrameType.Data).SelectMany(f => f.Payload).ToArray());
        Assert.Equal("0", frames[^1].Header("grpc-status"));
    }

    public static TheoryData<string, byte[], string, string> BadBodies => new()
    {
        { "truncated message", RawHttp2.Message([1, 2, 3], length: 10), "13", "request ended inside a message after 8 bytes" },
        { "truncated prefix", [0, 0, 0], "13", "request ended inside a message after 3 bytes" },
        { "no message", [], "13", "request has no message" },
        { "two messages", [.. RawHttp2.Message(Hello), .. RawHttp2.Message(Hello)], "13", "more than one message" },
        { "compressed", RawHttp2.Message(Hello, flag: 1), "12", "request message is compressed" },
        { "unknown flag", RawHttp2.Message(Hello, flag: 7), "13", "flag 7" },
        { "oversized", RawHttp2.Message([], length: uint.MaxValue), "8", "request message of 4294967295 bytes; at most 4194304" },
        { "malformed", RawHttp2.Message([0x0a, 0x7f, 1]), "13", "not a valid IstioCertificateRequest" },
    };

    [Theory]
    [MemberData(nameof(BadBodies))]
    public async Task A_bad_body_ends_its_call_with_a_clear_status_and_disturbs_no_other(string what, byte[] body, string status, string text)
    {
        await using var server = await TestServer.StartAsync(app => TestServer.MapEcho(app));
        await using var raw = await RawHttp2.ConnectAsync(server.Port);
        await raw.HeadersAsync(1, false, Request("/test.Echo/Stream"));
        await raw.HeadersAsync(3, false, Request("/test.Echo/Unary"));
        await raw.DataAsync(3, body, end: true);
        var frames = await raw.ReadResponseAsync(3);
        Assert.Equal((what, status), (what, frames[^1].Header("grpc-status")));
        Assert.Contains(text, frames[^1].Header("grpc-message"));
        await raw.DataAsync(1, RawHttp2.Message(Hello), end: true);
        Assert.Equal("0", (await raw.ReadResponseAsync(1))[^1].Header("grpc-status"));
    }

    [Fact]
    public async Task An_oversized_message_is_refused_on_its_prefix_alone()
    {
        await using var server = await TestServer.StartAsync(app => TestServer.MapEcho(app));
        await using var raw = await RawHttp2.ConnectAsync(server.Port);
        await raw.HeadersAsync(1, false, Request("/test.Echo/Stream"));
        await raw.DataAsync(1, RawHttp2.Message([], length: 4 * 1024 * 1024 + 1));   // and nothing more comes
        Assert.Equal("8", (await raw.ReadResponseAsync(1))[0].Header("grpc-status"));
    }

    [Fact]
    public async Task A_reset_cancels_its_call_and_leaves_the_connection_usable()
    {
        var cancelled = new TaskCompletionSource();
        var entered = new TaskCompletionSource();
        await using var server = await TestServer.StartAsync(app =>
        {
            app.MapRpcDuplex(TestServer.Stream, async (stream, context) =>
            {
                await using var registration = context.CancellationToken.Register(() => cancelled.TrySetResult());
                entered.TrySetResult();
                await stream.ReadAsync(context.CancellationToken);
            });
            app.MapRpcUnary(TestServer.Echo, (request, _) => Task.FromResult(new IstioCertificateResponse()));
        });
        await using var raw = await RawHttp2.ConnectAsync(server.Port);
        await raw.HeadersAsync(1, false, Request("/test.Echo/Stream"));
        await Patience.Within(entered.Task);
        await raw.ResetAsync(1, 8);
        await Patience.Within(cancelled.Task);
        await raw.HeadersAsync(3, false, Request("/test.Echo/Unary"));
        await raw.DataAsync(3, RawHttp2.Message(Hello), end: true);
        Assert.Equal("0", (await raw.ReadResponseAsync(3))[^1].Header("grpc-status"));
    }

    [Theory]
    [InlineData("1n", "4")]
    [InlineData("50m", "4")]
    [InlineData("abc", "13")]
    [InlineData("123456789S", "13")]
    [InlineData("-1S", "13")]
    public async Task The_timeout_header_is_honoured_or_refused(string timeout, string status)
    {
        await using var server = await TestServer.StartAsync(app => TestServer.MapEcho(app));
        await using var raw = await RawHttp2.ConnectAsync(server.Port);
        await raw.HeadersAsync(1, false, [.. Request("/test.Echo/Stream"), ("grpc-timeout", timeout)]);
        Assert.Equal(status, (await raw.ReadResponseAsync(1))[^1].Header("grpc-status"));
    }

    [Fact]
    public async Task What_is_not_grpc_is_refused_as_http_has_it()
    {
        await using var server = await TestServer.StartAsync(app => TestServer.MapEcho(app));
        await using var raw = await RawHttp2.ConnectAsync(server.Port);
        await raw.HeadersAsync(1, true, (":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/test.Echo/Unary"));
        Assert.Equal("405", (await raw.ReadResponseAsync(1))[0].Header(":status"));
        await raw.HeadersAsync(3, true, (":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/test.Echo/Unary"), ("content-type", "application/grpc-web"));
        Assert.Equal("415", (await raw.ReadResponseAsync(3))[0].Header(":status"));
        await raw.HeadersAsync(5, true, (":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/"));
        Assert.Equal("404", (await raw.ReadResponseAsync(5))[0].Header(":status"));
        await raw.HeadersAsync(7, true, Request("/no.Such/Method"));
        var unknown = Assert.Single(await raw.ReadResponseAsync(7));
        Assert.Equal(("200", "12", "unknown method /no.Such/Method"), (unknown.Header(":status"), unknown.Header("grpc-status"), unknown.Header("grpc-message")));
    }

    [Fact]
    [Scenario("T-09")]
    public async Task A_unary_request_that_never_ends_is_given_up()
    {
        var clock = new FakeTimeProvider();
        await using var server = await TestServer.StartAsync(app => TestServer.MapEcho(app, new RpcServerOptions { Clock = clock }));
        await using var raw = await RawHttp2.ConnectAsync(server.Port);
        await raw.HeadersAsync(1, false, Request("/test.Echo/Unary"));
        await raw.DataAsync(1, RawHttp2.Message(Hello));   // and no END_STREAM
        await clock.TimersArmedAsync(1, Patience.Token);
        clock.Advance(TimeSpan.FromSeconds(10));
        var only = Assert.Single(await raw.ReadResponseAsync(1));
        Assert.Equal(("4", "the request did not come within 10 s"), (only.Header("grpc-status"), only.Header("grpc-message")));
    }

    [Fact]
    public async Task A_silent_client_is_pinged_and_given_up_when_it_does_not_answer()
    {
        await using var server = await TestServer.StartAsync(app => TestServer.MapEcho(app), limits: kestrel =>
        {
            Assert.Equal((TimeSpan.FromSeconds(30), TimeSpan.FromSeconds(10)), (kestrel.Limits.Http2.KeepAlivePingDelay, kestrel.Limits.Http2.KeepAlivePingTimeout));
            (kestrel.Limits.Http2.KeepAlivePingDelay, kestrel.Limits.Http2.KeepAlivePingTimeout) = (TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(1));
        });
        await using var raw = await RawHttp2.ConnectAsync(server.Port);
        await raw.HeadersAsync(1, false, Request("/test.Echo/Stream"));
        await raw.ReadUntilAsync(f => f is { Type: FrameType.Settings, IsAck: false });   // acknowledged
        await raw.WriteAsync(FrameType.Ping, 0, 0, new byte[8]);
        await raw.ReadUntilAsync(f => f is { Type: FrameType.Ping, IsAck: true });   // the last sign of life: what the server asked before does not count
        var pings = 0;
        while (await raw.ReadAsync() is { } frame) pings += frame.Type == FrameType.Ping ? 1 : 0;
        Assert.Equal(1, pings);   // and then the connection ends
    }

    [Fact]
    public async Task A_stopping_server_says_so_with_goaway()
    {
        var server = await TestServer.StartAsync(app => TestServer.MapEcho(app));
        await using var raw = await RawHttp2.ConnectAsync(server.Port);
        await raw.HeadersAsync(1, false, Request("/test.Echo/Unary"));
        await raw.DataAsync(1, RawHttp2.Message(Hello), end: true);
        await raw.ReadResponseAsync(1);
        var stopping = server.DisposeAsync();
        Assert.Equal(0, (await raw.ReadUntilAsync(f => f.Type == FrameType.GoAway)).ErrorCode);
        await raw.DisposeAsync();
        await stopping;
    }

    [Theory]
    [InlineData("samples/ztunnel/xds/xds-wildcard-stream1-request-headers", "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources")]
    [InlineData("samples/ztunnel/xds/xds-on-demand-stream1-request-headers", "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources")]
    [InlineData("samples/ztunnel/ca/wildcard-1-request-headers", "/istio.v1.auth.IstioCertificateService/CreateCertificate")]
    public async Task The_recorded_request_headers_of_ztunnel_open_a_call(string recording, string path)
    {
        var frame = Samples.Hex(recording + ".hex");
        var expected = Samples.Text(recording + ".txt").Split('\n').Where(line => line.Length > 0 && line[0] is not ('#' or ':')).ToArray();
        var seen = new TaskCompletionSource<RpcServerContext>();
        await using var server = await TestServer.StartAsync(
            app => app.MapRpcDuplex(TestServer.Stream with { Path = path }, (_, context) =>
            {
                seen.TrySetResult(context);
                return Task.CompletedTask;
            }),
            TestCertificates.Server);
        await using var raw = await RawHttp2.ConnectAsync(server.Port, TestCertificates.TrustAnythingAsync);
        await raw.Stream.WriteAsync(frame, Patience.Token);
        await raw.Stream.FlushAsync(Patience.Token);
        var metadata = (await Patience.Within(seen.Task)).Metadata;
        Assert.All(expected, line => Assert.Equal(line[(line.IndexOf(':') + 2)..], metadata.Get(line[..line.IndexOf(':')])));
        Assert.Equal("0", (await raw.ReadResponseAsync(1))[^1].Header("grpc-status"));
    }

    private static (string, string)[] Request(string path) =>
        [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", path), ("content-type", "application/grpc"), ("te", "trailers")];

    [Fact]
    public void The_header_coder_of_these_tests_reads_what_it_writes()
    {
        (string, string)[] headers = [(":status", "200"), ("x", new string('y', 300)), ("empty", "")];
        Assert.Equal(headers, Hpack.Decode(Hpack.Encode(headers)));
        Assert.Equal([(":status", "200")], Hpack.Decode([0x88]));
    }
}
