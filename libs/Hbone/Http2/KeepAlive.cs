namespace AmbientMesh.Hbone.Http2;

/// <summary>PING every interval counted from the last answer; no answer within the timeout ends the connection (L4 contracts §3.4).</summary>
internal sealed class KeepAlive : IDisposable
{
    /// <summary>The payload of keep-alive PINGs.</summary>
    public const ulong Payload = 0x3b7cdb7a0b8716b4;

    private readonly Lock _gate = new();
    private readonly TimeSpan _interval;
    private readonly TimeSpan _timeout;
    private readonly Action _send;
    private readonly Action _expired;
    private readonly ITimer _timer;
    private bool _waiting;
    private bool _disposed;

    public KeepAlive(TimeProvider clock, TimeSpan interval, TimeSpan timeout, Action send, Action expired)
    {
        _interval = interval;
        _timeout = timeout;
        _send = send;
        _expired = expired;
        _timer = clock.CreateTimer(static s => ((KeepAlive)s!).Fire(), this, interval, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Takes an answer; false when none was awaited.</summary>
    public bool Answered()
    {
        lock (_gate)
        {
            if (_disposed || !_waiting) return false;
            _waiting = false;
            _timer.Change(_interval, Timeout.InfiniteTimeSpan);
            return true;
        }
    }

    public void Dispose()
    {
        lock (_gate) _disposed = true;
        _timer.Dispose();
    }

    private void Fire()
    {
        lock (_gate)
        {
            if (_disposed) return;
            if (!_waiting)
            {
                _waiting = true;
                _timer.Change(_timeout, Timeout.InfiniteTimeSpan);
                _send();
                return;
            }
            _disposed = true;
        }
        _expired();
    }
}
