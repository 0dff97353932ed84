namespace AmbientMesh.Samples;

/// <summary>Asks a URL on a fresh connection each time and prints one line per answer.</summary>
internal static class HttpCaller
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(10);

    public static async Task<int> GetAsync(Uri url, int repeat, CancellationToken stop)
    {
        var failed = 0;
        for (var i = 0; i < repeat; i++) failed += await AskAsync(url, stop) ? 0 : 1;
        return failed == 0 ? 0 : 1;
    }

    public static async Task<int> LoopAsync(Uri url, TimeSpan interval, CancellationToken stop)
    {
        using var timer = new PeriodicTimer(interval);
        try
        {
            do await AskAsync(url, stop); while (await timer.WaitForNextTickAsync(stop));
        }
        catch (OperationCanceledException)
        {
            // Asked to stop.
        }
        return 0;
    }

    private static async Task<bool> AskAsync(Uri url, CancellationToken stop)
    {
        using var client = new HttpClient { Timeout = Limit };
        client.DefaultRequestHeaders.ConnectionClose = true;
        try
        {
            using var answer = await client.GetAsync(url, stop);
            Console.WriteLine($"{(int)answer.StatusCode} {await answer.Content.ReadAsStringAsync(stop)}");
            return answer.IsSuccessStatusCode;
        }
        catch (Exception failure) when (failure is HttpRequestException or TaskCanceledException && !stop.IsCancellationRequested)
        {
            Console.WriteLine($"failed: {failure.Message}");
            return false;
        }
    }
}
