using System.Net;
using System.Net.Sockets;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.InPod;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Dns;

/// <summary>What the pods' lookups share, those of their resolvers and those that their connections need.</summary>
/// <param name="OwnSockets">Sockets of ztunnel's own namespace.</param>
/// <param name="Names">Host names of workloads without addresses.</param>
/// <param name="ServesPods">Whether pods' own lookups are answered.</param>
public sealed record DnsServices(NameServers Servers, DnsMetrics Metrics, PodSockets OwnSockets, HostNames Names, bool ServesPods)
{
    public static DnsServices Create(ZtunnelSettings settings, MetricRegistry metrics, ILoggerFactory loggers, TimeProvider clock)
    {
        var servers = new NameServers(settings.ResolverFile, clock, loggers.CreateLogger("ztunnel::dns::forwarder"));
        var own = new PodSockets(null, settings);
        return new DnsServices(servers, new DnsMetrics(metrics), own, new HostNames(new DnsForwarder(own, own, servers, clock), settings.IPv6Enabled, clock), settings.DnsProxy);
    }

    public QueryLimit Limit { get; } = new(QueryLimit.PerNode, null);
}

/// <summary>The DNS proxy of one pod: UDP and TCP on the pod's loopback (L4 reference §2.1, §10.5).</summary>
public sealed class DnsProxy
{
    private readonly List<DatagramServer> _datagrams = [];
    private readonly List<StreamServer> _streams = [];

    private int _stopped;

    private DnsProxy(QueryAnswering answering) => Answering = answering;

    /// <summary>Answers the pod's queries, also those that come by another way.</summary>
    public QueryAnswering Answering { get; }

    /// <summary>Opens the sockets inside the pod and serves.</summary>
    /// <exception cref="IOException">A port could not be opened; nothing is left open.</exception>
    public static DnsProxy Start(PodContext pod, DnsServices services)
    {
        var settings = pod.Services.Settings;
        var log = pod.Services.Loggers.CreateLogger("ztunnel::dns::server");
        var opened = Open(pod.Sockets, AddressesOf(settings.DnsProxyHost, settings.DnsProxyPort, settings.IPv6Enabled), settings.DnsProxyHost);
        var limit = new QueryLimit(QueryLimit.PerPod, services.Limit);
        var forwarder = new DnsForwarder(pod.Sockets, services.OwnSockets, services.Servers, pod.Services.Clock);
        var answering = new QueryAnswering(pod, forwarder, services.Metrics, limit);
        var proxy = new DnsProxy(answering);
        foreach (var socket in opened)
        {
            if (socket.SocketType == SocketType.Dgram) proxy._datagrams.Add(new DatagramServer(socket, answering));
            else proxy._streams.Add(new StreamServer(socket, answering, pod, log));
        }
        log.Write(LogLevel.Information, new LogFields("starting local DNS server", new("address", $"{settings.DnsProxyHost}:{settings.DnsProxyPort}"), new("component", "dns")) { Span = pod.Span });
        return proxy;
    }

    /// <summary>Takes no more queries; completes when those it has are answered.</summary>
    public async Task DrainAsync(CancellationToken cancellationToken)
    {
        foreach (var server in _streams) server.Drain();
        await Task.WhenAll([.. _datagrams.Select(server => server.DrainAsync(cancellationToken)), .. _streams.Select(server => server.Completion.WaitAsync(cancellationToken))]);
    }

    /// <summary>Ends at once. Repeatable.</summary>
    public async Task StopAsync()
    {
        if (Interlocked.Exchange(ref _stopped, 1) != 0) return;
        foreach (var server in _datagrams) await server.DisposeAsync();
        foreach (var server in _streams) await server.DisposeAsync();
    }

    /// <summary>The addresses to listen on: both loopbacks for <c>localhost</c>.</summary>
    internal static IReadOnlyList<IPEndPoint> AddressesOf(string host, ushort port, bool ipv6) =>
        IPAddress.TryParse(host, out var address) ? [new IPEndPoint(address, port)]
        : ipv6 ? [new IPEndPoint(IPAddress.Loopback, port), new IPEndPoint(IPAddress.IPv6Loopback, port)]
        : [new IPEndPoint(IPAddress.Loopback, port)];

    private static List<Socket> Open(PodSockets pod, IReadOnlyList<IPEndPoint> addresses, string host)
    {
        var sockets = new List<Socket>();
        foreach (var address in addresses)
        {
            try
            {
                sockets.Add(pod.ReceiveOn(address));
                sockets.Add(pod.ListenOn(address));
            }
            catch (SocketException e) when (addresses.Count > 1 && address.AddressFamily == AddressFamily.InterNetworkV6 && IsWithoutFamily(e))
            {
                // A pod whose loopback has no IPv6 sends no lookups there.
            }
            catch (Exception e)
            {
                foreach (var socket in sockets) socket.Dispose();
                if (e is not SocketException failed) throw;
                throw new IOException($"Bind({host}:{address.Port}, dns, Os {{ code: {failed.NativeErrorCode}, message: \"{failed.Message}\" }})", failed);
            }
        }
        return sockets;
    }

    private static bool IsWithoutFamily(SocketException e) => e.SocketErrorCode is SocketError.AddressNotAvailable or SocketError.AddressFamilyNotSupported;
}
