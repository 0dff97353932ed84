using System.Buffers.Binary;
using AmbientMesh.Protocol.Ca;
using Google.Protobuf;

namespace AmbientMesh.Rpc.Tests;

/// <summary>Our client against frames written by hand.</summary>
public sealed class ClientFramingTests
{
    private static readonly (string, string)[] Accepted = [(":status", "200"), ("content-type", "application/grpc")];
    private static readonly byte[] Reply = RawHttp2.Message(new IstioCertificateResponse { CertChain = { "leaf", "root" } }.ToByteArray());

    [Fact]
    public async Task The_first_frames_are_those_of_a_grpc_client()
    {
        await using var server = new RawServer();
        using var channel = server.Channel(o => o with { CallMetadata = CallCredentials.FromFile(null, [new("x_sample", "ca-extra")], "Kubernetes") });
        var call = CallAsync(channel, TimeSpan.FromSeconds(30));
        await using var http = await server.AcceptAsync();
        var settings = Settings(await http.ReadUntilAsync(f => f.Type == FrameType.Settings));
        Assert.Equal(0u, settings[2]);                  // ENABLE_PUSH
        Assert.Equal(2u * 1024 * 1024, settings[4]);    // INITIAL_WINDOW_SIZE
        var headers = (await http.ReadUntilAsync(f => f.Type == FrameType.Headers)).Headers.ToDictionary();
        Assert.Equal(("POST", "http", "/test.Echo/Unary"), (headers[":method"], headers[":scheme"], headers[":path"]));
        Assert.Equal(("trailers", "application/grpc", "ca-extra", "Kubernetes", "30000000u"), (headers["te"], headers["content-type"], headers["x_sample"], headers["clusterid"], headers["grpc-timeout"]));
        Assert.DoesNotContain("user-agent", headers.Keys);
        Assert.Equal(RawHttp2.Message(new IstioCertificateRequest { Csr = "csr" }.ToByteArray()), (await http.ReadUntilAsync(f => f.Type == FrameType.Data && f.Payload.Length > 0)).Payload);
        await http.ReadUntilAsync(f => f.EndStream);
        await AnswerAsync(http, 1);
        Assert.Equal(["leaf", "root"], (await Patience.Within(call)).CertChain);
    }

    [Fact]
    public async Task A_response_may_come_in_any_pieces()
    {
        await using var server = new RawServer();
        using var channel = server.Channel();
        var call = CallAsync(channel);
        await using var http = await ReceiveAsync(server);
        await http.HeadersAsync(1, false, Accepted);
        foreach (var b in Reply)
        {
            await http.DataAsync(1, [b]);
            await http.DataAsync(1, []);
        }
        await http.HeadersAsync(1, true, ("grpc-status", "0"));
        Assert.Equal(["leaf", "root"], (await Patience.Within(call)).CertChain);
    }

    public static TheoryData<string, string, string, StatusCode, string> HeaderOnlyAnswers => new()
    {
        { "200", "application/grpc", "16", StatusCode.Unauthenticated, "request impersonation authentication failure" },
        { "200", "application/grpc", "99", StatusCode.Unknown, "request impersonation authentication failure" },
        { "200", "application/grpc", "x", StatusCode.Unknown, "request impersonation authentication failure" },
        { "200", "application/grpc", "", StatusCode.Unknown, "without a status" },
        { "200", "text/html", "", StatusCode.Unknown, "text/html" },
        { "503", "text/plain", "", StatusCode.Unavailable, "503" },
        { "404", "text/plain", "", StatusCode.Unimplemented, "404" },
        { "401", "text/plain", "", StatusCode.Unauthenticated, "401" },
    };

    [Theory]
    [MemberData(nameof(HeaderOnlyAnswers))]
    public async Task An_answer_of_headers_alone_is_understood(string http, string contentType, string status, StatusCode code, string text)
    {
        await using var server = new RawServer();
        using var channel = server.Channel();
        var call = CallAsync(channel);
        await using var connection = await ReceiveAsync(server);
        (string, string)[] headers = [(":status", http), ("content-type", contentType)];
        if (status.Length > 0) headers = [.. headers, ("grpc-status", status), ("grpc-message", "request impersonation%20authentication failure")];
        await connection.HeadersAsync(1, true, headers);
        var failure = await Assert.ThrowsAsync<RpcException>(() => Patience.Within(call));
        Assert.Equal(code, failure.Code);
        Assert.Contains(text, failure.Detail);
        Assert.False(failure.IsConnectionFailure);
    }

