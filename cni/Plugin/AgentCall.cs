using System.Globalization;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace AmbientMesh.Cni.Plugin;

/// <summary>The agent's answer.</summary>
/// <param name="Reached">False when there was no agent to answer; then <paramref name="Text"/> says why.</param>
internal readonly record struct AgentAnswer(bool Reached, int Status, string Text);

/// <summary>Asks the node agent to enrol a pod: <c>POST /cmdadd</c> over its Unix socket. Source: reference 9.5.</summary>
/// <remarks>HTTP by hand and without asynchronous sockets: an HTTP client would cost more time than all the rest of this process.</remarks>
internal static class AgentCall
{
    private const int TimeoutMilliseconds = 9000;
    private const int MaxAnswerBytes = 64 * 1024;

    public static AgentAnswer Send(PluginCall call)
    {
        var path = $"{call.RunFolder.TrimEnd('/')}/pluginevent.sock";
        try
        {
            using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { SendTimeout = TimeoutMilliseconds, ReceiveTimeout = TimeoutMilliseconds };
            socket.Connect(new UnixDomainSocketEndPoint(path));
            var body = Body(call);
            var head = $"POST /cmdadd HTTP/1.1\r\nHost: agent\r\nContent-Type: application/json\r\nX-Ambientmesh-Eligibility: ask\r\nConnection: close\r\nContent-Length: {body.Length}\r\n\r\n";
            SendAll(socket, Encoding.ASCII.GetBytes(head));
            SendAll(socket, body);
            return Parse(ReceiveAll(socket));
        }
        catch (SocketException e)
        {
            return new AgentAnswer(false, 0, $"{path}: {e.Message}");
        }
        catch (ArgumentOutOfRangeException e)
        {
            return new AgentAnswer(false, 0, $"{path} is no socket path: {e.Message}");
        }
    }

    // { "Netns", "PodName", "PodNamespace", "PodUID", "IPs": [ { "Interface": null, "Address": { "IP", "Mask": null }, "Gateway": null } ] }
    internal static byte[] Body(PluginCall call)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartObject();
            json.WriteString("Netns", call.NetworkNamespace);
            json.WriteString("PodName", call.PodName);
            json.WriteString("PodNamespace", call.PodNamespace);
            json.WriteString("PodUID", call.PodUid);
            json.WriteStartArray("IPs");
            foreach (var address in call.Addresses)
            {
                json.WriteStartObject();
                json.WriteNull("Interface");
                json.WriteStartObject("Address");
                json.WriteString("IP", address);
                json.WriteNull("Mask");
                json.WriteEndObject();
                json.WriteNull("Gateway");
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        }
        return stream.ToArray();
    }

    /// <summary>Reads an answer that was sent whole; anything else counts as a failure, never as a yes.</summary>
    internal static AgentAnswer Parse(string answer)
    {
        var end = answer.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        var words = answer.Split(' ', 3);
        if (end < 0 || words.Length < 3 || !words[0].StartsWith("HTTP/1.", StringComparison.Ordinal) || !int.TryParse(words[1], NumberStyles.None, CultureInfo.InvariantCulture, out var status))
            return new AgentAnswer(true, 0, "the agent broke off before answering");
        return new AgentAnswer(true, status, answer[(end + 4)..].Trim());
    }

    private static void SendAll(Socket socket, byte[] bytes)
    {
        for (var sent = 0; sent < bytes.Length;) sent += socket.Send(bytes, sent, bytes.Length - sent, SocketFlags.None);
    }

    private static string ReceiveAll(Socket socket)
    {
        var buffer = new byte[MaxAnswerBytes];
        var filled = 0;
        while (filled < buffer.Length && socket.Receive(buffer, filled, buffer.Length - filled, SocketFlags.None) is > 0 and var read) filled += read;
        return Encoding.UTF8.GetString(buffer, 0, filled);
    }
}
