namespace AmbientMesh.Rpc;

/// <summary>Limits of the calls of one endpoint.</summary>
public sealed record RpcServerOptions
{
    /// <summary>Larger requests end with RESOURCE_EXHAUSTED (istiod: ISTIO_GPRC_MAXRECVMSGSIZE, 4 MiB).</summary>
    public int MaxReceiveBytes { get; init; } = 4 * 1024 * 1024;

    /// <summary>A unary request must have come whole by then, so that callers who never finish hold nothing for long (T-09).</summary>
    public TimeSpan UnaryRequestTimeout { get; init; } = TimeSpan.FromSeconds(10);

    public TimeProvider Clock { get; init; } = TimeProvider.System;
}
