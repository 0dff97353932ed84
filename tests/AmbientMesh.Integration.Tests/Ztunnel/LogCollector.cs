using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>Keeps log lines as the proxy would print them, and lets tests await one.</summary>
public sealed class LogCollector : ILoggerProvider
{
    private readonly Lock _gate = new();
    private readonly List<string> _lines = [];
    private int _from;
    private TaskCompletionSource _added = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public IReadOnlyList<string> Lines
    {
        get { lock (_gate) return [.. _lines]; }
    }

    /// <summary>What is awaited from now on is none of the lines so far; <see cref="Lines"/> keeps them.</summary>
    public void BeginAnew()
    {
        lock (_gate) _from = _lines.Count;
    }

    /// <summary>The first line with all the parts, of those since <see cref="BeginAnew"/>, now or later.</summary>
    public async Task<string> LineAsync(params string[] parts)
    {
        while (true)
        {
            Task added;
            lock (_gate)
            {
                if (_lines.Skip(_from).FirstOrDefault(line => parts.All(part => line.Contains(part, StringComparison.Ordinal))) is { } found) return found;
                added = _added.Task;
            }
            try
            {
                await added.WaitAsync(Patience.Token);
            }
            catch (OperationCanceledException)
            {
                throw new TimeoutException($"no line with [{string.Join("] [", parts)}] among:\n{string.Concat(Lines.TakeLast(40))}");
            }
        }
    }

    public ILogger CreateLogger(string categoryName) => new Collecting(this, categoryName);

    public void Dispose() { }

    private void Add(string line)
    {
        TaskCompletionSource added;
        lock (_gate)
        {
            _lines.Add(line);
            added = _added;
            _added = new(TaskCreationOptions.RunContinuationsAsynchronously);
        }
        added.TrySetResult();
    }

    private sealed class Collecting(LogCollector owner, string category) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;
        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            var fields = state is LogFields given ? given : default;
            var message = state is LogFields ? fields.Message : formatter(state, exception);
            owner.Add(LogLineWriter.Write(new LogLine(TimeProvider.System.GetUtcNow(), logLevel, category, message, fields, exception), LogLayout.Plain));
        }
    }
}
