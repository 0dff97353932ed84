using Microsoft.Extensions.Logging;

namespace AmbientMesh.Telemetry;

/// <summary>Writes log lines of <see cref="LogLineWriter"/> to a stream, from one background task; a slow reader loses lines, it never stops the mesh.</summary>
/// <remarks>Category names become targets: <c>ztunnel::access</c> stays, <c>AmbientMesh.Ztunnel.Outbound.Listener</c> becomes <c>ztunnel::outbound::listener</c>.</remarks>
public sealed class MeshLoggerProvider : ILoggerProvider, IAsyncDisposable
{
    private readonly LogQueue _lines;
    private readonly LogLayout _layout;
    private readonly string _plainPrefix;
    private readonly TimeProvider _clock;

    /// <summary>Starts writing to <paramref name="output"/>; targets lose <paramref name="plainPrefix"/> in the plain layout.</summary>
    public MeshLoggerProvider(Stream output, LogLayout layout, LogFilter filter, TimeProvider clock, string plainPrefix = "ztunnel::")
    {
        (_layout, Filter, _clock, _plainPrefix) = (layout, filter, clock, plainPrefix);
        _lines = new LogQueue(output, clock, message => LogLineWriter.Write(new LogLine(clock.GetUtcNow(), LogLevel.Warning, "log", message, default, null), layout, plainPrefix));
    }

    public LogFilter Filter { get; }

    public ILogger CreateLogger(string categoryName) => new MeshLogger(this, Target(categoryName));

    /// <summary>Lines lost because nobody read them, or because they could not be written.</summary>
    public long DroppedLines => _lines.Dropped;

    /// <summary>Registers <c>ambientmesh_log_lines_dropped</c>.</summary>
    public void Register(MetricRegistry registry) => registry.CounterFrom(
        "ambientmesh_log_lines_dropped_total", "Log lines lost because nobody read them, or because they could not be written.", [], () => [new ObservedSeries([], DroppedLines)]);

    /// <summary>Writes what is queued, for two seconds at most, then stops.</summary>
    public ValueTask DisposeAsync() => _lines.DisposeAsync();

    public void Dispose() => _lines.DisposeAsync().AsTask().Wait(TimeSpan.FromSeconds(5));

    internal static string Target(string category)
    {
        const string Root = "AmbientMesh.";
        return category.StartsWith(Root, StringComparison.Ordinal) ? category[Root.Length..].ToLowerInvariant().Replace(".", "::") : category.Replace(".", "::");
    }

    private void Write<TState>(string target, LogLevel level, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        var fields = state is LogFields given ? given : default;
        var message = state is LogFields ? fields.Message : formatter(state, exception);
        _lines.Add(LogLineWriter.Write(new LogLine(_clock.GetUtcNow(), level, target, message, fields, exception), _layout, _plainPrefix));
    }

    private sealed class MeshLogger(MeshLoggerProvider provider, string target) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => provider.Filter.IsEnabled(target, logLevel);

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel)) provider.Write(target, logLevel, state, exception, formatter);
        }
    }
}
