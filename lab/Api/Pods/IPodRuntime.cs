namespace AmbientMesh.Lab.Api.Pods;

/// <summary>What the API server asks of the kubelets for logs, exec, attach and port-forward. Implemented by the nodes; one instance serves all nodes.</summary>
/// <remarks>The server has checked that pod and container exist. Throw <see cref="Objects.ApiException"/> to refuse with a status of your own.</remarks>
public interface IPodRuntime
{
    /// <summary>The container's log from the chosen place on. The stream ends after the last line, or with <see cref="PodLogRequest.Follow"/> when the container ends.</summary>
    Task<Stream> OpenLogAsync(PodLogRequest request, CancellationToken cancellationToken);

    /// <summary>Starts a command in the container.</summary>
    Task<IExecSession> ExecAsync(PodExecRequest request, CancellationToken cancellationToken);

    /// <summary>Connects to a port inside the pod's network; reads and writes are the connection's bytes, disposing closes it.</summary>
    Task<Stream> ConnectAsync(PodReference pod, int port, CancellationToken cancellationToken);
}

/// <summary>A pod on its node.</summary>
public sealed record PodReference(string Namespace, string Name, string Uid, string Node);

/// <summary>Which log lines to send.</summary>
public sealed record PodLogRequest(PodReference Pod, string Container)
{
    public bool Follow { get; init; }
    /// <summary>The instance before the last restart.</summary>
    public bool Previous { get; init; }
    /// <summary>RFC 3339 nanosecond time and a space before each line.</summary>
    public bool Timestamps { get; init; }
    /// <summary>Only so many lines from the end.</summary>
    public long? TailLines { get; init; }
    /// <summary>Only lines after this time.</summary>
    public DateTimeOffset? Since { get; init; }
    public long? LimitBytes { get; init; }
}

/// <summary>A command to run in a container.</summary>
public sealed record PodExecRequest(PodReference Pod, string Container, IReadOnlyList<string> Command, bool Stdin, bool Stdout, bool Stderr, bool Tty);

/// <summary>A running command. Disposing it ends the command.</summary>
public interface IExecSession : IAsyncDisposable
{
    /// <summary>Null unless asked for; closing it is end of input.</summary>
    Stream? StandardInput { get; }
    Stream? StandardOutput { get; }
    /// <summary>Null with a terminal.</summary>
    Stream? StandardError { get; }
    /// <summary>Completes with the exit code (128 + signal when killed).</summary>
    Task<int> ExitCode { get; }
    /// <summary>Size of the terminal in cells.</summary>
    void Resize(int columns, int rows);
}
