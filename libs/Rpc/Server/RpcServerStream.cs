using System.IO.Pipelines;
using Google.Protobuf;

namespace AmbientMesh.Rpc;

/// <summary>The messages of a call on the server. One reader; any number of writers.</summary>
public sealed class RpcServerStream<TRequest, TResponse> : IDisposable
    where TRequest : class, IMessage<TRequest>
    where TResponse : class, IMessage<TResponse>
{
    private readonly PipeReader _requests;
    private readonly PipeWriter _responses;
    private readonly MessageParser<TRequest> _parser;
    private readonly int _maxReceiveBytes;
    private readonly SemaphoreSlim _writing = new(1, 1);

    internal RpcServerStream(PipeReader requests, PipeWriter responses, MessageParser<TRequest> parser, int maxReceiveBytes)
    {
        _requests = requests;
        _responses = responses;
        _parser = parser;
        _maxReceiveBytes = maxReceiveBytes;
    }

    /// <summary>The next message, or null when the client has finished.</summary>
    /// <exception cref="RpcException">A message that is malformed, oversized, compressed or cut short; leaving it uncaught sends its status.</exception>
    public ValueTask<TRequest?> ReadAsync(CancellationToken cancellationToken) => MessageFrames.ReadAsync(_requests, _parser, _maxReceiveBytes, "request", cancellationToken);

    /// <summary>Sends one message; waits while the client's flow-control window is closed.</summary>
    /// <exception cref="OperationCanceledException">The call is over.</exception>
    public async ValueTask WriteAsync(TResponse message, CancellationToken cancellationToken)
    {
        await _writing.WaitAsync(cancellationToken);
        try
        {
            MessageFrames.Write(_responses, message);
            var flushed = await _responses.FlushAsync(cancellationToken);
            if (flushed.IsCompleted || flushed.IsCanceled) throw new OperationCanceledException("the client has gone");
        }
        finally
        {
            _writing.Release();
        }
    }

    void IDisposable.Dispose() => _writing.Dispose();
}
