using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Runtime.CompilerServices;
using Google.Protobuf;

namespace AmbientMesh.Rpc;

/// <summary>An open call on the client. One reader and any number of writers; disposing it before its end resets the stream.</summary>
public sealed class RpcDuplex<TRequest, TResponse> : IAsyncDisposable
    where TRequest : class, IMessage<TRequest>
    where TResponse : class, IMessage<TResponse>
{
    private readonly RpcMethod<TRequest, TResponse> _method;
    private readonly HttpRequestMessage _request;
    private readonly RequestBody _body;
    private readonly int _maxReceiveBytes;
    private readonly CancellationTokenSource _abort;
    private readonly CancellationTokenSource? _deadline;
    private readonly CancellationToken _caller;
    private readonly SemaphoreSlim _writing = new(1, 1);
    private readonly Task<HttpResponseMessage> _sending;
    private HttpResponseMessage? _response;
    private PipeReader? _reader;
    private bool _ended;
    private int _disposed;

    internal RpcDuplex(RpcMethod<TRequest, TResponse> method, HttpMessageInvoker http, HttpRequestMessage request, RequestBody body, TimeSpan? deadline, RpcChannelOptions options, CancellationToken caller)
    {
        _method = method;
        _request = request;
        _body = body;
        _maxReceiveBytes = options.MaxReceiveBytes;
        _caller = caller;
        _deadline = deadline is { } limit ? new CancellationTokenSource(limit, options.Clock) : null;
        _abort = CancellationTokenSource.CreateLinkedTokenSource(caller, _deadline?.Token ?? CancellationToken.None);
        body.Aborted = _abort.Token;
        _sending = http.SendAsync(request, _abort.Token);
        _ = _sending.ContinueWith(static (_, body) => ((RequestBody)body!).Abandon(), body, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
    }

    /// <summary>What the server sent before its first message; complete once a read has returned.</summary>
    public RpcMetadata ResponseHeaders { get; private set; } = [];

    /// <summary>What came with the status; complete once a read has returned null.</summary>
    public RpcMetadata Trailers { get; private set; } = [];

    /// <summary>Sends one message; returns when it is handed to the transport, which waits while the server's window is closed.</summary>
    /// <exception cref="RpcException">The call has failed; its status when the server has sent one.</exception>
    public async ValueTask WriteAsync(TRequest message, CancellationToken cancellationToken = default)
    {
        await _writing.WaitAsync(cancellationToken);
        try
        {
            var stream = await _body.Opened.WaitAsync(cancellationToken);
            var frame = new ArrayBufferWriter<byte>(MessageFrames.PrefixBytes + message.CalculateSize());
            MessageFrames.Write(frame, message);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _abort.Token);
            await stream.WriteAsync(frame.WrittenMemory, either.Token);
            await stream.FlushAsync(either.Token);
        }
        catch (Exception problem) when (problem is not RpcException)
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw await FailureOfWriteAsync(problem);
        }
        finally
        {
            _writing.Release();
        }
    }

    /// <summary>Says that no more messages will be sent; responses still come.</summary>
    public ValueTask CompleteAsync()
    {
        _body.Complete();
        return ValueTask.CompletedTask;
    }

    /// <summary>The next message, or null when the server ended the call with OK.</summary>
    /// <exception cref="RpcException">Any other status, malformed or oversized messages, a lost connection, the deadline.</exception>
    public async ValueTask<TResponse?> ReadAsync(CancellationToken cancellationToken = default)
    {
        if (_ended) return null;
        try
        {
            using var stop = cancellationToken.UnsafeRegister(static source => ((CancellationTokenSource)source!).Cancel(), _abort);
            var reader = _reader ??= await HeadersAsync();
            var message = await MessageFrames.ReadAsync(reader, _method.Responses, _maxReceiveBytes, "response", _abort.Token);
            if (message is null) End();
            return message;
        }
        catch (Exception problem)
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw Failure(problem);
        }
    }

    /// <summary>Every message until the server ends the call with OK.</summary>
    public async IAsyncEnumerable<TResponse> ReadAllAsync([EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        while (await ReadAsync(cancellationToken) is { } message) yield return message;
    }

    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0) return;
        if (_ended) _body.Complete();
        else await _abort.CancelAsync();
        await _sending.ContinueWith(static sent => { if (sent.IsCompletedSuccessfully) sent.Result.Dispose(); else _ = sent.Exception; }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        if (_ended && _reader is not null) await _reader.CompleteAsync();
        _request.Dispose();
        _deadline?.Dispose();
        _abort.Dispose();   // else the caller's token, which may live as long as the process, keeps every call
    }

    /// <summary>Completes when the request can be written, or the response has come already.</summary>
    internal async Task StartedAsync()
    {
        try
        {
            await Task.WhenAny(_body.Opened, _sending);
            if (_sending.IsFaulted || _sending.IsCanceled) await _sending;
        }
        catch (Exception problem)
        {
            throw Failure(problem);
        }
    }

    /// <summary>The only message of a unary call; when it cannot be sent, the server's status says why and the read reports it.</summary>
    internal async Task WriteLastAsync(TRequest message, CancellationToken cancellationToken)
    {
        try
        {
            await WriteAsync(message, cancellationToken);
        }
        catch (RpcException) when (_response is null && !_sending.IsFaulted && !_sending.IsCanceled)
        {
            // A server that refuses early stops reading; the status it gave is in the response.
        }
        _body.Complete();
    }

    private async Task<PipeReader> HeadersAsync()
    {
        _response = await _sending;
        if (_response.StatusCode != HttpStatusCode.OK) throw CallFailure.OfHttpStatus(_response.StatusCode);
        ResponseHeaders = CallFailure.Metadata(_response.Headers);
        var type = _response.Content.Headers.ContentType?.MediaType;
        if (type is null || !type.StartsWith("application/grpc", StringComparison.Ordinal)) throw new RpcException(StatusCode.Unknown, $"server answered with content type {type ?? "none"}, not application/grpc");
        return PipeReader.Create(await _response.Content.ReadAsStreamAsync(_abort.Token), new StreamPipeReaderOptions(bufferSize: 16 * 1024));
    }

    private void End()
    {
        Trailers = CallFailure.Metadata(_response!.TrailingHeaders);
        _ended = true;
        _body.Complete();
        if (CallFailure.OfTrailers(_response.TrailingHeaders, _response.Headers) is { } failure) throw failure;
    }

    private async Task<Exception> FailureOfWriteAsync(Exception problem)
    {
        // A server that ended the call stops reading; what it said is in its response, not in the failed write.
        if (_ended) return new RpcException(StatusCode.Internal, "the call has ended", problem);
        if (_sending.IsFaulted || _sending.IsCanceled)
        {
            try
            {
                await _sending;
            }
            catch (Exception sending)
            {
                return Failure(sending);
            }
        }
        return Failure(problem);
    }

    private Exception Failure(Exception problem)
    {
        if (_deadline is { IsCancellationRequested: true }) return new RpcException(StatusCode.DeadlineExceeded, "the deadline passed", problem);
        if (_caller.IsCancellationRequested) return new OperationCanceledException("the call was cancelled", problem, _caller);
        if (problem is OperationCanceledException && _abort.IsCancellationRequested) return new RpcException(StatusCode.Cancelled, "the call was given up", problem);
        return CallFailure.From(problem);
    }
}
