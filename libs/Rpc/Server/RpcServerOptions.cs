namespace AmbientMesh.Rpc;

/// <summary>Limits of the calls of one endpoint.</summary>
public sealed record RpcServerOptions
{
    /// <summary>Larger requests end with RESOURCE_EXHAUSTED (istiod: ISTIO_GPRC_MAXRECVMSGSIZE, 4 MiB).</summary>
    public int MaxReceiveBytes { get; init; } = 4 * 1024 * 1024;

    public TimeProvider Clock { get; init; } = TimeProvider.System;
}
