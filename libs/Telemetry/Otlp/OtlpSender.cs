using System.Buffers.Binary;
using System.Net;
using System.Net.Http.Headers;

namespace AmbientMesh.Telemetry.Otlp;

/// <summary>Sends one request to the collector; what it answers is only looked at for success. Source: OTLP specification 1.x, OTLP/HTTP and OTLP/gRPC.</summary>
internal sealed class OtlpSender(OtlpSettings settings, TimeProvider clock) : IDisposable
{
    private readonly HttpClient _http = new(new SocketsHttpHandler { ConnectTimeout = settings.Timeout, AllowAutoRedirect = false, UseCookies = false, MaxResponseHeadersLength = 16 }) { Timeout = Timeout.InfiniteTimeSpan };

    /// <returns>Null when it was taken; otherwise why not, and whether trying again may help.</returns>
    public async Task<(string Problem, bool CanRetry)?> SendAsync(Uri address, ReadOnlyMemory<byte> message, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(settings.Timeout, clock);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            using var request = Request(address, message);
            using var response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, both.Token);
            await response.Content.LoadIntoBufferAsync(64 * 1024, both.Token);   // trailers come after the body
            return Judge(address, response);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return ($"{address} did not answer within {settings.Timeout.TotalSeconds} s", true);
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            return ($"{address}: {e.GetBaseException().Message}", true);
        }
    }

    public void Dispose() => _http.Dispose();

    private HttpRequestMessage Request(Uri address, ReadOnlyMemory<byte> message)
    {
        var isGrpc = settings.Protocol == OtlpProtocol.Grpc;
        var request = new HttpRequestMessage(HttpMethod.Post, address)
        {
            Version = isGrpc ? HttpVersion.Version20 : HttpVersion.Version11,
            VersionPolicy = isGrpc ? HttpVersionPolicy.RequestVersionExact : HttpVersionPolicy.RequestVersionOrLower,
            Content = isGrpc ? new ByteArrayContent(Framed(message)) : new ReadOnlyMemoryContent(message),
        };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue(isGrpc ? "application/grpc" : "application/x-protobuf");
        if (isGrpc) request.Headers.TE.Add(new TransferCodingWithQualityHeaderValue("trailers"));
        foreach (var (name, value) in settings.Headers) request.Headers.TryAddWithoutValidation(name, value);
        return request;
    }

    // Not compressed, length, message (gRPC over HTTP/2).
    private static byte[] Framed(ReadOnlyMemory<byte> message)
    {
        var framed = new byte[message.Length + 5];
        BinaryPrimitives.WriteInt32BigEndian(framed.AsSpan(1), message.Length);
        message.CopyTo(framed.AsMemory(5));
        return framed;
    }

    private (string, bool)? Judge(Uri address, HttpResponseMessage response)
    {
        if (response.StatusCode != HttpStatusCode.OK)
            return ($"{address} answered {(int)response.StatusCode}", response.StatusCode is HttpStatusCode.TooManyRequests or HttpStatusCode.BadGateway or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout);
        if (settings.Protocol != OtlpProtocol.Grpc) return null;
        var status = (response.TrailingHeaders.TryGetValues("grpc-status", out var trailing) ? trailing : response.Headers.TryGetValues("grpc-status", out var leading) ? leading : []).FirstOrDefault();
        return status == "0" ? null : ($"{address} answered gRPC status {status ?? "(none)"}", status is "1" or "4" or "8" or "10" or "11" or "14" or "15");
    }
}
