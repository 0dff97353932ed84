using System.Net;
using System.Net.Http.Headers;

namespace AmbientMesh.Rpc;

/// <summary>The request side of a call: hands its stream to the call once the connection is there, and stays open until the call completes it.</summary>
internal sealed class RequestBody : HttpContent
{
    private readonly TaskCompletionSource<Stream> _opened = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _completed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public RequestBody() => Headers.ContentType = new MediaTypeHeaderValue("application/grpc");

    /// <summary>Cancelled when this side gives up the call.</summary>
    public CancellationToken Aborted { get; set; }

    /// <summary>Completes when bytes can be written.</summary>
    public Task<Stream> Opened => _opened.Task;

    /// <summary>Lets writers know that the call ended before it could be written.</summary>
    public void Abandon() => _opened.TrySetException(new IOException("the call ended before the request began"));

    /// <summary>Ends the request (END_STREAM).</summary>
    public void Complete() => _completed.TrySetResult();

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, CancellationToken.None);

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        // The HTTP layer repeats a request that a closing server did not take; what was written to the first stream would be lost.
        if (_opened.Task.IsCompleted) throw new RpcException(StatusCode.Unavailable, "received prior goaway: the server did not take the call");
        await stream.FlushAsync(cancellationToken);   // sends the headers now, not with the first message
        _opened.TrySetResult(stream);
        try
        {
            await _completed.Task.WaitAsync(cancellationToken);
        }
        catch (OperationCanceledException) when (!Aborted.IsCancellationRequested)
        {
            // The server ended the stream. Why is known to the response, whose failure would be hidden behind this one.
        }
    }

    protected override bool TryComputeLength(out long length)
    {
        length = -1;
        return false;
    }
}
