using System.Text;
using System.Threading.Channels;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Telemetry;

/// <summary>Writes log lines of <see cref="LogLineWriter"/> to a stream, from one background task; a slow reader loses lines, it never stops the mesh.</summary>
/// <remarks>Category names become targets: <c>ztunnel::access</c> stays, <c>AmbientMesh.Ztunnel.Outbound.Listener</c> becomes <c>ztunnel::outbound::listener</c>.</remarks>
public sealed class MeshLoggerProvider : ILoggerProvider, IAsyncDisposable
{
    private const int QueuedLines = 8192;

    private readonly Channel<string> _lines = Channel.CreateBounded<string>(new BoundedChannelOptions(QueuedLines) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });
    private readonly Stream _output;
    private readonly LogLayout _layout;
    private readonly string _plainPrefix;
    private readonly TimeProvider _clock;
    private readonly Task _writing;

    /// <summary>Starts writing to <paramref name="output"/>; targets lose <paramref name="plainPrefix"/> in the plain layout.</summary>
    public MeshLoggerProvider(Stream output, LogLayout layout, LogFilter filter, TimeProvider clock, string plainPrefix = "ztunnel::")
    {
        (_output, _layout, Filter, _clock, _plainPrefix) = (output, layout, filter, clock, plainPrefix);
        _writing = Task.Run(WriteLinesAsync);
    }

    public LogFilter Filter { get; }

    public ILogger CreateLogger(string categoryName) => new MeshLogger(this, Target(categoryName));

    /// <summary>Writes what is queued, then stops.</summary>
    public async ValueTask DisposeAsync()
    {
        _lines.Writer.TryComplete();
        await _writing;
    }

    public void Dispose()
    {
        _lines.Writer.TryComplete();
        _writing.Wait(TimeSpan.FromSeconds(5));
    }

    internal static string Target(string category)
    {
        const string Root = "AmbientMesh.";
        return category.StartsWith(Root, StringComparison.Ordinal) ? category[Root.Length..].ToLowerInvariant().Replace(".", "::") : category.Replace(".", "::");
    }

    private void Write<TState>(string target, LogLevel level, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        var fields = state is LogFields given ? given : default;
        var message = state is LogFields ? fields.Message : formatter(state, exception);
        _lines.Writer.TryWrite(LogLineWriter.Write(new LogLine(_clock.GetUtcNow(), level, target, message, fields, exception), _layout, _plainPrefix));
    }

    private async Task WriteLinesAsync()
    {
        var buffer = new byte[16 * 1024];
        try
        {
            while (await _lines.Reader.WaitToReadAsync())
            {
                while (_lines.Reader.TryRead(out var line))
                {
                    var needed = Encoding.UTF8.GetMaxByteCount(line.Length);
                    if (needed > buffer.Length) await _output.WriteAsync(Encoding.UTF8.GetBytes(line));
                    else await _output.WriteAsync(buffer.AsMemory(0, Encoding.UTF8.GetBytes(line, buffer)));
                }
                await _output.FlushAsync();
            }
        }
        catch (IOException)
        {
            // Nobody reads the log any more; the mesh goes on without it.
            while (await _lines.Reader.WaitToReadAsync()) _lines.Reader.TryRead(out _);
        }
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
