using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace AmbientMesh.Kubernetes;

/// <summary>Settings of a <see cref="KubernetesClient"/>.</summary>
public sealed record KubernetesClientOptions
{
    /// <summary>User-Agent and default field manager: the name under which writes are recorded.</summary>
    public string Name { get; init; } = "ambientmesh";
    /// <summary>Time for an answer to begin and, watches apart, to end.</summary>
    public TimeSpan RequestTimeout { get; init; } = TimeSpan.FromSeconds(30);
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}

/// <summary>Speaks to one API server. Thread-safe; one per process is enough.</summary>
public sealed class KubernetesClient : IDisposable
{
    private const int MaxErrorBytes = 1 << 20;

    private readonly HttpClient _http;
    private readonly BearerToken? _token;
    private readonly KubernetesClientOptions _options;

    public KubernetesClient(KubernetesConnection connection, KubernetesClientOptions? options = null)
    {
        Connection = connection;
        _options = options ?? new KubernetesClientOptions();
        _token = connection.Token;
        var root = connection.Server.AbsoluteUri;
        _http = new HttpClient(connection.CreateHandler())
        {
            BaseAddress = new Uri(root.EndsWith('/') ? root : root + "/"),
            Timeout = Timeout.InfiniteTimeSpan,
        };
        _http.DefaultRequestHeaders.UserAgent.Add(new ProductInfoHeaderValue(_options.Name, "1"));
    }

    public KubernetesConnection Connection { get; }
    public TimeProvider Clock => _options.Clock;
    internal string Name => _options.Name;
    internal TimeSpan RequestTimeout => _options.RequestTimeout;

    /// <summary>Objects of a kind this library has a type for.</summary>
    public ResourceClient<T> Of<T>() where T : KubernetesObject, IResource<T> => new(this, T.Kind);

    /// <summary>Objects of any kind, as JSON.</summary>
    public ResourceClient<JsonObject> Of(ResourceType type) => new(this, GenericObjects.KindOf(type));

    /// <summary>Who holds <paramref name="token"/>, if the API server says it is good for one of <paramref name="audiences"/>.</summary>
    /// <remarks>A refusal is a value: <see cref="TokenReviewStatus.Authenticated"/> is false. When audiences are asked, check that <see cref="TokenReviewStatus.Audiences"/> is not empty.</remarks>
    /// <exception cref="KubernetesException">The question could not be answered.</exception>
    public async Task<TokenReviewStatus> ReviewTokenAsync(string token, IReadOnlyList<string> audiences, CancellationToken cancellationToken)
    {
        var review = new TokenReview { Spec = new TokenReviewSpec { Token = token, Audiences = audiences } };
        return (await Of<TokenReview>().CreateAsync(review, null, cancellationToken)).Status;
    }

    /// <summary>A token for a ServiceAccount.</summary>
    /// <exception cref="KubernetesException">No token was given.</exception>
    public async Task<TokenRequestStatus> RequestTokenAsync(string ns, string serviceAccount, TokenRequestSpec spec, CancellationToken cancellationToken)
    {
        var json = KubernetesJson.Of<TokenRequest>();
        var body = JsonSerializer.SerializeToUtf8Bytes(new TokenRequest { ApiVersion = "authentication.k8s.io/v1", Kind = "TokenRequest", Spec = spec }, json);
        var path = ServiceAccount.Type.Path(ns, serviceAccount, "token");
        var answer = await SendAsync(HttpMethod.Post, path, body, "application/json", cancellationToken);
        return Read(answer, json, $"POST {path}").Status;
    }

    /// <summary>The kinds served under a group and version (empty group: core); subresources are left out.</summary>
    /// <exception cref="KubernetesException">Also when the server does not know the group.</exception>
    public async Task<IReadOnlyList<ResourceType>> ListResourceTypesAsync(string group, string version, CancellationToken cancellationToken)
    {
        var answer = await GetJsonAsync(group.Length == 0 ? $"/api/{version}" : $"/apis/{group}/{version}", cancellationToken);
        return ApiResources.Read(answer, group, version);
    }

    /// <summary>Any path, as JSON, e.g. <c>/version</c>.</summary>
    public async Task<JsonObject> GetJsonAsync(string path, CancellationToken cancellationToken) =>
        Read(await SendAsync(HttpMethod.Get, path, null, null, cancellationToken), KubernetesJson.Of<JsonObject>(), $"GET {path}");

