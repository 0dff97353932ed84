using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace AmbientMesh.Samples;

/// <summary>Sends a text, closes its half of the connection and prints what comes back.</summary>
internal static class TcpCaller
{
    public static async Task<int> EchoAsync(string target, string text, CancellationToken stop)
    {
        var colon = target.LastIndexOf(':');
        if (colon < 1 || !int.TryParse(target.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var port)) throw new FormatException($"\"{target}\" is not HOST:PORT.");
        try
        {
            using var client = new TcpClient();
            await client.ConnectAsync(target[..colon].Trim('[', ']'), port, stop);
            var stream = client.GetStream();
            await stream.WriteAsync(Encoding.UTF8.GetBytes(text), stop);
            client.Client.Shutdown(SocketShutdown.Send);
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
