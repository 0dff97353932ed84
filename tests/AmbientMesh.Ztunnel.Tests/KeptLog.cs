using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Tests;

/// <summary>Keeps messages with their level. Thread-safe.</summary>
internal sealed class KeptLog : ILogger, ILoggerFactory
{
    private readonly Lock _gate = new();
    private readonly List<(LogLevel Level, string Message)> _lines = [];

    public IReadOnlyList<string> At(LogLevel level)
    {
        lock (_gate) return [.. _lines.Where(line => line.Level == level).Select(line => line.Message)];
    }

    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;
    public bool IsEnabled(LogLevel logLevel) => true;
    public ILogger CreateLogger(string categoryName) => this;
    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();
    public void Dispose() { }

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        lock (_gate) _lines.Add((logLevel, state is LogFields fields ? fields.Message : formatter(state, exception)));
    }
}
