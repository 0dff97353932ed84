using AmbientMesh.Rpc;

namespace AmbientMesh.Xds;

/// <summary>Why a discovery stream ended; the label of <c>istio_xds_connection_terminations_total</c>.</summary>
public enum ConnectionTermination
{
    /// <summary>No connection was made.</summary>
    ConnectionError,

    /// <summary>The stream failed with a status that is not part of normal operation.</summary>
    Error,

    /// <summary>The server or the network ended the stream in a way that is expected: come back at once.</summary>
    Reconnect,

    /// <summary>The server ended the stream with OK.</summary>
    Complete,
}

/// <summary>How the end of a stream is taken (reference 4.5, backoff).</summary>
internal static class Reconnect
{
    public static readonly TimeSpan FirstWait = TimeSpan.FromMilliseconds(10);
    public static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(15);

    /// <param name="failure">Null: the stream ended with OK.</param>
    public static ConnectionTermination Classify(RpcException? failure) => failure switch
    {
        null => ConnectionTermination.Complete,
        { IsConnectionFailure: true } => ConnectionTermination.ConnectionError,
        { Code: StatusCode.Unknown or StatusCode.Cancelled or StatusCode.DeadlineExceeded } => ConnectionTermination.Reconnect,
        { Code: StatusCode.Unavailable } when IsExpected(failure.Detail) => ConnectionTermination.Reconnect,
        _ => ConnectionTermination.Error,
    };

    /// <summary>True when the next attempt waits the first, short time again.</summary>
    public static bool StartsOver(ConnectionTermination termination) => termination is ConnectionTermination.Reconnect or ConnectionTermination.Complete;

    private static bool IsExpected(string detail) =>
        detail.Contains("transport is closing", StringComparison.Ordinal) || detail.Contains("received prior goaway", StringComparison.Ordinal);
}
