namespace AmbientMesh.Hbone.Http2;

/// <summary>HTTP/2 error codes (RFC 9113 §7). Values outside the list are possible from a peer and mean nothing special.</summary>
public enum ErrorCode : uint
{
    NoError = 0,
    ProtocolError = 1,
    InternalError = 2,
    FlowControlError = 3,
    SettingsTimeout = 4,
    StreamClosed = 5,
    FrameSizeError = 6,
    RefusedStream = 7,
    Cancel = 8,
    CompressionError = 9,
    ConnectError = 10,
    EnhanceYourCalm = 11,
    InadequateSecurity = 12,
    Http11Required = 13,
}

/// <summary>The peer broke a rule that ends the whole connection with GOAWAY and <see cref="Code"/>.</summary>
public sealed class ConnectionErrorException(ErrorCode code, string message) : IOException(message)
{
    public ErrorCode Code => code;
}
