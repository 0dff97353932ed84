using AmbientMesh.Linux;
using Microsoft.Win32.SafeHandles;

namespace AmbientMesh.Cni.Node.Ztunnel;

/// <summary>Why ztunnel did not take a message; the pod is not to be counted as served.</summary>
/// <param name="isRefusal">ztunnel itself said no; otherwise it could not be asked.</param>
public sealed class ZdsException(string message, bool isRefusal, Exception? inner = null) : IOException(message, inner)
{
    public bool IsRefusal { get; } = isRefusal;
}

/// <summary>One connected ztunnel. Requests are answered in order, one at a time. Thread-safe.</summary>
/// <remarks>
/// A reader waits all the time, so the end of the connection is seen at once. Answers carry no number: one that comes after its deadline
/// is recognised by its place in the order and dropped, and never taken for the answer to the next request.
/// </remarks>
public sealed class ZdsConnection : IDisposable
{
    /// <summary>How long ztunnel may take for one message.</summary>
    public static readonly TimeSpan Deadline = TimeSpan.FromSeconds(5);

    private readonly SeqPacketConnection _packets;
    private readonly TimeProvider _clock;
    private readonly SemaphoreSlim _oneAtATime = new(1);
    private readonly CancellationTokenSource _closing = new();
    private readonly Lock _gate = new();
    private readonly HashSet<string> _served = [];
    private readonly TaskCompletionSource<string> _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private TaskCompletionSource<string>? _awaiting;
    private int _late;

    internal ZdsConnection(int number, SeqPacketConnection packets, TimeProvider clock)
    {
        Number = number;
        _packets = packets;
        _clock = clock;
    }

    /// <summary>Connections in the order they came; larger is newer.</summary>
    public int Number { get; }

    /// <summary>Completes with the reason when the connection has ended.</summary>
    public Task<string> Closed => _closed.Task;

    /// <summary>Whether this ztunnel said yes to the pod and was not told to forget it.</summary>
    public bool Serves(string uid)
    {
        lock (_gate) return _served.Contains(uid);
    }

    /// <summary>Waits for the hello, then sends the snapshot; other messages wait until it is through.</summary>
    /// <exception cref="ZdsException">The peer is no ztunnel, left, or was too slow.</exception>
    internal async Task<Protocol.Zds.Version> OpenAsync(Func<ZdsSession, Task> snapshot, CancellationToken cancellationToken)
    {
        await _oneAtATime.WaitAsync(cancellationToken);
        try
        {
            var version = await HelloAsync(cancellationToken);
            _ = ReadAsync();
            await snapshot(new ZdsSession(this));
            await ExchangeLockedAsync(ZdsMessages.SnapshotSent(), null, cancellationToken);
            return version;
        }
        finally
        {
            _oneAtATime.Release();
        }
    }

    /// <inheritdoc cref="ZdsSession.AddAsync"/>
    public Task AddAsync(EnrolledPod pod, CancellationToken cancellationToken) => AloneAsync(() => AddLockedAsync(pod, cancellationToken), cancellationToken);

    /// <summary>Tells ztunnel that the pod is no longer its own.</summary>
    /// <exception cref="ZdsException">ztunnel refused or is gone.</exception>
    public Task DeleteAsync(string uid, CancellationToken cancellationToken) => AloneAsync(async () =>
    {
        lock (_gate) _served.Remove(uid);
        await ExchangeLockedAsync(ZdsMessages.Delete(uid), null, cancellationToken);
    }, cancellationToken);

    public void Dispose() => Close("the agent closed it");

    private async Task AloneAsync(Func<Task> work, CancellationToken cancellationToken)
    {
        await _oneAtATime.WaitAsync(cancellationToken);
        try
        {
            await work();
        }
        finally
        {
            _oneAtATime.Release();
        }
    }

    internal async Task AddLockedAsync(EnrolledPod pod, CancellationToken cancellationToken)
    {
        if (pod.Namespace is not { } inside) throw new ZdsException($"the network namespace of {pod.Key} is not known", isRefusal: false);
        var held = false;
        try
        {
            inside.Handle.DangerousAddRef(ref held);   // a pod that is replaced meanwhile must not take the connection down
            await ExchangeLockedAsync(ZdsMessages.Add(pod.Uid, pod.Key.Name, pod.Key.Namespace, pod.ServiceAccount), inside.Handle, cancellationToken);
        }
        catch (ObjectDisposedException replaced)
        {
            throw new ZdsException($"{pod.Key} was replaced meanwhile", isRefusal: false, replaced);
        }
        catch (ArgumentException tooLong)
        {
            throw new ZdsException($"{pod.Key} cannot be handed to ztunnel: {tooLong.Message}", isRefusal: true, tooLong);
        }
        finally
        {
            if (held) inside.Handle.DangerousRelease();
        }
        lock (_gate) _served.Add(pod.Uid);
    }

    internal async Task KeepLockedAsync(EnrolledPod pod, CancellationToken cancellationToken)
    {
        await ExchangeLockedAsync(ZdsMessages.Keep(pod.Uid), null, cancellationToken);
        lock (_gate) _served.Add(pod.Uid);
    }

