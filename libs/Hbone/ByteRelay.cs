
namespace AmbientMesh.Hbone;

/// <summary>How a relay ended.</summary>
public enum RelayEnd
{
    /// <summary>Both sides finished in order.</summary>
    Completed,
    /// <summary>The first transport was reset or lost.</summary>
    FirstReset,
    /// <summary>The second transport was reset or lost.</summary>
    SecondReset,
    /// <summary>Our side ended it: drain, policy change, pod removed.</summary>
    Cancelled,
}

/// <summary>What a relay carried. <see cref="Error"/> is the failure behind a reset.</summary>
public sealed record RelayResult(RelayEnd End, long FirstToSecondBytes, long SecondToFirstBytes, Exception? Error);

/// <summary>Carries bytes between two transports, both ways, each direction finishing on its own (L4 contracts §3.6).</summary>
/// <remarks>Per-byte speed: nothing is allocated per read or write. A reset on one side resets the other.</remarks>
public sealed class ByteRelay(ITransport first, ITransport second)
{
    private const int CopyBytes = 64 * 1024;
    private long _forward;
    private long _backward;
    private int _cancelled;

    /// <summary>Bytes carried from the first to the second transport so far.</summary>
    public long FirstToSecondBytes => Volatile.Read(ref _forward);
    public long SecondToFirstBytes => Volatile.Read(ref _backward);

    /// <summary>Runs until both directions finished, either side failed, or the token fires. Does not dispose the transports; on failure both are aborted.</summary>
    public async Task<RelayResult> RunAsync(CancellationToken cancellationToken = default)
    {
        await using var registration = cancellationToken.UnsafeRegister(static s => ((ByteRelay)s!).Cancel(), this);
        var forward = CarryAsync(first, second, forward: true);
        var backward = CarryAsync(second, first, forward: false);
        // The first failure is the reason; aborting both sides then ends the other direction.
        var failed = await (await Task.WhenAny(forward, backward)) ?? await forward ?? await backward;
        if (failed is not null) AbortBoth(failed);
        await forward;
        await backward;
        var end = Volatile.Read(ref _cancelled) != 0 ? RelayEnd.Cancelled
            : failed is null ? RelayEnd.Completed
            : failed.Side == first ? RelayEnd.FirstReset : RelayEnd.SecondReset;
        return new RelayResult(end, FirstToSecondBytes, SecondToFirstBytes, failed?.Error);
    }

    private sealed record Failed(ITransport Side, Exception Error);

    private void Cancel()
    {
        Interlocked.Exchange(ref _cancelled, 1);
        first.Abort();
        second.Abort();
    }

    private void AbortBoth(Failed failed)
    {
        var reason = failed.Side is HboneStream ? AbortReason.Cancelled : AbortReason.OtherSideReset;
        first.Abort(reason);
        second.Abort(reason);
    }

    private async Task<Failed?> CarryAsync(ITransport from, ITransport to, bool forward)
    {
        var side = from;
        try
        {
            if (from is ILendingTransport lender) await CarryLentAsync(lender, to, forward, s => side = s);
            else await CarryCopiedAsync(from, to, forward, s => side = s);
            side = from;
            // CANCEL reads as the end, but may have cut bytes off: the other side must see an error, not an end. NO_ERROR is an end.
            if (from is HboneStream { ResetByPeer: { } code and not Http2.ErrorCode.NoError }) return new Failed(from, new StreamResetException(code, byPeer: true));
            side = to;
            await to.ShutdownWriteAsync();
            return null;
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or OperationCanceledException or InvalidOperationException)
        {
            return new Failed(side, e);
        }
    }

    private async Task CarryLentAsync(ILendingTransport from, ITransport to, bool forward, Action<ITransport> now)
    {
        while (true)
        {
            var bytes = await from.BorrowAsync();
            if (bytes.IsEmpty) return;
            now(to);
            try
            {
                await (to is HboneStream stream ? stream.Write(bytes) : to.WriteAsync(bytes));
            }
            finally
            {
                from.Return(bytes.Length);
            }
            now(from);
            Count(bytes.Length, forward);
        }
    }

    private async Task CarryCopiedAsync(ITransport from, ITransport to, bool forward, Action<ITransport> now)
    {
        var buffer = BytePool.Rent(CopyBytes);
        try
        {
            while (await from.ReadAsync(buffer) is > 0 and var count)
            {
                now(to);
                await (to is HboneStream stream ? stream.Write(buffer.AsMemory(0, count)) : to.WriteAsync(buffer.AsMemory(0, count)));
                now(from);
                Count(count, forward);
            }
        }
        finally
        {
            BytePool.Return(buffer);
        }
    }

    private void Count(int bytes, bool forward)
    {
        if (forward) Interlocked.Add(ref _forward, bytes);
        else Interlocked.Add(ref _backward, bytes);
    }
}
