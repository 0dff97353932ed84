using System.Net.WebSockets;

namespace AmbientMesh.Kubernetes;

/// <summary>Opens connections to ports inside pods through the API server (pods/portforward), also ports that listen on the pod's loopback only.</summary>
/// <remarks>
/// The form is WebSocket with subprotocol <c>v4.channel.k8s.io</c>: one forwarded connection to a WebSocket, no SPDY inside.
/// Needs the verb <c>get</c> on pods/portforward, from Kubernetes 1.35 on <c>create</c>.
/// </remarks>
public sealed class PodPorts(KubernetesClient client)
{
    private const string Protocol = "v4.channel.k8s.io";

    /// <summary>A connection to <paramref name="port"/> of a pod, as if made from inside it. It has no half close: dispose it to end it.</summary>
    /// <returns>A stream whose reads throw <see cref="IOException"/> with the node's words when the port cannot be reached.</returns>
    /// <exception cref="KubernetesException">The API server refused, or cannot be reached.</exception>
    public async Task<Stream> ConnectAsync(string ns, string pod, int port, CancellationToken cancellationToken)
    {
        var path = Pod.Type.Path(ns, pod, "portforward") + $"?ports={port}";
        var connection = await client.UpgradeAsync(path, Protocol, cancellationToken);
        return new ForwardedPort(WebSocket.CreateFromStream(connection, new WebSocketCreationOptions { SubProtocol = Protocol, KeepAliveInterval = TimeSpan.Zero }), $"port {port} of pod {ns}/{pod}");
    }
}