    private async Task ExchangeLockedAsync(byte[] request, SafeFileHandle? descriptor, CancellationToken cancellationToken)
    {
        var answer = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_gate)
        {
            if (_closed.Task.IsCompleted) throw Gone();
            _awaiting = answer;
        }
        try
        {
            await _packets.SendAsync(request, descriptor, cancellationToken).AsTask().WaitAsync(Deadline, _clock, cancellationToken);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or System.Net.Sockets.SocketException)
        {
            Close($"sending failed: {e.Message}");
            throw new ZdsException($"the ztunnel connection broke: {e.Message}", isRefusal: false, e);
        }
        catch (TimeoutException)
        {
            Close("it did not read for 5 s");
            throw Gone();
        }
        var refusal = await AnswerAsync(answer, cancellationToken);
        if (refusal.Length > 0) throw new ZdsException($"ztunnel refused: {refusal}", isRefusal: true);
    }

    private async Task<string> AnswerAsync(TaskCompletionSource<string> answer, CancellationToken cancellationToken)
    {
        try
        {
            return await answer.Task.WaitAsync(Deadline, _clock, cancellationToken);
        }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException)
        {
            lock (_gate)
            {
                // Answered at the last moment, or owed: whatever comes first then belongs to this request.
                if (_awaiting == answer) (_awaiting, _late) = (null, _late + 1);
            }
            if (e is OperationCanceledException) throw;
            throw new ZdsException("ztunnel did not answer within 5 s", isRefusal: false, e);
        }
    }

    private async Task<Protocol.Zds.Version> HelloAsync(CancellationToken cancellationToken)
    {
        try
        {
            using var packet = await _packets.ReceiveAsync(ZdsMessages.MaxBytes, _closing.Token).AsTask().WaitAsync(Deadline, _clock, cancellationToken);
            if (packet.IsEnd) throw new IOException("it left without a hello");
            if (packet.IsTruncated || packet.Descriptors.Length > 0) throw new IOException("its hello is too long or brings a descriptor");
            return ZdsMessages.TryReadHello(packet.Bytes.Span, out var version, out var problem) ? version : throw new IOException($"its hello is none: {problem}");
        }
        catch (Exception e) when (e is IOException or TimeoutException or OperationCanceledException)
        {
            Close(e is TimeoutException ? "it sent no hello for 5 s" : e.Message);
            throw new ZdsException($"the peer on the ztunnel socket is not usable: {await _closed.Task}", isRefusal: false, e);
        }
    }

    private async Task ReadAsync()
    {
        try
        {
            while (true)
            {
                using var packet = await _packets.ReceiveAsync(ZdsMessages.MaxBytes, _closing.Token);
                if (packet.IsEnd)
                {
                    Close("it left");
                    return;
                }
                if (Take(packet) is not { } problem) continue;
                Close(problem);
                return;
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            Close($"reading failed: {e.Message}");
        }
    }

    // Null when the packet was an answer somebody waits for, or waited for.
    private string? Take(Packet packet)
    {
        if (packet.IsTruncated) return "it sent a packet longer than 1024 bytes";
        if (packet.Descriptors.Length > 0) return "it sent a descriptor";
        if (!ZdsMessages.TryReadAck(packet.Bytes.Span, out var refusal, out var problem)) return problem;
        TaskCompletionSource<string>? answer;
        lock (_gate)
        {
            if (_late > 0)
            {
                _late--;
                return null;
            }
            (answer, _awaiting) = (_awaiting, null);
        }
        if (answer is null) return "it answered without having been asked";
        answer.TrySetResult(refusal);
        return null;
    }

    private ZdsException Gone() => new($"the ztunnel connection is closed: {(_closed.Task.IsCompleted ? _closed.Task.Result : "it did not read")}", isRefusal: false);

    private void Close(string reason)
    {
        TaskCompletionSource<string>? awaiting;
        lock (_gate)
        {
            if (!_closed.TrySetResult(reason)) return;
            (awaiting, _awaiting) = (_awaiting, null);
            _served.Clear();
        }
        _closing.Cancel();
        _packets.Dispose();
        awaiting?.TrySetException(Gone());
    }
}

/// <summary>The connection while its snapshot is being sent.</summary>
public readonly struct ZdsSession(ZdsConnection connection)
{
    /// <summary>Hands the pod over and waits for ztunnel's yes.</summary>
    /// <exception cref="ZdsException">ztunnel refused (<see cref="ZdsException.IsRefusal"/>) or is gone.</exception>
    public Task AddAsync(EnrolledPod pod, CancellationToken cancellationToken) => connection.AddLockedAsync(pod, cancellationToken);

    /// <summary>Tells ztunnel to keep what it has for a pod whose namespace was not found.</summary>
    /// <exception cref="ZdsException">ztunnel refused or is gone.</exception>
    public Task KeepAsync(EnrolledPod pod, CancellationToken cancellationToken) => connection.KeepLockedAsync(pod, cancellationToken);
}
