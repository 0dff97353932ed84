using System.Diagnostics.CodeAnalysis;

namespace AmbientMesh.Hbone.Http2;

/// <summary>The queues a stream can stand in, each at most once.</summary>
internal enum QueueKind
{
    /// <summary>Has bytes or an end to send.</summary>
    Ready,
    /// <summary>Its write was taken in this round.</summary>
    Round,
    /// <summary>Its END_STREAM is going out in this round.</summary>
    Finished,
    /// <summary>Received something in this batch of input.</summary>
    Touched,
}

/// <summary>A first-in first-out queue of streams linked through the streams themselves: no allocation, O(1), no duplicates.</summary>
internal struct StreamQueue
{
    private HboneStream? _first;
    private HboneStream? _last;

    public readonly bool IsEmpty => _first is null;

    public void Enqueue(QueueKind kind, HboneStream stream)
    {
        ref var link = ref stream.Link(kind);
        if (link.Queued) return;
        link = new(true, null);
        if (_last is null) _first = stream;
        else _last.Link(kind) = new(true, stream);
        _last = stream;
    }

    public void EnqueueFirst(QueueKind kind, HboneStream stream)
    {
        ref var link = ref stream.Link(kind);
        if (link.Queued) return;
        link = new(true, _first);
        _first = stream;
        _last ??= stream;
    }

    public bool TryDequeue(QueueKind kind, [NotNullWhen(true)] out HboneStream? stream)
    {
        stream = _first;
        if (stream is null) return false;
        ref var link = ref stream.Link(kind);
        _first = link.Next;
        if (_first is null) _last = null;
        link = default;
        return true;
    }
}

internal readonly record struct StreamLink(bool Queued, HboneStream? Next);
