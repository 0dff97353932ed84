using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Nodes;

/// <summary>One attempt of a probe or an HTTP hook: null when it succeeded, else the kubelet's words for why not.</summary>
/// <remarks>Network probes are made from the node's own network, so a pod sees them come from its node's bridge address.</remarks>
internal static class Probe
{
    /// <summary>The handler of a probe or lifecycle hook, whichever it names.</summary>
    public static async Task<string?> AttemptAsync(NodeHost node, JsonObject handler, JsonObject container, string podAddress, RunningContainer running, CancellationToken cancellationToken)
    {
        if (handler.Map("httpGet") is { } http) return await HttpAsync(node, http, container, podAddress, cancellationToken);
        if (handler.Map("tcpSocket") is { } tcp) return await TcpAsync(node, tcp, container, podAddress, cancellationToken);
        if (handler.Map("exec") is { } exec) return await ExecAsync([.. exec.Texts("command")], running, cancellationToken);
        if (handler.Number("sleep", "seconds") is { } seconds)
        {
            await Task.Delay(TimeSpan.FromSeconds(seconds), TimeProvider.System, cancellationToken);
            return null;
        }
        return "the lab knows httpGet, tcpSocket and exec only";
    }

    private static async Task<string?> HttpAsync(NodeHost node, JsonObject http, JsonObject container, string podAddress, CancellationToken cancellationToken)
    {
        var host = http.Text("host") is { Length: > 0 } named ? named : podAddress;
        var scheme = (http.Text("scheme") ?? "HTTP").ToLowerInvariant();
        var url = $"{scheme}://{(host.Contains(':') ? $"[{host}]" : host)}:{Port(http, container)}{http.Text("path") ?? "/"}";
        using var connections = new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseProxy = false,
#pragma warning disable CA5359 // a kubelet does not verify the certificate of a probed pod either
            SslOptions = new SslClientAuthenticationOptions { RemoteCertificateValidationCallback = (_, _, _, _) => true },
#pragma warning restore CA5359
            ConnectCallback = async (context, token) => new NetworkStream(await ConnectAsync(node, context.DnsEndPoint.Host, context.DnsEndPoint.Port, token), ownsSocket: true),
        };
        using var client = new HttpClient(connections, disposeHandler: false) { Timeout = Timeout.InfiniteTimeSpan };
        using var request = new HttpRequestMessage(HttpMethod.Get, url);
        request.Headers.TryAddWithoutValidation("User-Agent", "kube-probe/1.36");
        request.Headers.TryAddWithoutValidation("Accept", "*/*");
        request.Headers.ConnectionClose = true;
        foreach (var header in http.Objects("httpHeaders")) request.Headers.TryAddWithoutValidation(header.Text("name") ?? "", header.Text("value"));
        try
        {
            using var response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
            return (int)response.StatusCode is >= 200 and < 400 ? null : $"HTTP probe failed with statuscode: {(int)response.StatusCode}";
        }
        catch (HttpRequestException failed)
        {
            return $"Get \"{url}\": {Reason(failed, $"{host}:{Port(http, container)}")}";
        }
        catch (OperationCanceledException)
        {
            return $"Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
        }
    }

    private static async Task<string?> TcpAsync(NodeHost node, JsonObject tcp, JsonObject container, string podAddress, CancellationToken cancellationToken)
    {
        var (host, port) = (tcp.Text("host") is { Length: > 0 } named ? named : podAddress, Port(tcp, container));
        try
        {
            using var socket = await ConnectAsync(node, host, port, cancellationToken);
            return null;
        }
        catch (SocketException refused)
        {
            return $"dial tcp {host}:{port}: {Words(refused)}";
        }
        catch (OperationCanceledException)
        {
            return $"dial tcp {host}:{port}: i/o timeout";
        }
    }

    private static async Task<string?> ExecAsync(string[] command, RunningContainer running, CancellationToken cancellationToken)
    {
        try
        {
            var result = await HostCommand.RunAsync(running.Exec(command), cancellationToken: cancellationToken);
            return result.Succeeded ? null : result.Output + result.Error;
        }
        catch (OperationCanceledException)
        {
            return $"command timed out: \"{string.Join(' ', command)}\"";
        }
        catch (InvalidOperationException gone)
        {
            return gone.Message;
        }
    }

    // The socket is made inside the node's namespace and stays there; connecting is done outside.
    private static async Task<Socket> ConnectAsync(NodeHost node, string host, int port, CancellationToken cancellationToken)
    {
        if (!IPAddress.TryParse(host, out var address)) throw new SocketException((int)SocketError.HostNotFound);
        var socket = node.Network.Run(() => new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp));
        try
        {
            await socket.ConnectAsync(new IPEndPoint(address, port), cancellationToken);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static int Port(JsonObject handler, JsonObject container)
    {
        if (handler.Number("port") is { } number) return (int)number;
        var name = handler.Text("port");
        var named = container.Objects("ports").FirstOrDefault(p => p.Text("name") == name);
        return (int)(named.Number("containerPort") ?? (int.TryParse(name, out var digits) ? digits : 0));
    }

    private static string Reason(HttpRequestException failed, string target) => failed.InnerException is SocketException refused
        ? $"dial tcp {target}: {Words(refused)}"
        : failed.InnerException?.Message ?? failed.Message;

    private static string Words(SocketException failure) => failure.SocketErrorCode switch
    {
        SocketError.ConnectionRefused => "connect: connection refused",
        SocketError.HostUnreachable => "connect: no route to host",
        SocketError.TimedOut => "i/o timeout",
        _ => failure.Message,
    };
}
