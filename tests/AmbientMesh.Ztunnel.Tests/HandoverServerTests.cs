using System.Net.Sockets;
using AmbientMesh.Linux;
using AmbientMesh.Ztunnel.InPod.Handover;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Tests;

/// <summary>The end that gives sockets away, in bad times.</summary>
public sealed class HandoverServerTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("amz-handover-").FullName;
    private readonly FakeTimeProvider _clock = new();
    private readonly KeptLog _log = new();

    private string Socket => Path.Combine(_folder, "handover.sock");

    private HandoverServer Server() => new(Socket, _ => [], _clock, _log);

    [Fact]
    public async Task A_lack_of_descriptors_is_rested_out_and_the_next_ztunnel_is_answered()
    {
        using var listener = SeqPacketListener.Bind(Socket);
        using var stop = new CancellationTokenSource();
        var failures = 2;
        var serving = Server().AcceptAsync(token => failures-- > 0 ? throw new SocketException((int)SocketError.TooManyOpenSockets) : listener.AcceptAsync(token), stop.Token);
        foreach (var _ in (int[])[1, 2])
        {
            await _clock.TimersArmedAsync(1, Patience.Token);
            _clock.Advance(TimeSpan.FromSeconds(1));
        }
        using var successor = await SeqPacketConnection.ConnectAsync(Socket, Patience.Token);
        await successor.SendAsync(HandoverMessages.Question(new NamespaceId(4, 5)), null, Patience.Token);
        using var answer = await successor.ReceiveAsync(HandoverMessages.MaxBytes, Patience.Token);
        Assert.Empty(HandoverMessages.ReadAnswer(answer.Bytes.Span)!);
        Assert.Single(_log.At(LogLevel.Warning));
        await stop.CancelAsync();
        await Patience.Within(serving);
    }

    [Fact]
    public async Task A_path_that_cannot_be_taken_leaves_no_socket_behind()
    {
        Directory.CreateDirectory(Socket);   // nothing can be moved there
        await Patience.Within(Server().RunAsync(Patience.Token));
        Assert.Equal([Socket], Directory.EnumerateFileSystemEntries(_folder));
        Assert.Single(_log.At(LogLevel.Warning));
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);
}
