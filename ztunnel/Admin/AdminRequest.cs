namespace AmbientMesh.Ztunnel.Admin;

/// <summary><c>ztunnel request [METHOD] URL</c>: asks this ztunnel's own loopback endpoints, for images that hold no other HTTP client.</summary>
public static class AdminRequest
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    /// <summary>Writes the answer's body to <paramref name="output"/>; 0 for a 2xx status, 1 for another or none, 2 for wrong words.</summary>
    public static async Task<int> RunAsync(string[] arguments, Stream output, TextWriter errors)
    {
        var (method, address) = arguments switch
        {
            [var url] => ("GET", url),
            [var verb, var url] => (verb.ToUpperInvariant(), url),
            _ => ("", ""),
        };
        if (method is not ("GET" or "POST") || !Uri.TryCreate(address, UriKind.Absolute, out var uri) || uri.Scheme != Uri.UriSchemeHttp || !uri.IsLoopback)
        {
            await errors.WriteLineAsync("usage: ztunnel request [GET|POST] http://localhost:PORT/PATH   (15000 admin, 15020 metrics, 15021 readiness)");
            return 2;
        }
        using var client = new HttpClient { Timeout = Limit };
        using var request = new HttpRequestMessage(new HttpMethod(method), uri);
        try
        {
            using var answer = await client.SendAsync(request);
            await answer.Content.CopyToAsync(output);
            if (answer.IsSuccessStatusCode) return 0;
            await errors.WriteLineAsync($"{method} {uri} answered {(int)answer.StatusCode} {answer.ReasonPhrase}");
        }
        catch (Exception failure) when (failure is HttpRequestException or TaskCanceledException)
        {
            await errors.WriteLineAsync($"{method} {uri} failed: {failure.Message}");
        }
        return 1;
    }
}
