using System.Net;
using System.Net.Sockets;
using AmbientMesh.Lab.Capture;
using AmbientMesh.Lab.Nodes;
using AmbientMesh.Linux;

namespace AmbientMesh.Lab.Tests.Capture;

/// <summary>A capture is whole, or says that it is not.</summary>
public sealed class WireCaptureTests
{
    private const int Bytes = 8 * 1024 * 1024;

    [Fact]
    public async Task Everything_that_crosses_the_wire_is_in_the_recording()
    {
        using var place = await PlaceAsync();
        using var capture = new WireCapture(place);
        await SendAsync(place);
        var recording = capture.Stop();
        var flow = Assert.Single(recording.Flows);
        Assert.Equal(Bytes, Assert.Single(recording.Pieces(flow)).Length);
    }

    [Fact]
    public async Task A_capture_that_lost_frames_is_no_proof()
    {
        using var place = await PlaceAsync();
        using var capture = new WireCapture(place, long.MaxValue, bufferBytes: 1);   // the kernel takes its least: one frame at a time
        await SendAsync(place);
        Assert.Contains("frames that were not read in time", Assert.Throws<InvalidOperationException>(capture.Stop).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task More_than_the_limit_is_no_proof_either()
    {
        using var place = await PlaceAsync();
        using var capture = new WireCapture(place, limitBytes: Bytes - 1);
        await SendAsync(place);
        Assert.Contains("bytes crossed the wire", Assert.Throws<InvalidOperationException>(capture.Stop).Message, StringComparison.Ordinal);
    }

    private static async Task<NetworkNamespace> PlaceAsync()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "Network namespaces need root.");
        var place = NetworkNamespace.Create();
        var up = await HostCommand.RunAsync(["nsenter", $"--net={place.Path}", "ip", "link", "set", "lo", "up"], cancellationToken: Patience.Token);
        Assert.True(up.Succeeded, up.Error);
        return place;
    }

    private static async Task SendAsync(NetworkNamespace place)
    {
        using var listener = place.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        using var sender = place.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen();
        await sender.ConnectAsync(listener.LocalEndPoint!, Patience.Token);
        using var receiver = await listener.AcceptAsync(Patience.Token);
        var sending = sender.SendAsync(new byte[Bytes], Patience.Token).AsTask();
        var buffer = new byte[256 * 1024];
        for (var got = 0; got < Bytes;) got += await receiver.ReceiveAsync(buffer, Patience.Token);
        await Patience.Within(sending);
    }
}
