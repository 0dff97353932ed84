using System.Diagnostics;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>What crossed the wire while it ran, as tcpdump wrote it.</summary>
public sealed class WireCapture : IAsyncDisposable
{
    private readonly Process _process;
    private readonly string _file;

    private WireCapture(Process process, string file) => (_process, _file) = (process, file);

    public static async Task<WireCapture> StartAsync(string netns)
    {
        var file = Path.Combine(Path.GetTempPath(), $"{netns}-{Guid.NewGuid():n}.pcap");
        var process = Process.Start(new ProcessStartInfo("ip", ["netns", "exec", netns, "tcpdump", "-i", "br0", "-U", "--immediate-mode", "-Z", "root", "-s", "0", "-w", file]) { RedirectStandardError = true })!;
        while (await process.StandardError.ReadLineAsync(Patience.Token) is { } line)
            if (line.Contains("listening on", StringComparison.Ordinal)) return new WireCapture(process, file);
        throw new InvalidOperationException("tcpdump did not start");
    }

    /// <summary>Ends the recording and returns its bytes.</summary>
    public async Task<byte[]> StopAsync()
    {
        if (!_process.HasExited)
        {
            using var kill = Process.Start("kill", ["-INT", _process.Id.ToString()]);
            await kill.WaitForExitAsync(Patience.Token);
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
