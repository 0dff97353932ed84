using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using System.Text;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Pods;
using AmbientMesh.Linux;

namespace AmbientMesh.Lab.Nodes;

/// <summary>Logs, exec and port-forward of the pods of all nodes.</summary>
internal sealed class PodRuntime(IReadOnlyList<Kubelet> kubelets) : IPodRuntime
{
    public Task<Stream> OpenLogAsync(PodLogRequest request, CancellationToken cancellationToken)
    {
        var runner = Runner(request.Pod, request.Container);
        var log = request.Previous ? runner.PreviousLog : runner.Log;
        if (log is null)
        {
            throw ApiErrors.BadRequest(request.Previous
                ? $"previous terminated container \"{request.Container}\" in pod \"{request.Pod.Name}\" not found"
                : $"container \"{request.Container}\" in pod \"{request.Pod.Name}\" is waiting to start: {Waiting(runner)}");
        }
        var pipe = new Pipe();
        _ = CopyLogAsync(log, request, pipe.Writer, cancellationToken);
        return Task.FromResult(pipe.Reader.AsStream());
    }

    public Task<IExecSession> ExecAsync(PodExecRequest request, CancellationToken cancellationToken)
    {
        var runner = Runner(request.Pod, request.Container);
        if (runner.Running is not { } running) throw ApiErrors.BadRequest($"container \"{request.Container}\" of pod \"{request.Pod.Name}\" is not running");
        try
        {
            return Task.FromResult<IExecSession>(request.Tty ? TerminalSession.Start(running, request.Command) : ExecSession.Start(running, request));
        }
        catch (InvalidOperationException gone)
        {
            throw ApiErrors.BadRequest(gone.Message);
        }
    }

    public async Task<Stream> ConnectAsync(PodReference pod, int port, CancellationToken cancellationToken)
    {
        var worker = Worker(pod);
        var process = worker.Containers.Select(c => c.Running?.ProcessId ?? 0).FirstOrDefault(p => p != 0);
        if (process == 0) throw ApiErrors.BadRequest($"pod \"{pod.Name}\" is not running");
        using var network = NetworkNamespace.Open($"/proc/{process}/ns/net");
        var socket = network.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        try
        {
            await socket.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch (SocketException refused)
        {
            socket.Dispose();
            throw new IOException($"failed to connect to localhost:{port} inside namespace \"{pod.Uid}\": {refused.Message}", refused);
        }
    }

    private PodWorker Worker(PodReference pod) =>
        kubelets.FirstOrDefault(k => k.NodeName == pod.Node)?.Find(pod.Uid) ?? throw ApiErrors.BadRequest($"pod \"{pod.Name}\" is not on node \"{pod.Node}\"");

    private ContainerRunner Runner(PodReference pod, string container) =>
        Worker(pod).Containers.FirstOrDefault(c => c.Name == container) ?? throw ApiErrors.BadRequest($"container {container} is not valid for pod {pod.Name}");

    private static string Waiting(ContainerRunner runner) => runner.Record.State is ContainerState.Waiting waiting ? waiting.Reason : "ContainerCreating";

    private static async Task CopyLogAsync(ContainerLog log, PodLogRequest request, PipeWriter writer, CancellationToken cancellationToken)
    {
        try
        {
            var skip = request.TailLines is { } tail ? Math.Max(0, await CountAsync(log, request, cancellationToken) - tail) : 0;
            var left = request.LimitBytes ?? long.MaxValue;
            await foreach (var line in log.ReadAsync(request.Follow, cancellationToken))
            {
                if (line.Time < request.Since || skip-- > 0) continue;
                var bytes = Encoding.UTF8.GetBytes((request.Timestamps ? $"{line.Stamp} " : "") + line.Text + (line.Partial ? "" : "\n"));
                await writer.WriteAsync(bytes.AsMemory(0, (int)Math.Min(bytes.Length, left)), cancellationToken);
                if ((left -= bytes.Length) <= 0) break;
            }
            await writer.CompleteAsync();
        }
        catch (Exception ended) when (ended is OperationCanceledException or IOException or InvalidOperationException)
        {
            await writer.CompleteAsync(ended is OperationCanceledException ? null : ended);
        }
    }

    private static async Task<long> CountAsync(ContainerLog log, PodLogRequest request, CancellationToken cancellationToken)
    {
        long count = 0;
        await foreach (var line in log.ReadAsync(follow: false, cancellationToken))
            if (request.Since is null || line.Time >= request.Since) count++;
        return count;
    }
}
