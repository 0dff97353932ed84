namespace AmbientMesh.Rpc;

/// <summary>gRPC status codes, by their numbers on the wire.</summary>
public enum StatusCode
{
    OK = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

/// <summary>A call that did not end with OK. On a server it is thrown to choose the status that is sent; on a client it says what came or what failed locally.</summary>
public sealed class RpcException : Exception
{
    public RpcException(StatusCode code, string detail, Exception? inner = null) : base($"{code}: {detail}", inner)
    {
        Code = code;
        Detail = detail;
    }

    public StatusCode Code { get; }

    /// <summary>The status message, decoded; may be empty.</summary>
    public string Detail { get; }

    /// <summary>True when no connection was made, so that the server never saw the call.</summary>
    public bool IsConnectionFailure { get; init; }

    /// <summary>What came with the status; empty when the failure is local.</summary>
    public RpcMetadata Trailers { get; init; } = [];
}
