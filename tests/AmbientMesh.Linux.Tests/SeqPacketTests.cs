using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace AmbientMesh.Linux.Tests;

public sealed class SeqPacketTests : IDisposable
{
    private readonly string _path = Path.Combine(Path.GetTempPath(), $"seq-{Guid.NewGuid():n}.sock");
    private readonly SeqPacketListener _listener;

    public SeqPacketTests() => _listener = SeqPacketListener.Bind(_path);

    public void Dispose() => _listener.Dispose();

    [Fact]
    public async Task Message_borders_are_kept()
    {
        var (near, far) = await PairAsync();
        await near.SendAsync("one"u8.ToArray(), null, Patience.Token);
        await near.SendAsync("second"u8.ToArray(), null, Patience.Token);
        using var first = await far.ReceiveAsync(64, Patience.Token);
        using var second = await far.ReceiveAsync(64, Patience.Token);
        Assert.Equal("one"u8.ToArray(), first.Bytes.ToArray());
        Assert.Equal("second"u8.ToArray(), second.Bytes.ToArray());
    }

    [Fact]
    public async Task A_reader_that_waits_is_woken_by_a_message_with_its_descriptor()
    {
        var (near, far) = await PairAsync();
        var waiting = far.ReceiveAsync(64, Patience.Token).AsTask();
        var file = Path.GetTempFileName();
        using (var handle = File.OpenHandle(file, FileMode.Open, FileAccess.ReadWrite))
            await near.SendAsync("take"u8.ToArray(), handle, Patience.Token);
        using var packet = await Patience.Within(waiting);
        var taken = Assert.Single(packet.Descriptors);
        RandomAccess.Write(taken, "through the descriptor"u8, 0);
        Assert.Equal("through the descriptor", await File.ReadAllTextAsync(file, Patience.Token));
        File.Delete(file);
    }

    [Fact]
    public async Task A_message_without_descriptor_has_none()
    {
        var (near, far) = await PairAsync();
        await near.SendAsync(new byte[] { 8, 1 }, null, Patience.Token);
        using var packet = await far.ReceiveAsync(64, Patience.Token);
        Assert.Empty(packet.Descriptors);
        Assert.False(packet.IsTruncated);
    }

    [Fact]
    public async Task A_message_longer_than_asked_for_is_marked_and_its_descriptor_closed()
    {
        var (near, far) = await PairAsync();
        var (reading, writing) = Pipe();
        await near.SendAsync(new byte[65], writing, Patience.Token);
        writing.Dispose();
        using var packet = await far.ReceiveAsync(64, Patience.Token);
        Assert.True(packet.IsTruncated);
        Assert.Empty(packet.Descriptors);
        Assert.Equal(0, ReadOne(reading));   // end of file: no writer is left
    }

    [Fact]
    public async Task Disposing_a_packet_closes_what_nobody_took()
    {
        var (near, far) = await PairAsync();
        var (reading, writing) = Pipe();
        await near.SendAsync(new byte[1], writing, Patience.Token);
        writing.Dispose();
        (await far.ReceiveAsync(64, Patience.Token)).Dispose();
        Assert.Equal(0, ReadOne(reading));
    }

    [Fact]
    public async Task A_closed_peer_reads_as_the_end_and_fails_a_write()
    {
        var (near, far) = await PairAsync();
        near.Dispose();
        using var packet = await far.ReceiveAsync(64, Patience.Token);
        Assert.True(packet.IsEnd);
        var failure = await Assert.ThrowsAsync<SystemCallException>(async () => await far.SendAsync(new byte[1], null, Patience.Token));
        Assert.Contains(failure.ErrorNumber, new[] { 32, 104 });
    }

    [Fact]
    public async Task Waiting_ends_with_its_cancellation()
    {
        var (_, far) = await PairAsync();
        using var cancel = new CancellationTokenSource();
        var waiting = far.ReceiveAsync(64, cancel.Token).AsTask();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Patience.Within(waiting));
    }

    [Fact]
    public async Task A_slow_reader_slows_the_writer_and_loses_nothing()
    {
        const int messages = 2000;
        var (near, far) = await PairAsync();
        var writing = Task.Run(async () =>
        {
            for (var i = 0; i < messages; i++) await near.SendAsync(Numbered(i), null, Patience.Token);
        }, Patience.Token);
        for (var i = 0; i < messages; i++)
        {
            using var packet = await far.ReceiveAsync(1024, Patience.Token);
            Assert.Equal(i, BitConverter.ToInt32(packet.Bytes.Span));
        }
        await Patience.Within(writing);

        static byte[] Numbered(int number)
        {
            var bytes = new byte[1000];
            MemoryMarshal.Write(bytes, number);
            return bytes;
        }
    }

    [Fact]
    public void A_socket_somebody_listens_on_is_not_taken_over()
    {
        var refusal = Assert.Throws<IOException>(() => SeqPacketListener.Bind(_path));
        Assert.Contains(_path, refusal.Message);
    }

    [Fact]
    public async Task A_socket_file_left_by_a_dead_process_is_replaced()
    {
        var path = _path + "2";
        var script = $"use Socket; socket(S, AF_UNIX, SOCK_SEQPACKET, 0); bind(S, sockaddr_un('{path}')) or die";
        var left = await HostProgram.RunAsync(new ProgramCall("perl", "-e", script), Patience.Token);
        Assert.SkipUnless(left.Succeeded, "perl is needed to leave a socket file behind.");
        Assert.True(File.Exists(path));
        using var listener = SeqPacketListener.Bind(path);
        using var client = await SeqPacketConnection.ConnectAsync(path, Patience.Token);
    }

    [Fact]
    [Scenario("T-24")]
    public async Task A_peer_of_another_user_is_known_by_the_kernel_and_not_by_what_it_says()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "Becoming another user needs root.");
        var (near, far) = await PairAsync();
        Assert.True(near.IsOfSameUser);
        Assert.True(far.IsOfSameUser);

        File.SetUnixFileMode(_path, (UnixFileMode)0b110_110_110);
        var script = $"use Socket; socket(S, AF_UNIX, SOCK_SEQPACKET, 0); connect(S, sockaddr_un('{_path}')) or die";
        var asked = HostProgram.RunAsync(new ProgramCall("setpriv", "--reuid=65534", "--clear-groups", "perl", "-e", script), Patience.Token);
        using var stranger = await _listener.AcceptAsync(Patience.Token);
        Assert.False(stranger.IsOfSameUser);
        (await asked).Required();
    }

    private async Task<(SeqPacketConnection Near, SeqPacketConnection Far)> PairAsync()
    {
        var near = await SeqPacketConnection.ConnectAsync(_path, Patience.Token);
        return (near, await _listener.AcceptAsync(Patience.Token));
    }

    private static int ReadOne(SafeFileHandle pipe)
    {
        using var stream = new FileStream(pipe, FileAccess.Read, bufferSize: 0);
        return stream.Read(new byte[1]);
    }

    private static (SafeFileHandle Reading, SafeFileHandle Writing) Pipe()
    {
        Span<int> ends = stackalloc int[2];
        Assert.Equal(0, MakePipe(ref ends[0]));
        return (new SafeFileHandle(ends[0], true), new SafeFileHandle(ends[1], true));
    }

    [DllImport("libc", EntryPoint = "pipe")]
    private static extern int MakePipe(ref int ends);
}
