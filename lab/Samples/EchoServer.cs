using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Samples;

/// <summary>HTTP that tells who answered and which client address it saw, and a TCP echo.</summary>
internal static class EchoServer
{
    public static async Task<int> RunAsync(int httpPort, int tcpPort, CancellationToken stop)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.ListenAnyIP(httpPort, listen => listen.Protocols = HttpProtocols.Http1));
        await using var app = builder.Build();
        app.Map("/{**path}", Answer);
        await app.StartAsync(CancellationToken.None);
        using var listener = new TcpListener(IPAddress.IPv6Any, tcpPort);
        listener.Server.DualMode = true;
        listener.Start();
        Console.WriteLine($"serving as {Environment.MachineName}: HTTP on {httpPort}, TCP echo on {tcpPort}");
        try
        {
            while (true) _ = EchoAsync(await listener.AcceptTcpClientAsync(stop), stop);
        }
        catch (OperationCanceledException)
        {
            await app.StopAsync(CancellationToken.None);
            return 0;
        }
    }

    private static async Task Answer(HttpContext context)
    {
        var remote = context.Connection.RemoteIpAddress!;
        var client = remote.IsIPv4MappedToIPv6 ? remote.MapToIPv4() : remote;
        context.Response.ContentType = "application/json";
        await using var json = new Utf8JsonWriter(context.Response.BodyWriter);
        json.WriteStartObject();
        json.WriteString("server", Environment.MachineName);
        json.WriteString("client", client.ToString());
        json.WriteString("path", context.Request.Path + context.Request.QueryString);
        json.WriteEndObject();
    }

    private static async Task EchoAsync(TcpClient client, CancellationToken stop)
    {
        using (client)
        {
            try
            {
                var stream = client.GetStream();
                await stream.CopyToAsync(stream, stop);
                client.Client.Shutdown(SocketShutdown.Send);
            }
            catch (Exception gone) when (gone is IOException or SocketException or OperationCanceledException)
            {
                Console.Error.WriteLine($"echo ended: {gone.Message}");
            }
        }
    }
}