    /// <summary>Sends a request and returns the whole body of its successful answer.</summary>
    internal async Task<byte[]> SendAsync(HttpMethod method, string path, byte[]? body, string? contentType, CancellationToken cancellationToken)
    {
        using var deadline = new Deadline(_options.RequestTimeout, _options.Clock, cancellationToken);
        try
        {
            using var answer = await OpenAsync(method, path, body, contentType, deadline.Token);
            return await answer.Content.ReadAsByteArrayAsync(deadline.Token);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw Unreachable($"{method} {path}", $"no answer within {_options.RequestTimeout.TotalSeconds:0} s", e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            throw Unreachable($"{method} {path}", e.InnerException?.Message ?? e.Message, e);
        }
    }

    /// <summary>Sends a request and returns its successful answer with the body still to be read.</summary>
    internal Task<HttpResponseMessage> OpenAsync(HttpMethod method, string path, byte[]? body, string? contentType, CancellationToken cancellationToken) =>
        OpenAsync(() => Request(method, path, body, contentType), $"{method} {path}", cancellationToken);

    private async Task<HttpResponseMessage> OpenAsync(Func<HttpRequestMessage> request, string what, CancellationToken cancellationToken)
    {
        var answer = await SendOnceAsync(request(), cancellationToken);
        if (answer.StatusCode == HttpStatusCode.Unauthorized && _token?.Refused() == true)
        {
            answer.Dispose();
            answer = await SendOnceAsync(request(), cancellationToken);
        }
        if (answer.IsSuccessStatusCode || answer.StatusCode == HttpStatusCode.SwitchingProtocols) return answer;
        using (answer)
        {
            var said = await ReadAtMostAsync(answer.Content, MaxErrorBytes, cancellationToken);
            throw ErrorAnswers.Read(what, answer.StatusCode, said, RetryAfter(answer));
        }
    }

    /// <summary>Turns a request into a WebSocket connection (RFC 6455 §4.1) and returns its bytes, to be read and written.</summary>
    /// <remarks>Done here rather than by the framework's client, which loses the server's reason for a refusal.</remarks>
    internal async Task<Stream> UpgradeAsync(string path, string protocol, CancellationToken cancellationToken)
    {
        var key = Convert.ToBase64String(System.Security.Cryptography.RandomNumberGenerator.GetBytes(16));
        using var deadline = new Deadline(_options.RequestTimeout, _options.Clock, cancellationToken);
        try
        {
            var answer = await OpenAsync(() => UpgradeRequest(path, protocol, key), $"GET {path}", deadline.Token);
            if (answer.StatusCode == HttpStatusCode.SwitchingProtocols && answer.Headers.TryGetValues("Sec-WebSocket-Protocol", out var chosen) && chosen.Contains(protocol))
                return await answer.Content.ReadAsStreamAsync(deadline.Token);
            answer.Dispose();
            throw new KubernetesRefusedException($"GET {path}: the server does not speak {protocol} here (it answered {(int)answer.StatusCode})", answer.StatusCode, new Status());
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw Unreachable($"GET {path}", $"no answer within {_options.RequestTimeout.TotalSeconds:0} s", e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            throw Unreachable($"GET {path}", e.InnerException?.Message ?? e.Message, e);
        }
    }

    private static HttpRequestMessage UpgradeRequest(string path, string protocol, string key)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, path.TrimStart('/')) { Version = HttpVersion.Version11, VersionPolicy = HttpVersionPolicy.RequestVersionExact };
        request.Headers.TryAddWithoutValidation("Connection", "Upgrade");
        request.Headers.TryAddWithoutValidation("Upgrade", "websocket");
        request.Headers.TryAddWithoutValidation("Sec-WebSocket-Key", key);
        request.Headers.TryAddWithoutValidation("Sec-WebSocket-Version", "13");
        request.Headers.TryAddWithoutValidation("Sec-WebSocket-Protocol", protocol);
        return request;
    }

    internal KubernetesUnavailableException Unreachable(string what, string problem, Exception? cause) =>
        new($"{what} at {Connection.Server}: {problem}", null, new Status(), null, cause);

    internal static T Read<T>(byte[] body, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> json, string what) where T : class
    {
        try
        {
            return JsonSerializer.Deserialize(body, json) ?? throw new JsonException("the body is null");
        }
        catch (JsonException e)
        {
            throw new KubernetesRefusedException($"{what}: the answer cannot be read: {e.Message}", HttpStatusCode.OK, new Status(), e);
        }
    }

    private static HttpRequestMessage Request(HttpMethod method, string path, byte[]? body, string? contentType)
    {
        var request = new HttpRequestMessage(method, path.TrimStart('/')) { Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionOrLower };
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("application/json"));
        if (body is null) return request;
        request.Content = new ByteArrayContent(body);
        request.Content.Headers.ContentType = new MediaTypeHeaderValue(contentType!);
        return request;
    }

    private async Task<HttpResponseMessage> SendOnceAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        using (request)
        {
            request.Headers.Host = Connection.TlsServerName;   // the handler expects this name in the certificate, whatever its own options say
            if (_token is { } token) request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token.Current());
            return await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        }
    }

    private TimeSpan? RetryAfter(HttpResponseMessage answer) => answer.Headers.RetryAfter switch
    {
        { Delta: { } wait } => wait,
        { Date: { } date } => date - _options.Clock.GetUtcNow() is { Ticks: > 0 } wait ? wait : TimeSpan.Zero,
        _ => null,
    };

    private static async Task<byte[]> ReadAtMostAsync(HttpContent content, int limit, CancellationToken cancellationToken)
    {
        await using var stream = await content.ReadAsStreamAsync(cancellationToken);
        using var kept = new MemoryStream();
        var buffer = new byte[8192];
        while (kept.Length < limit && await stream.ReadAsync(buffer, cancellationToken) is > 0 and var count) kept.Write(buffer, 0, count);
        return kept.ToArray();
    }

    public void Dispose() => _http.Dispose();
}
