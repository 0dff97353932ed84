using System.Buffers;
using System.IO.Pipelines;

namespace AmbientMesh.Kubernetes;

/// <summary>Cuts a watch stream into its lines, each one event.</summary>
internal sealed class WatchLines(Stream body)
{
    /// <summary>Far above what an API server stores in one object (1.5 MiB by default).</summary>
    public const int MaxLineBytes = 16 << 20;

    private readonly PipeReader _pipe = PipeReader.Create(body);

    /// <summary>The next line that is not empty, or null at the end of the stream. A last line without its end is an error.</summary>
    /// <exception cref="IOException">The stream broke off, or a line is too long.</exception>
    public async ValueTask<ReadOnlyMemory<byte>?> NextAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var result = await _pipe.ReadAsync(cancellationToken);
            var buffer = result.Buffer;
            while (buffer.PositionOf((byte)'\n') is { } end)
            {
                var line = buffer.Slice(0, end);
                buffer = buffer.Slice(buffer.GetPosition(1, end));
                if (line.Length == 0) continue;
                var copy = line.ToArray();
                _pipe.AdvanceTo(buffer.Start);
                return copy;
            }
            if (buffer.Length > MaxLineBytes) throw new IOException($"a watch event is longer than {MaxLineBytes} bytes");
            _pipe.AdvanceTo(buffer.Start, buffer.End);
            if (!result.IsCompleted) continue;
            if (buffer.Length > 0) throw new IOException("the watch stream ended in the middle of an event");
            return null;
        }
    }
}
