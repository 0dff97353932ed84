using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Telemetry;

/// <summary>A small HTTP/1.1 server for metrics, readiness and administration: one request per connection, small heads, few connections, no ASP.NET.</summary>
/// <remarks>Refuses: heads over 16 KiB, bodies over 1 MiB, chunked bodies, more than 64 connections at once, a request that takes longer than 10 s.</remarks>
public sealed class HttpEndpoint : IAsyncDisposable
{
    private const int MaxHeadBytes = 16 * 1024;
    private const int MaxBodyBytes = 1024 * 1024;
    private const int MaxConnections = 64;
    private static readonly TimeSpan RequestTimeout = TimeSpan.FromSeconds(10);

    private readonly Socket[] _listeners;
    private readonly Func<HttpEndpointRequest, CancellationToken, ValueTask<HttpEndpointResponse>> _handle;
    private readonly ILogger _log;
    private readonly TimeProvider _clock;
    private readonly SemaphoreSlim _slots = new(MaxConnections);
    private readonly CancellationTokenSource _stopping = new();
    private readonly Task _accepting;

    private HttpEndpoint(Socket[] listeners, Func<HttpEndpointRequest, CancellationToken, ValueTask<HttpEndpointResponse>> handle, ILogger log, TimeProvider clock)
    {
        (_listeners, _handle, _log, _clock) = (listeners, handle, log, clock);
        _accepting = Task.WhenAll(listeners.Select(listener => Task.Run(() => AcceptAsync(listener), CancellationToken.None)));
    }

    /// <summary>The bound addresses; ports are real also when 0 was asked for.</summary>
    public IReadOnlyList<IPEndPoint> EndPoints => [.. _listeners.Select(l => (IPEndPoint)l.LocalEndPoint!)];

    /// <summary>Binds every address and serves. An IPv6 wildcard also takes IPv4.</summary>
    /// <exception cref="IOException">A port is in use or not allowed; the message names <paramref name="what"/> and the address.</exception>
    public static HttpEndpoint Start(string what, IReadOnlyList<IPEndPoint> addresses,
        Func<HttpEndpointRequest, CancellationToken, ValueTask<HttpEndpointResponse>> handle, ILogger log, TimeProvider clock)
    {
        var listeners = new List<Socket>();
        try
        {
            foreach (var address in addresses) listeners.Add(Listen(what, address));
        }
        catch
        {
            foreach (var listener in listeners) listener.Dispose();
            throw;
        }
        return new HttpEndpoint([.. listeners], handle, log, clock);
    }

    /// <summary>Serves on a socket that is bound already, of any kind (a Unix socket), and listens with it; owned by the endpoint.</summary>
    public static HttpEndpoint StartOn(Socket bound, Func<HttpEndpointRequest, CancellationToken, ValueTask<HttpEndpointResponse>> handle, ILogger log, TimeProvider clock)
    {
        bound.Listen(128);
        return new HttpEndpoint([bound], handle, log, clock);
    }

    /// <summary>localhost of both families; only IPv4 when <paramref name="ipv6"/> is false.</summary>
    public static IReadOnlyList<IPEndPoint> Localhost(int port, bool ipv6) =>
        ipv6 ? [new IPEndPoint(IPAddress.Loopback, port), new IPEndPoint(IPAddress.IPv6Loopback, port)] : [new IPEndPoint(IPAddress.Loopback, port)];

