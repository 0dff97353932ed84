using System.Diagnostics;
using AmbientMesh.Linux;

namespace AmbientMesh.Integration.Tests.Cni;

/// <summary>Everything that crosses a node's interfaces while it runs, as tcpdump writes it.</summary>
internal sealed class NodeCapture : IAsyncDisposable
{
    private readonly Process _process;
    private readonly string _file;

    private NodeCapture(Process process, string file) => (_process, _file) = (process, file);

    public static async Task<NodeCapture> StartAsync(NetworkNamespace node)
    {
        var file = Path.Combine(Path.GetTempPath(), $"node-{Guid.NewGuid():n}.pcap");
        var process = Process.Start(new ProcessStartInfo("nsenter", [$"--net={node.Path}", "tcpdump", "-i", "any", "-U", "--immediate-mode", "-Z", "root", "-s", "0", "-w", file]) { RedirectStandardError = true })!;
        while (await process.StandardError.ReadLineAsync(Patience.Token) is { } line)
            if (line.Contains("listening on", StringComparison.Ordinal)) return new NodeCapture(process, file);
        throw new InvalidOperationException("tcpdump did not start");
    }

    /// <summary>Ends the recording and returns its bytes.</summary>
    public async Task<byte[]> StopAsync()
    {
        if (!_process.HasExited)
        {
            (await HostProgram.RunAsync(new ProgramCall("kill", "-INT", $"{_process.Id}"), Patience.Token)).Required();
            await _process.WaitForExitAsync(Patience.Token);
        }
        return await File.ReadAllBytesAsync(_file, Patience.Token);
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _process.Dispose();
        File.Delete(_file);
    }
}
