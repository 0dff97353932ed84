using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using AmbientMesh.Cni.Node;
using AmbientMesh.Kubernetes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Cni.Tests.Agent;

/// <summary>An agent running in the test's process.</summary>
internal sealed class RunningAgent : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly KubernetesClient _client;
    private readonly Lines _lines = new();
    private readonly ILoggerFactory _logs;
    private readonly Task _running;

    private RunningAgent(AgentSettings settings, KubernetesConnection connection, TimeProvider clock)
    {
        _client = new KubernetesClient(connection, new KubernetesClientOptions { Name = "istio-cni-node" });
        _logs = LoggerFactory.Create(builder => builder.SetMinimumLevel(LogLevel.Debug).AddProvider(_lines));
        Agent = new NodeAgent(settings, _client, clock, _logs);
        _running = Agent.RunAsync(_stop.Token);
    }

    public NodeAgent Agent { get; }

    /// <summary>The end of its log, for messages of failing tests.</summary>
    public string LastLines => "log:\n" + string.Join('\n', _lines.All.TakeLast(30));

    public static async Task<RunningAgent> StartAsync(AgentSettings settings, KubernetesConnection connection, TimeProvider? clock = null)
    {
        var agent = new RunningAgent(settings, connection, clock ?? TimeProvider.System);
        await Patience.Within(await Task.WhenAny(agent.Agent.Serving, agent._running));
        return agent;
    }

    /// <summary>One round of the verification, now.</summary>
    public Task VerifyAsync() => Agent.Verification!.RoundAsync(Patience.Token);

    public async Task<(int Status, string Text)> GetAsync(string path)
    {
        using var http = new HttpClient();
        using var answer = await http.GetAsync($"http://127.0.0.1:{(path == "/metrics" ? Agent.Monitoring : Agent.Health)!.Port}{path}", Patience.Token);
        return ((int)answer.StatusCode, await answer.Content.ReadAsStringAsync(Patience.Token));
    }

    public async Task<JsonObject> StatusAsync() => (JsonObject)JsonNode.Parse((await GetAsync("/status")).Text)!;

    /// <summary>As at SIGTERM.</summary>
    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await Patience.Within(_running);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _client.Dispose();
        _logs.Dispose();
        _stop.Dispose();
    }

    private sealed class Lines : ILoggerProvider, ILogger
    {
        public ConcurrentQueue<string> All { get; } = [];
        public ILogger CreateLogger(string categoryName) => this;
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;
        public bool IsEnabled(LogLevel logLevel) => true;
        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => All.Enqueue($"{logLevel}: {formatter(state, exception)} {exception}");

        public void Dispose()
        {
        }
    }
}