    public static TheoryData<byte[], StatusCode, string> BadMessages => new()
    {
        { RawHttp2.Message([1, 2, 3], length: 10), StatusCode.Internal, "response ended inside a message" },
        { RawHttp2.Message([0x0a, 0x7f, 1]), StatusCode.Internal, "not a valid IstioCertificateResponse" },
        { RawHttp2.Message([], flag: 1), StatusCode.Unimplemented, "compressed" },
        { RawHttp2.Message([], length: 201 * 1024 * 1024), StatusCode.ResourceExhausted, "at most 209715200" },
        { Array.Empty<byte>(), StatusCode.Internal, "without a response" },
    };

    [Theory]
    [MemberData(nameof(BadMessages))]
    public async Task A_bad_message_ends_the_call_clearly(byte[] body, StatusCode code, string text)
    {
        await using var server = new RawServer();
        using var channel = server.Channel();
        var call = CallAsync(channel);
        await using var http = await ReceiveAsync(server);
        await http.HeadersAsync(1, false, Accepted);
        await http.DataAsync(1, body);
        await http.HeadersAsync(1, true, ("grpc-status", "0"));
        var failure = await Assert.ThrowsAsync<RpcException>(() => Patience.Within(call));
        Assert.Equal(code, failure.Code);
        Assert.Contains(text, failure.Detail);
    }

    [Theory]
    [InlineData(0x7, StatusCode.Unavailable)]         // REFUSED_STREAM
    [InlineData(0x8, StatusCode.Cancelled)]           // CANCEL
    [InlineData(0xb, StatusCode.ResourceExhausted)]   // ENHANCE_YOUR_CALM
    [InlineData(0xc, StatusCode.PermissionDenied)]    // INADEQUATE_SECURITY
    [InlineData(0x2, StatusCode.Internal)]            // INTERNAL_ERROR
    public async Task A_reset_by_the_server_becomes_a_status(int code, StatusCode status)
    {
        await using var server = new RawServer();
        using var channel = server.Channel();
        await using var call = await OpenAsync(channel, server);
        await call.Http.HeadersAsync(1, false, Accepted);
        await call.Http.DataAsync(1, Reply);
        Assert.NotNull(await call.Rpc.ReadAsync(Patience.Token));
        await call.Http.ResetAsync(1, code);
        var failure = await Assert.ThrowsAsync<RpcException>(async () => await call.Rpc.ReadAsync(Patience.Token));
        Assert.Equal(status, failure.Code);
    }

    [Fact]
    public async Task After_goaway_the_open_call_ends_well_and_the_next_takes_a_new_connection()
    {
        await using var server = new RawServer();
        using var channel = server.Channel();
        await using var call = await OpenAsync(channel, server);
        await call.Http.HeadersAsync(1, false, Accepted);
        await call.Http.GoAwayAsync(lastStream: 1);
        await call.Http.DataAsync(1, Reply);
        await call.Http.HeadersAsync(1, true, ("grpc-status", "0"));
        Assert.NotNull(await call.Rpc.ReadAsync(Patience.Token));
        Assert.Null(await call.Rpc.ReadAsync(Patience.Token));
        var next = CallAsync(channel);
        await using var second = await ReceiveAsync(server);
        await AnswerAsync(second, 1);
        Assert.Equal(2, (await Patience.Within(next)).CertChain.Count);
    }

    [Fact]
    public async Task Goaway_that_leaves_the_call_out_makes_it_unavailable()
    {
        await using var server = new RawServer();
        using var channel = server.Channel();
        await using var call = await OpenAsync(channel, server);
        await call.Http.GoAwayAsync(lastStream: 0);
        var failure = await Assert.ThrowsAsync<RpcException>(async () => await call.Rpc.ReadAsync(Patience.Token));
        Assert.Equal(StatusCode.Unavailable, failure.Code);
        Assert.Contains("received prior goaway", failure.Detail);
    }

    [Fact]
    public async Task A_connection_closed_under_a_stream_is_unavailable_in_the_words_that_mean_come_back_at_once()
    {
        await using var server = new RawServer();
        using var channel = server.Channel();
        await using var call = await OpenAsync(channel, server);
        await call.Http.HeadersAsync(1, false, Accepted);
        await call.Http.DataAsync(1, Reply);
        Assert.NotNull(await call.Rpc.ReadAsync(Patience.Token));
        await call.Http.DisposeAsync();
        var failure = await Assert.ThrowsAsync<RpcException>(async () => await call.Rpc.ReadAsync(Patience.Token));
        Assert.Equal(StatusCode.Unavailable, failure.Code);
        Assert.Contains("transport is closing", failure.Detail);
        Assert.False(failure.IsConnectionFailure);
    }

