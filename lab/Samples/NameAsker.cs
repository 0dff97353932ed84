using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace AmbientMesh.Samples;

/// <summary>Asks the pod's name server and prints each answer in hex, with a zero id, so that answers can be compared.</summary>
internal static class NameAsker
{
    private const int DnsPort = 53;
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(12);

    /// <param name="questions">Each <c>NAME/TYPE</c>, then <c>/tcp</c> and <c>/edns=BYTES</c> if wanted.</param>
    public static async Task<int> RunAsync(string[] questions, CancellationToken stop)
    {
        var lines = await File.ReadAllLinesAsync("/etc/resolv.conf", stop);
        var server = lines.Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Where(words => words is ["nameserver", ..]).Select(words => IPAddress.Parse(words[1])).First();
        var failed = 0;
        foreach (var question in questions)
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop);
            limit.CancelAfter(s_limit);
            try
            {
                var query = Query(question);
                var answer = question.Contains("/tcp", StringComparison.Ordinal) ? await OverTcpAsync(server, query, limit.Token) : await OverUdpAsync(server, query, limit.Token);
                (answer[0], answer[1]) = (0, 0);
                Console.WriteLine($"{question} {Convert.ToHexString(answer)}");
            }
            catch (Exception failure) when (failure is SocketException or IOException or OperationCanceledException)
            {
                Console.WriteLine($"{question} failed: {failure.Message}");
                failed++;
            }
        }
        return failed == 0 ? 0 : 1;
    }

    private static byte[] Query(string question)
    {
        var parts = question.Split('/');
        var bytes = new List<byte> { (byte)Random.Shared.Next(256), (byte)Random.Shared.Next(256), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0 };
        foreach (var label in parts[0].Split('.', StringSplitOptions.RemoveEmptyEntries)) bytes.AddRange([(byte)label.Length, .. Encoding.ASCII.GetBytes(label)]);
        var type = TypeOf(parts.Length > 1 ? parts[1] : "a");
        bytes.AddRange([0, (byte)(type >> 8), (byte)type, 0, 1]);
        if (parts.FirstOrDefault(part => part.StartsWith("edns=", StringComparison.Ordinal)) is { } edns)
        {
            var payload = ushort.Parse(edns.AsSpan(5), CultureInfo.InvariantCulture);
            bytes[11] = 1;
            bytes.AddRange([0, 0, 41, (byte)(payload >> 8), (byte)payload, 0, 0, 0, 0, 0, 0]);
        }
        return [.. bytes];
    }

    /// <exception cref="FormatException">No type of that name.</exception>
    private static ushort TypeOf(string name) => name switch
    {
        "a" => 1,
        "cname" => 5,
        "soa" => 6,
        "ptr" => 12,
        "mx" => 15,
        "txt" => 16,
        "aaaa" => 28,
        "srv" => 33,
        "any" => 255,
        _ => ushort.Parse(name, CultureInfo.InvariantCulture),
    };

    private static async Task<byte[]> OverUdpAsync(IPAddress server, byte[] query, CancellationToken stop)
    {
        using var socket = new Socket(server.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        await socket.ConnectAsync(new IPEndPoint(server, DnsPort), stop);
        await socket.SendAsync(query, stop);
        var buffer = new byte[ushort.MaxValue];
        return buffer[..await socket.ReceiveAsync(buffer, stop)];
    }

    private static async Task<byte[]> OverTcpAsync(IPAddress server, byte[] query, CancellationToken stop)
    {
        using var client = new TcpClient(server.AddressFamily);
        await client.ConnectAsync(server, DnsPort, stop);
        var stream = client.GetStream();
        var length = new byte[2];
        BinaryPrimitives.WriteUInt16BigEndian(length, (ushort)query.Length);
        await stream.WriteAsync((byte[])[.. length, .. query], stop);
        await stream.ReadExactlyAsync(length, stop);
        var answer = new byte[BinaryPrimitives.ReadUInt16BigEndian(length)];
        await stream.ReadExactlyAsync(answer, stop);
        return answer;
    }
}
