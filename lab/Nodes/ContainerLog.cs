using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using System.Text;

namespace AmbientMesh.Lab.Nodes;

/// <summary>One line a container printed.</summary>
/// <param name="Partial">The line goes on in the next one.</param>
public sealed record LogLine(DateTimeOffset Time, string Stream, bool Partial, string Text)
{
    /// <summary>The time as the log file and <c>kubectl logs --timestamps</c> show it: RFC 3339 with nine decimals.</summary>
    public string Stamp => $"{Time.UtcDateTime:yyyy-MM-ddTHH:mm:ss.fffffff}00Z";
}

/// <summary>The log of one run of one container: a file in CRI format, <c>TIME STREAM F|P TEXT</c>, that can be followed while it grows. Thread-safe.</summary>
public sealed class ContainerLog : IAsyncDisposable
{
    private const int MaximumLineBytes = 16 * 1024;
    private readonly SemaphoreSlim _writing = new(1);
    private readonly FileStream _file;
    private readonly TimeProvider _clock;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool _complete;

    /// <param name="path">Path on the machine; its folder is made.</param>
    public ContainerLog(string path, TimeProvider clock)
    {
        System.IO.Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path)!);
        (Path, _clock) = (path, clock);
        _file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
    }

    public string Path { get; }

    /// <summary>Copies what <paramref name="source"/> gives, line by line, until it ends.</summary>
    /// <param name="firstLine">Gets the first line, which is then not logged; null logs all.</param>
    public async Task CopyAsync(Stream source, string stream, Action<string>? firstLine, CancellationToken cancellationToken)
    {
        var reader = PipeReader.Create(source);
        while (true)
        {
            var read = await reader.ReadAsync(cancellationToken);
            var buffer = read.Buffer;
            while (TakeLine(ref buffer, read.IsCompleted, out var text, out var partial))
            {
                if (firstLine is not null)
                {
                    firstLine(text);
                    firstLine = null;
                    continue;
                }
                await WriteAsync(new LogLine(_clock.GetUtcNow(), stream, partial, text), cancellationToken);
            }
            reader.AdvanceTo(buffer.Start, buffer.End);
            if (read.IsCompleted) break;
        }
        firstLine?.Invoke("");
        await reader.CompleteAsync();
    }

    /// <summary>Nothing more will come: those who follow are told.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_complete) return;
        _complete = true;
        await _file.DisposeAsync();
        Changed();
    }

    /// <summary>The lines from the beginning; with <paramref name="follow"/>, until the container has ended.</summary>
    public async IAsyncEnumerable<LogLine> ReadAsync(bool follow, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        await using var file = new FileStream(Path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        var pending = new StringBuilder();
        var decoder = new StreamReader(file, new UTF8Encoding(false));
        var chunk = new char[8192];
        while (true)
        {
            var changed = Volatile.Read(ref _changed).Task;
            var complete = _complete;
            int count;
            while ((count = await decoder.ReadAsync(chunk, cancellationToken)) > 0)
            {
                pending.Append(chunk, 0, count);
                foreach (var line in TakeLines(pending)) yield return line;
            }
            if (complete || !follow) yield break;
            await changed.WaitAsync(cancellationToken);
        }
    }

    private async Task WriteAsync(LogLine line, CancellationToken cancellationToken)
    {
        var bytes = Encoding.UTF8.GetBytes($"{line.Stamp} {line.Stream} {(line.Partial ? 'P' : 'F')} {line.Text}\n");
        await _writing.WaitAsync(cancellationToken);
        try
        {
            await _file.WriteAsync(bytes, cancellationToken);
        }
        finally
        {
            _writing.Release();
        }
        Changed();
    }

    private void Changed() =>
        Interlocked.Exchange(ref _changed, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();

    private static bool TakeLine(ref ReadOnlySequence<byte> buffer, bool last, out string text, out bool partial)
    {
        (text, partial) = ("", false);
        if (buffer.PositionOf((byte)'\n') is { } end && buffer.Slice(0, end).Length <= MaximumLineBytes)
        {
            text = Encoding.UTF8.GetString(buffer.Slice(0, end));
            buffer = buffer.Slice(buffer.GetPosition(1, end));
            return true;
        }
        if (buffer.Length > MaximumLineBytes || (last && !buffer.IsEmpty))
        {
            partial = buffer.Length > MaximumLineBytes;
            var part = buffer.Slice(0, Math.Min(buffer.Length, MaximumLineBytes));
            text = Encoding.UTF8.GetString(part);
            buffer = buffer.Slice(part.End);
            return true;
        }
        return false;
    }

    private static List<LogLine> TakeLines(StringBuilder pending)
    {
        var lines = new List<LogLine>();
        var text = pending.ToString();
        var start = 0;
        for (int end; (end = text.IndexOf('\n', start)) >= 0; start = end + 1)
            if (Parse(text[start..end]) is { } line) lines.Add(line);
        pending.Remove(0, start);
        return lines;
    }

    private static LogLine? Parse(string line)
    {
        var parts = line.Split(' ', 4);
        return parts.Length == 4 && DateTimeOffset.TryParse(parts[0], out var time) ? new LogLine(time, parts[1], parts[2] == "P", parts[3]) : null;
    }
}