    [Fact]
    public async Task Giving_up_resets_the_stream_with_cancel()
    {
        await using var server = new RawServer();
        using var channel = server.Channel();
        var call = await OpenAsync(channel, server);
        await call.Http.HeadersAsync(1, false, Accepted);
        await call.Http.DataAsync(1, Reply);
        Assert.NotNull(await call.Rpc.ReadAsync(Patience.Token));
        await call.Rpc.DisposeAsync();
        Assert.Equal(8, (await call.Http.ReadUntilAsync(f => f.Type == FrameType.RstStream)).ErrorCode);
        await call.Http.DisposeAsync();
    }

    [Fact]
    public async Task A_passed_deadline_resets_the_stream_and_is_reported_as_such()
    {
        await using var server = new RawServer();
        var clock = new FakeTimeProvider();
        using var channel = server.Channel(options => options with { Clock = clock });
        var call = CallAsync(channel, TimeSpan.FromSeconds(5));
        await using var http = await server.AcceptAsync();
        await http.ReadUntilAsync(f => f.Type == FrameType.Headers);
        clock.Advance(TimeSpan.FromSeconds(5));
        await http.ReadUntilAsync(f => f.Type == FrameType.RstStream);
        Assert.Equal(StatusCode.DeadlineExceeded, (await Assert.ThrowsAsync<RpcException>(() => Patience.Within(call))).Code);
    }

    [Fact]
    public async Task A_silent_server_is_pinged_and_given_up_when_it_does_not_answer()
    {
        await using var server = new RawServer();
        using var channel = server.Channel(o => o with { KeepAliveInterval = TimeSpan.FromSeconds(1), KeepAliveTimeout = TimeSpan.FromSeconds(1) });
        await using var call = await OpenAsync(channel, server);
        var ping = call.Http.ReadUntilAsync(f => f is { Type: FrameType.Ping, IsAck: false });
        var failure = await Assert.ThrowsAsync<RpcException>(async () => await call.Rpc.ReadAsync(Patience.Token));
        await Patience.Within(ping);
        Assert.Equal(StatusCode.Unavailable, failure.Code);
    }

    [Fact]
    public async Task A_server_that_does_not_speak_http2_is_unavailable()
    {
        using var listener = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        listener.Start();
        using var channel = new RpcChannel(new RpcChannelOptions { Address = new Uri($"http://{listener.LocalEndpoint}") });
        var call = CallAsync(channel);
        using var socket = await listener.AcceptSocketAsync(Patience.Token);
        await socket.SendAsync("HTTP/1.1 400 Bad Request\r\n\r\n"u8.ToArray(), Patience.Token);
        var failure = await Assert.ThrowsAsync<RpcException>(() => Patience.Within(call));
        Assert.Contains(failure.Code, new[] { StatusCode.Unavailable, StatusCode.Internal });
    }

    private static Task<IstioCertificateResponse> CallAsync(RpcChannel channel, TimeSpan? deadline = null) =>
        channel.UnaryAsync(TestServer.Echo, new IstioCertificateRequest { Csr = "csr" }, deadline: deadline, cancellationToken: Patience.Token);

    private static async Task<RawHttp2> ReceiveAsync(RawServer server)
    {
        var http = await server.AcceptAsync();
        await http.ReadUntilAsync(f => f.EndStream);
        return http;
    }

    private static async Task AnswerAsync(RawHttp2 http, int stream)
    {
        await http.HeadersAsync(stream, false, Accepted);
        await http.DataAsync(stream, Reply);
        await http.HeadersAsync(stream, true, ("grpc-status", "0"));
    }

    private sealed record OpenCall(RawHttp2 Http, RpcDuplex<IstioCertificateRequest, IstioCertificateResponse> Rpc) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync()
        {
            await Rpc.DisposeAsync();
            await Http.DisposeAsync();
        }
    }

    private static async Task<OpenCall> OpenAsync(RpcChannel channel, RawServer server)
    {
        var opening = channel.DuplexAsync(TestServer.Stream, cancellationToken: Patience.Token);
        var http = await server.AcceptAsync();
        await http.ReadUntilAsync(f => f.Type == FrameType.Headers);
        return new OpenCall(http, await Patience.Within(opening));
    }

    private static Dictionary<int, uint> Settings(Frame frame) =>
        Enumerable.Range(0, frame.Payload.Length / 6).ToDictionary(i => (int)BinaryPrimitives.ReadUInt16BigEndian(frame.Payload.AsSpan(i * 6)), i => BinaryPrimitives.ReadUInt32BigEndian(frame.Payload.AsSpan(i * 6 + 2)));
}
