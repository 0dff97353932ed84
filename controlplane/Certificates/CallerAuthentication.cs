using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using AmbientMesh.Kubernetes;
using AmbientMesh.Rpc;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>Settings of <see cref="CallerAuthentication"/>.</summary>
public sealed record CallerAuthenticationOptions
{
    /// <summary>What tokens must be meant for.</summary>
    public IReadOnlyList<string> Audiences { get; init; } = ["istio-ca"];
    public required string TrustDomain { get; init; }
    /// <summary>The cluster whose API server reviews tokens; a caller naming another is refused.</summary>
    public required string ClusterId { get; init; }
    /// <summary>How long a proven token is not reviewed again. Short, since a token dies with its pod.</summary>
    public TimeSpan ProvenFor { get; init; } = TimeSpan.FromSeconds(10);
    /// <summary>How long a refused token is not reviewed again.</summary>
    public TimeSpan RefusedFor { get; init; } = TimeSpan.FromSeconds(1);
    /// <summary>Time the API server has to review a token.</summary>
    public TimeSpan ReviewTimeout { get; init; } = TimeSpan.FromSeconds(10);
}

/// <summary>Authenticates callers of discovery and of the CA by their ServiceAccount token, by a client certificate that was judged already, or by both (reference 6.3).</summary>
/// <remarks>Thread-safe. The same token in many calls at once is reviewed once. Tokens are held only as hashes. When in doubt it refuses.</remarks>
#pragma warning disable CA1001 // the semaphore holds nothing to dispose of as long as nobody asks for its wait handle
public sealed class CallerAuthentication(KubernetesClient client, CallerAuthenticationOptions options)
#pragma warning restore CA1001
{
    private const string Scheme = "Bearer ";
    private const int MaxTokenLength = 16 * 1024;
    private const int MaxRemembered = 10_000;
    private const int MaxReviewsAtOnce = 64;   // a flood of made-up tokens must not become a flood on the API server

    private readonly Lock _gate = new();
    private readonly Dictionary<string, Review> _reviews = [];
    private readonly SemaphoreSlim _slots = new(MaxReviewsAtOnce);

    /// <summary>Authenticates by the metadata of a call, <c>authorization</c> and <c>clusterid</c>, and by the client certificate of its connection.</summary>
    /// <param name="certificate">What the certificate proves; null when the client showed none.</param>
    /// <remarks>Either is enough. Of a caller that brings both, both must be good and of one identity; istiod takes the first that is good.</remarks>
    public async Task<Authentication> AuthenticateAsync(RpcMetadata metadata, Authentication? certificate, CancellationToken cancellationToken)
    {
        if (metadata.Get("clusterid") is { Length: > 0 } cluster && cluster != options.ClusterId)
            return new Authentication.Refused($"the caller is of cluster {cluster}, this is {options.ClusterId}");
        if (certificate is Authentication.Refused) return certificate;
        if (metadata.Get("authorization") is not { } authorization) return certificate ?? new Authentication.Refused("the call carries no token, and its connection no client certificate");
        if (!authorization.StartsWith(Scheme, StringComparison.Ordinal)) return new Authentication.Refused("the authorization of the call is not a bearer token");
        var token = await AuthenticateAsync(authorization[Scheme.Length..].Trim(), cancellationToken);
        if (token is not Authentication.Proven { Caller: var caller } || certificate is not Authentication.Proven { Caller.Identity: var shown }) return token;
        return caller.Identity == shown ? token : new Authentication.Refused($"the token is of {caller.Identity}, the client certificate of {shown}");
    }

    /// <summary>Authenticates by a token.</summary>
    public async Task<Authentication> AuthenticateAsync(string token, CancellationToken cancellationToken)
    {
        if (token.Length is 0 or > MaxTokenLength) return new Authentication.Refused($"a token of {token.Length} characters");
        if (token.Count(c => c == '.') != 2) return new Authentication.Refused("the token is not a JWT");
        return await ReviewOf(token).Outcome.WaitAsync(cancellationToken);
    }

    private Review ReviewOf(string token)
    {
        var hash = Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(token)));
        var now = client.Clock.GetUtcNow();
        lock (_gate)
        {
            if (_reviews.TryGetValue(hash, out var known) && now < known.GoodUntil) return known;
            if (_reviews.Count >= MaxRemembered) Forget(now);
            var review = new Review { GoodUntil = DateTimeOffset.MaxValue };   // while it is under way
            _reviews[hash] = review;
            review.Outcome = Task.Run(() => ReviewAsync(token, review), CancellationToken.None);
            return review;
        }
    }

    private async Task<Authentication> ReviewAsync(string token, Review review)
    {
        Authentication outcome;
        var goodFor = TimeSpan.Zero;   // what could not be asked is asked again
        try
        {
            using var timeout = new CancellationTokenSource(options.ReviewTimeout, client.Clock);
            outcome = TokenJudgement.Judge(await AskAsync(token, timeout.Token), options.Audiences, options.TrustDomain);
            goodFor = outcome is Authentication.Proven ? options.ProvenFor : options.RefusedFor;
        }
        catch (Exception e) when (e is KubernetesException or KubernetesConfigurationException or OperationCanceledException)
        {
            outcome = new Authentication.Refused($"the token could not be reviewed: {e.Message}");
        }
        var until = client.Clock.GetUtcNow() + goodFor;
        lock (_gate) review.GoodUntil = Expiry(token) is { } expiry && expiry < until ? expiry : until;
        return outcome;
    }

    private async Task<TokenReviewStatus> AskAsync(string token, CancellationToken cancellationToken)
    {
        await _slots.WaitAsync(cancellationToken);
        try
        {
            return await client.ReviewTokenAsync(token, options.Audiences, cancellationToken);
        }
        finally
        {
            _slots.Release();
        }
    }

    private void Forget(DateTimeOffset now)
    {
        foreach (var old in _reviews.Where(r => r.Value.GoodUntil <= now).Select(r => r.Key).ToList()) _reviews.Remove(old);
        if (_reviews.Count >= MaxRemembered) _reviews.Clear();
    }

    /// <summary>The token's own end, read without checking anything: it can only shorten how long a review is remembered.</summary>
    private static DateTimeOffset? Expiry(string token)
    {
        try
        {
            using var claims = JsonDocument.Parse(Base64Url.DecodeFromChars(token.Split('.')[1]));
            return claims.RootElement.TryGetProperty("exp", out var exp) && exp.TryGetInt64(out var seconds) ? DateTimeOffset.FromUnixTimeSeconds(seconds) : null;
        }
        catch (Exception e) when (e is FormatException or JsonException or InvalidOperationException or ArgumentOutOfRangeException)
        {
            return null;
        }
    }

    private sealed class Review
    {
        public Task<Authentication> Outcome { get; set; } = null!;
        public DateTimeOffset GoodUntil { get; set; }
    }
}
