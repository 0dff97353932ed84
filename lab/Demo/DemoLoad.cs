using System.Globalization;
using System.Text.Json;

namespace AmbientMesh.Lab.Demo;

/// <summary>The counts of a load (<c>samples load</c>): new connections and long-lived ones.</summary>
public sealed record LoadCounts(int Made, int Failed, int Reset, int LongLivedOpened, int LongLivedOpen, int LongLivedBroken, int LongLivedMessages, double SlowestConnectionMs)
{
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Made} new connections made, {Failed} failed, {Reset} reset; {LongLivedOpened} long-lived opened, {LongLivedBroken} broken, {LongLivedMessages} messages; slowest new connection {SlowestConnectionMs:0} ms");
}

/// <summary>A load that runs in the shop's client pod until it is stopped.</summary>
public sealed class DemoLoad(CommandRunner run, TimeProvider clock)
{
    private const string Port = "7070";
    private static readonly TimeSpan Between = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
    private Task<CommandResult> _running = Task.FromResult(new CommandResult(0, "", ""));

    /// <summary>Starts <paramref name="rate"/> new connections a second and <paramref name="longLived"/> that stay; returns when those are open.</summary>
    public async Task StartAsync(string target, int rate, int longLived, CancellationToken cancellationToken)
    {
        _running = InClient(cancellationToken, "load", target, "--rate", $"{rate}", "--long-lived", $"{longLived}", "--message-ms", "50", "--seconds", "180", "--report", Port);
        await UntilAsync(counts => counts.LongLivedOpen == longLived, "long-lived connections open", cancellationToken);
    }

    /// <summary>The counts of the first moment at which <paramref name="reached"/> holds.</summary>
    /// <exception cref="CommandFailedException">It did not within half a minute.</exception>
    public async Task<LoadCounts> UntilAsync(Func<LoadCounts, bool> reached, string what, CancellationToken cancellationToken)
    {
        var started = clock.GetTimestamp();
        using var timer = new PeriodicTimer(Between, clock);
        LoadCounts? counts = null;
        while (clock.GetElapsedTime(started) < Patience)
        {
            counts = await AskAsync("/", cancellationToken);
            if (counts is not null && reached(counts)) return counts;
            if (_running.IsCompleted) throw new CommandFailedException($"the load ended early: {(await _running).Output} {(await _running).Errors}");
            await timer.WaitForNextTickAsync(cancellationToken);
        }
        throw new CommandFailedException($"not within {Patience.TotalSeconds:0} s: {what}; the load tells {counts?.ToString() ?? "nothing"}");
    }

    /// <summary>Ends the load and gives its final counts.</summary>
    public async Task<LoadCounts> StopAsync(CancellationToken cancellationToken)
    {
        var counts = await AskAsync("/stop", cancellationToken) ?? throw new CommandFailedException("the load in the client's pod does not answer.");
        await _running;
        return counts;
    }

    private async Task<LoadCounts?> AskAsync(string path, CancellationToken cancellationToken)
    {
        var answer = (await InClient(cancellationToken, "get", $"http://127.0.0.1:{Port}{path}")).Output;
        return answer.StartsWith("200 ", StringComparison.Ordinal) ? JsonSerializer.Deserialize<LoadCounts>(answer[4..], JsonSerializerOptions.Web) : null;
    }

    private Task<CommandResult> InClient(CancellationToken cancellationToken, params string[] arguments) =>
        run.KubectlAsync(cancellationToken, ["exec", "-n", "shop", "deploy/client", "--", "/app/samples", .. arguments]);
}
