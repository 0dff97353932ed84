using System.Net.Sockets;
using System.Text;

namespace AmbientMesh.Samples;

/// <summary>Sends a text, closes its half of the connection and prints what comes back.</summary>
internal static class TcpCaller
{
    public static async Task<int> EchoAsync(string target, string text, CancellationToken stop)
    {
        var echo = EchoTarget.Parse(target);
        try
        {
            using var socket = await echo.ConnectAsync(stop);
            await using var stream = new NetworkStream(socket);
            await stream.WriteAsync(Encoding.UTF8.GetBytes(text), stop);
            socket.Shutdown(SocketShutdown.Send);
            using var reader = new StreamReader(stream, Encoding.UTF8);
            Console.WriteLine(await reader.ReadToEndAsync(stop));
            return 0;
        }
        catch (Exception failure) when (failure is SocketException or IOException)
        {
            Console.WriteLine($"failed: {failure.Message}");
            return 1;
        }
    }
}
