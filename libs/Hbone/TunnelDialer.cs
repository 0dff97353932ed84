using System.Net;
using System.Net.Sockets;
using AmbientMesh.Model;

namespace AmbientMesh.Hbone;

/// <summary>Opens tunnels the usual way: a socket made by <paramref name="openSocket"/> (inside the pod's network namespace), TCP connect within 10 s,
/// TLS with the source identity's credentials, the peer checked against the key's destinations, HTTP/2.</summary>
/// <param name="openSocket">Makes an unconnected TCP socket for the address family, in the right namespace and with the wanted options, TCP_NODELAY among them.</param>
/// <param name="credentials">The current credentials of an identity; may wait for the certificate authority.</param>
public sealed class TunnelDialer(
    Func<AddressFamily, Socket> openSocket,
    Func<SpiffeId, CancellationToken, ValueTask<TlsCredentials>> credentials,
    HboneOptions options,
    HbonePoolOptions poolOptions,
    TimeProvider? clock = null)
{
    private const int HbonePort = 15008;
    private readonly TimeProvider _clock = clock ?? TimeProvider.System;

    /// <summary>Time for the TCP connect.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Time for the TLS handshake (T-09).</summary>
    public TimeSpan HandshakeTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>A <see cref="DialTunnel"/>.</summary>
    public async Task<HboneClientConnection> DialAsync(HbonePoolKey key, CancellationToken cancellationToken)
    {
        var own = await credentials(key.Source, cancellationToken);
        var transport = new SocketTransport(await ConnectAsync(key.EndPoint, cancellationToken), isPrepared: true);
        using var limit = new CancellationTokenSource(HandshakeTimeout, _clock);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            var tls = await TlsHandshake.ConnectAsync(transport, own, key.Destinations, both.Token);
            return HboneClientConnection.Start(tls, options, tls.Peer, _clock, poolOptions.MaxStreamsPerTunnel);
        }
        catch (OperationCanceledException) when (limit.IsCancellationRequested)
        {
            throw new TlsHandshakeException($"TLS handshake with {key.EndPoint} took longer than {HandshakeTimeout.TotalSeconds} s");
        }
    }

    private async Task<Socket> ConnectAsync(IPEndPoint destination, CancellationToken cancellationToken)
    {
        var socket = openSocket(destination.AddressFamily);
        using var limit = new CancellationTokenSource(ConnectTimeout, _clock);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            await socket.ConnectAsync(destination, both.Token);
            return socket;
        }
        catch (OperationCanceledException) when (limit.IsCancellationRequested)
        {
            socket.Dispose();
            throw new TunnelConnectException(TimeoutText(destination), timedOut: true, null);
        }
        catch (OperationCanceledException)
        {
            socket.Dispose();
            throw;
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw e.SocketErrorCode == SocketError.TimedOut
                ? new TunnelConnectException(TimeoutText(destination), timedOut: true, e)
                : new TunnelConnectException($"connection failed: {e.Message}", timedOut: false, e);
        }
    }

    private string TimeoutText(IPEndPoint destination) =>
        $"connection timed out, maybe a NetworkPolicy is blocking HBONE port {HbonePort}: {destination} did not answer within {ConnectTimeout.TotalSeconds} s";
}

/// <summary>The TCP connection below a tunnel did not come about.</summary>
/// <param name="timedOut">Nobody answered: flag NETWORK_POLICY rather than CONNECT in telemetry.</param>
public sealed class TunnelConnectException(string message, bool timedOut, Exception? inner) : IOException(message, inner)
{
    public bool TimedOut => timedOut;
}
