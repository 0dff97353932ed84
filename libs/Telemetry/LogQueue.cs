using System.Globalization;
using System.Text;
using System.Threading.Channels;

namespace AmbientMesh.Telemetry;

/// <summary>Lines on their way to a stream. Whoever logs never waits: when the reader of the stream stands still, the disk is full or the stream is closed, lines are lost
/// and counted, and writing is taken up again by itself.</summary>
internal sealed class LogQueue : IAsyncDisposable
{
    private const int QueuedLines = 8192;
    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan FlushTime = TimeSpan.FromSeconds(2);

    private readonly Channel<string> _lines;
    private readonly Stream _output;
    private readonly TimeProvider _clock;
    private readonly Func<string, string> _warning;
    private readonly CancellationTokenSource _stopping = new();
    private readonly Task _writing;
    private byte[] _buffer = new byte[16 * 1024];
    private long _dropped;
    private bool _isTorn;

    /// <param name="warning">Renders a message as a line of its own, for telling of lost lines.</param>
    public LogQueue(Stream output, TimeProvider clock, Func<string, string> warning)
    {
        (_output, _clock, _warning) = (output, clock, warning);
        _lines = Channel.CreateBounded<string>(new BoundedChannelOptions(QueuedLines) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true }, _ => Interlocked.Increment(ref _dropped));
        _writing = Task.Run(WriteAsync, CancellationToken.None);
    }

    /// <summary>Lines lost since the start.</summary>
    public long Dropped => Interlocked.Read(ref _dropped);

    public void Add(string line) => _lines.Writer.TryWrite(line);

    /// <summary>Writes what is queued, for two seconds at most: a reader that stands still must not keep the process from ending.</summary>
    public async ValueTask DisposeAsync()
    {
        _lines.Writer.TryComplete();
        await _stopping.CancelAsync();
        await _writing.WaitAsync(FlushTime, _clock, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private async Task WriteAsync()
    {
        var pause = FirstPause;
        var told = 0L;
        while (await _lines.Reader.WaitToReadAsync(CancellationToken.None))
        {
            try
            {
                told = await WriteQueuedAsync(told);
                pause = FirstPause;
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException or UnauthorizedAccessException)
            {
                // The line in hand is lost; the queue fills meanwhile and drops what does not fit.
                Interlocked.Increment(ref _dropped);
                _isTorn = true;
                if (_stopping.IsCancellationRequested) return;
                await Task.Delay(pause, _clock, _stopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                pause = pause * 2 < LongestPause ? pause * 2 : LongestPause;
            }
        }
    }

    private async Task<long> WriteQueuedAsync(long told)
    {
        while (_lines.Reader.TryRead(out var line))
        {
            var dropped = Dropped;
            if (dropped != told)
            {
                await WriteAsync(_warning(string.Create(CultureInfo.InvariantCulture, $"{dropped - told} log lines were lost: the log was not read, or could not be written")));
                told = dropped;
            }
            await WriteAsync(line);
        }
        await _output.FlushAsync(CancellationToken.None);
        return told;
    }

    private async Task WriteAsync(string line)
    {
        if (_isTorn) line = "\n" + line;   // a part of the last one may stand there
        _isTorn = false;
        var needed = Encoding.UTF8.GetMaxByteCount(line.Length);
        if (needed > _buffer.Length) _buffer = new byte[needed];   // lines are bounded
        await _output.WriteAsync(_buffer.AsMemory(0, Encoding.UTF8.GetBytes(line, _buffer)), CancellationToken.None);
    }
}