    /// <summary>Every address: <c>[::]</c> (both families) or <c>0.0.0.0</c>.</summary>
    public static IReadOnlyList<IPEndPoint> Wildcard(int port, bool ipv6) => [new IPEndPoint(ipv6 ? IPAddress.IPv6Any : IPAddress.Any, port)];

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await _accepting;
        foreach (var listener in _listeners) listener.Dispose();
        for (var i = 0; i < MaxConnections; i++) await _slots.WaitAsync(CancellationToken.None);   // the requests under way have ended
        _stopping.Dispose();
        _slots.Dispose();
    }

    private static Socket Listen(string what, IPEndPoint address)
    {
        var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            if (address.AddressFamily == AddressFamily.InterNetworkV6) socket.DualMode = address.Address.Equals(IPAddress.IPv6Any);
            socket.Bind(address);
            socket.Listen(128);
            return socket;
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new IOException($"The {what} port {address} cannot be opened: {e.Message}. Is another process using it?", e);
        }
    }

    private async Task AcceptAsync(Socket listener)
    {
        while (true)
        {
            try
            {
                var connection = await listener.AcceptAsync(_stopping.Token);
                if (_slots.Wait(0, CancellationToken.None)) _ = ServeAndReleaseAsync(connection);
                else connection.Dispose();
            }
            catch (Exception) when (_stopping.IsCancellationRequested)
            {
                return;   // cancelled; or an error that came in the same moment
            }
            catch (SocketException e)
            {
                // Out of descriptors, or the peer left before it was accepted: the listener itself is fine.
                _log.LogWarning("accepting on {Address} failed: {Reason}", listener.LocalEndPoint, e.Message);
                await Task.Delay(TimeSpan.FromMilliseconds(50), _clock, _stopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task ServeAndReleaseAsync(Socket connection)
    {
        try
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token);
            limit.CancelAfter(RequestTimeout);
            await using var stream = new NetworkStream(connection, ownsSocket: true);
            await ServeAsync(stream, limit.Token);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The client left, or took too long; there is nobody to answer.
        }
        finally
        {
            _slots.Release();
        }
    }

    private async Task ServeAsync(Stream stream, CancellationToken cancellationToken)
    {
        var (request, refusal) = await ReadAsync(stream, cancellationToken);
        var response = request is null ? refusal : await AnswerAsync(request, cancellationToken);
        if (response is null) return;
        await stream.WriteAsync(Head(response, request?.Method == "HEAD"), cancellationToken);
        if (request?.Method != "HEAD") await stream.WriteAsync(response.Body, cancellationToken);
        await stream.FlushAsync(cancellationToken);
    }

    private async Task<HttpEndpointResponse> AnswerAsync(HttpEndpointRequest request, CancellationToken cancellationToken)
    {
        try
        {
            return await _handle(request, cancellationToken);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            _log.LogError(e, "{Method} {Path} failed", request.Method, request.Path);
            return HttpEndpointResponse.Text(500, "internal error; see the log\n");
        }
    }

    private byte[] Head(HttpEndpointResponse response, bool headOnly)
    {
        var text = new StringBuilder();
        text.Append("HTTP/1.1 ").Append(response.Status).Append(' ').Append(Reason(response.Status)).Append("\r\n");
        if (response.ContentType is { } type) text.Append("content-type: ").Append(type).Append("\r\n");
        foreach (var (name, value) in response.Headers) text.Append(name).Append(": ").Append(value).Append("\r\n");
        text.Append("connection: close\r\n");
        if (!headOnly || response.Body.Length > 0) text.Append("content-length: ").Append(response.Body.Length).Append("\r\n");
        text.Append("date: ").Append(_clock.GetUtcNow().ToString("R", CultureInfo.InvariantCulture)).Append("\r\n\r\n");
        return Encoding.ASCII.GetBytes(text.ToString());
    }

    private static string Reason(int status) => status switch
    {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Status",
    };

    internal static async Task<(HttpEndpointRequest?, HttpEndpointResponse?)> ReadAsync(Stream stream, CancellationToken cancellationToken)
    {
        var head = new byte[MaxHeadBytes];
        var filled = 0;
        int end;
        while ((end = head.AsSpan(0, filled).IndexOf("\r\n\r\n"u8)) < 0)
        {
            if (filled == head.Length) return (null, HttpEndpointResponse.Text(431, "the request head is longer than 16 KiB\n"));
            var read = await stream.ReadAsync(head.AsMemory(filled), cancellationToken);
            if (read == 0) return (null, null);
            filled += read;
        }
        if (Parse(Encoding.Latin1.GetString(head, 0, end)) is not var (method, target, headers)) return (null, HttpEndpointResponse.Text(400, "not an HTTP/1.1 request\n"));
        if (headers.ContainsKey("transfer-encoding")) return (null, HttpEndpointResponse.Text(411, "send a content-length\n"));
        var length = 0;
        if (headers.TryGetValue("content-length", out var declared) && !int.TryParse(declared, NumberStyles.None, CultureInfo.InvariantCulture, out length))
            return (null, HttpEndpointResponse.Text(400, "content-length is no number\n"));
        if (length > MaxBodyBytes) return (null, HttpEndpointResponse.Text(413, "the body is longer than 1 MiB\n"));
        var body = new byte[length];
        var have = Math.Min(length, filled - end - 4);
        head.AsSpan(end + 4, have).CopyTo(body);
        await stream.ReadExactlyAsync(body.AsMemory(have), cancellationToken);
        var question = target.IndexOf('?');
        return (new HttpEndpointRequest(method, question < 0 ? target : target[..question], question < 0 ? "" : target[(question + 1)..], headers, body), null);
    }

    private static (string Method, string Target, Dictionary<string, string> Headers)? Parse(string head)
    {
        var lines = head.Split("\r\n");
        if (lines[0].Split(' ') is not [{ Length: > 0 } method, var target, "HTTP/1.1" or "HTTP/1.0"] || !target.StartsWith('/')) return null;
        var headers = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var line in lines.AsSpan(1))
        {
            var colon = line.IndexOf(':');
            if (colon <= 0) return null;
            headers[line[..colon].ToLowerInvariant()] = line[(colon + 1)..].Trim();
        }
        return (method, target, headers);
    }
}
