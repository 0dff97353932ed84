namespace AmbientMesh.Hbone.Tests;

public class StreamTests
{
    [Fact]
    public async Task Bytes_travel_both_ways_and_each_direction_ends_on_its_own()
    {
        var tunnel = await Loopback.TunnelAsync();
        var (client, server) = await tunnel.StreamAsync();
        var upload = Loopback.Bytes(3_000_000, 1);
        var download = Loopback.Bytes(5_000_000, 2);

        var uploading = SendAllAsync(client, upload);
        Assert.Equal(upload, await server.ReadToEndAsync());
        await uploading;
        var downloading = SendAllAsync(server, download);
        Assert.Equal(download, await client.ReadToEndAsync());
        await downloading;

        await Patience.Within(tunnel.Client.CloseAsync().AsTask());
        await Patience.Within(tunnel.Server.Completion);
        Assert.Null(tunnel.Server.Failure);
    }

    private static async Task SendAllAsync(HboneStream stream, byte[] bytes)
    {
        await stream.WriteAsync(bytes, Patience.Token);
        await stream.ShutdownWriteAsync(Patience.Token);
    }
}
