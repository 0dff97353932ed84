using System.Net.Sockets;

namespace AmbientMesh.Samples.Load;

/// <summary>Why a connection is counted as lost.</summary>
/// <param name="WasEstablished">The connection had been accepted before it was lost.</param>
/// <param name="Reason">From a small set of words: <c>refused</c>, <c>reset</c>, <c>closed</c>, <c>no answer in time</c>, <c>name not found</c>, …</param>
internal readonly record struct LoadFailure(bool WasEstablished, string Reason)
{
    public static LoadFailure Of(Exception failure, bool wasEstablished) => new(wasEstablished, Word(failure));

    private static string Word(Exception failure) => failure switch
    {
        OperationCanceledException => "no answer in time",
        EndOfStreamException => "closed",
        InvalidDataException => "wrong answer",
        IOException { InnerException: SocketException socket } => Word(socket),
        SocketException { SocketErrorCode: SocketError.ConnectionRefused } => "refused",
        SocketException { SocketErrorCode: SocketError.ConnectionReset or SocketError.Shutdown } => "reset",
        SocketException { SocketErrorCode: SocketError.HostNotFound or SocketError.TryAgain or SocketError.NoData } => "name not found",
        SocketException { SocketErrorCode: var code } => code.ToString(),
        _ => failure.GetType().Name,
    };
}
