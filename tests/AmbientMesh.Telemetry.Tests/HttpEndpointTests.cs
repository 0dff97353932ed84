using System.Net;
using System.Net.Sockets;
using System.Text;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.Telemetry.Tests;

public sealed class HttpEndpointTests : IAsyncLifetime
{
    private readonly FakeTimeProvider _clock = new(DateTimeOffset.Parse("2026-11-21T01:23:46Z"));
    private readonly Readiness _readiness = new();
    private readonly LogFilter _filter = LogFilter.Parse("hickory_server::server=off,info");
    private HttpEndpoint _endpoint = null!;

    public ValueTask InitializeAsync()
    {
        var registry = new MetricRegistry();
        registry.Counter("c", "C.").Add(3);
        _endpoint = HttpEndpoint.Start("test", [new IPEndPoint(IPAddress.Loopback, 0)], (request, _) => ValueTask.FromResult(request.Path switch
        {
            "/logging" => StandardEndpoints.Logging(request, _filter),
            "/metrics" => StandardEndpoints.Metrics(request, registry),
            "/throws" => throw new InvalidOperationException("secret detail"),
            "/echo" => new HttpEndpointResponse(200, "text/plain", request.Body),
            _ => StandardEndpoints.Ready(request, _readiness),
        }), NullLogger.Instance, _clock);
        return ValueTask.CompletedTask;
    }

    public ValueTask DisposeAsync() => _endpoint.DisposeAsync();

    private async Task<string> SendAsync(string raw)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(_endpoint.EndPoints[0], Patience.Token);
        var stream = client.GetStream();
        await stream.WriteAsync(Encoding.Latin1.GetBytes(raw), Patience.Token);
        using var reader = new StreamReader(stream);
        return await reader.ReadToEndAsync(Patience.Token);
    }

    private Task<string> AskAsync(string method, string target) => SendAsync($"{method} {target} HTTP/1.1\r\nhost: x\r\n\r\n");

    [Theory]
    [InlineData("readiness-1-before-xds.txt", "state manager", "workload proxy manager")]
    [InlineData("readiness-2-after-xds-before-snapshot.txt", "workload proxy manager")]
    [InlineData("readiness-3-after-snapshot.txt")]
    public async Task Readiness_answers_byte_for_byte_as_recorded(string recording, params string[] pending)
    {
        foreach (var name in pending) _readiness.Wait(name);
        var recorded = Samples.Text($"samples/ztunnel/telemetry/{recording}").Replace("\r\n", "\n");
        Assert.Equal(WithoutDate(recorded), WithoutDate((await AskAsync("GET", "/healthz/ready")).Replace("\r\n", "\n")));
    }

    [Fact]
    public async Task An_endpoint_may_end_in_the_moment_it_begins()
    {
        for (var i = 0; i < 500; i++)
        {
            var endpoint = HttpEndpoint.Start("test", [new IPEndPoint(IPAddress.Loopback, 0)], (_, _) => throw new InvalidOperationException(), NullLogger.Instance, _clock);
            if (i % 2 == 0) await Task.Yield();
            await endpoint.DisposeAsync().AsTask().WaitAsync(Patience.Token);
        }
    }

    [Fact]
    public async Task Every_recorded_form_of_logging_gets_the_recorded_answer()
    {
        var cases = Samples.Text("samples/ztunnel/telemetry/admin-paths.txt").Split("### ").Where(c => c.Split('\n')[0].Contains(" /logging")).ToArray();
        Assert.Equal(11, cases.Length);
        foreach (var recorded in cases)
        {
            var lines = recorded.Split('\n');
            var request = lines[0].Split(' ');
            var answer = await AskAsync(request[0], request[1]);
            Assert.StartsWith(lines[1].Trim(), answer);
            var body = recorded[(recorded.IndexOf("bytes): ", StringComparison.Ordinal) + 8)..].Trim();
            Assert.Equal(body, answer[(answer.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4)..].Trim());
        }
    }

    [Fact]
    public async Task Other_paths_and_methods_are_refused_as_recorded()
    {
        Assert.StartsWith("HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n", await AskAsync("GET", "/nosuch"));
        Assert.StartsWith("HTTP/1.1 405 Method Not Allowed\r\nconnection: close\r\ncontent-length: 0\r\n", await AskAsync("POST", "/healthz/ready"));
        Assert.DoesNotContain("content-length", await AskAsync("HEAD", "/healthz/ready"));
    }

    [Fact]
    public async Task Metrics_are_plain_unless_openmetrics_or_gzip_is_asked_for()
    {
        Assert.Contains("content-type: text/plain; charset=utf-8\r\nvary: accept-encoding\r\n", await AskAsync("POST", "/metrics"));
        Assert.Contains("content-type: application/openmetrics-text;charset=utf-8;version=1.0.0\r\n",
            await SendAsync("GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text\r\n\r\n"));
        using var client = new HttpClient(new SocketsHttpHandler { AutomaticDecompression = DecompressionMethods.GZip });
        Assert.Contains("c_total 3\n", await client.GetStringAsync($"http://{_endpoint.EndPoints[0]}/metrics", Patience.Token));
    }

    [Theory]
    [InlineData("nonsense\r\n\r\n", 400)]
    [InlineData("GET / HTTP/2.0\r\n\r\n", 400)]
    [InlineData("GET nopath HTTP/1.1\r\n\r\n", 400)]
    [InlineData("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400)]
    [InlineData("POST /echo HTTP/1.1\r\ncontent-length: many\r\n\r\n", 400)]
    [InlineData("POST /echo HTTP/1.1\r\ncontent-length: 9999999\r\n\r\n", 413)]
    [InlineData("POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", 411)]
    public async Task A_malformed_request_is_refused_and_the_next_one_is_served(string raw, int status)
    {
        Assert.StartsWith($"HTTP/1.1 {status} ", await SendAsync(raw));
        Assert.EndsWith("hello", await SendAsync("POST /echo HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello"));
    }

    [Fact]
    public async Task A_head_without_end_is_refused_at_its_limit() =>
        Assert.StartsWith("HTTP/1.1 431 ", await SendAsync("GET / HTTP/1.1\r\nx: " + new string('a', 16 * 1024 - 19)));

    [Fact]
    public async Task A_failing_answer_tells_the_client_nothing_but_that_it_failed()
    {
        var answer = await AskAsync("GET", "/throws");
        Assert.StartsWith("HTTP/1.1 500 ", answer);
        Assert.DoesNotContain("secret", answer);
    }

    [Fact]
    public void A_port_in_use_is_named()
    {
        var error = Assert.Throws<IOException>(() => HttpEndpoint.Start("stats", [_endpoint.EndPoints[0]], (_, _) => default, NullLogger.Instance, _clock));
        Assert.Contains($"The stats port {_endpoint.EndPoints[0]} cannot be opened", error.Message);
    }

    private static string WithoutDate(string answer) => string.Join('\n', answer.Split('\n').Where(l => !l.StartsWith("date:", StringComparison.Ordinal)));
}
