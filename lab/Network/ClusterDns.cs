using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;
using AmbientMesh.Lab.Controllers;
using AmbientMesh.Linux;

namespace AmbientMesh.Lab.Network;

/// <summary>The cluster DNS: answers on the fabric's address, over UDP and TCP. It knows the cluster's names and no others.</summary>
internal sealed class ClusterDns : IDisposable
{
    private const int UdpLimit = 512;   // RFC 1035 §4.2.1, where the asker does not say otherwise
    private static readonly TimeSpan s_idle = TimeSpan.FromSeconds(30);
    private readonly NamesView _view;
    private readonly Socket[] _udp;
    private readonly Socket[] _tcp;

    /// <param name="fabric">Where the sockets are made.</param>
    /// <param name="families">Of the addresses it listens on.</param>
    public ClusterDns(ClusterStore store, NetworkNamespace fabric, AddressFamilies families = AddressFamilies.Dual)
    {
        _view = new NamesView(
            (ns, name) => store.TryGet(Resources.Services, ns, name),
            (ns, name) => store.List(Resources.EndpointSlices, new Selection(ns, LabelSelector.Equal([new("kubernetes.io/service-name", name)]))).Items,
            () => store.List(Resources.Services).Items,
            ns => store.TryGet(Resources.Namespaces, "", ns) is not null);
        var addresses = LabAddresses.FabricAddresses(families);
        _udp = [.. addresses.Select(a => fabric.Run(() => Bind(a, SocketType.Dgram, ProtocolType.Udp)))];
        _tcp = [.. addresses.Select(a => fabric.Run(() => Bind(a, SocketType.Stream, ProtocolType.Tcp)))];
    }

    public Task RunAsync(CancellationToken cancellationToken) =>
        Task.WhenAll([.. _udp.Select(s => ServeDatagramsAsync(s, cancellationToken)), .. _tcp.Select(s => ServeStreamsAsync(s, cancellationToken))]);

    public void Dispose()
    {
        foreach (var socket in _udp.Concat(_tcp)) socket.Dispose();
    }

    /// <summary>Null for bytes that are no question.</summary>
    internal byte[]? Answer(ReadOnlySpan<byte> message, int limit)
    {
        if (DnsMessage.ReadQuestion(message) is not { } question) return null;
        var answer = ClusterNames.Resolve(_view, question.Name, question.Type);
        return DnsMessage.WriteAnswer(question, answer.Code, answer.Records, Math.Max(limit, question.PayloadBytes ?? 0));
    }

    private static Socket Bind(IPAddress address, SocketType type, ProtocolType protocol)
    {
        var socket = new Socket(address.AddressFamily, type, protocol);
        socket.Bind(new IPEndPoint(address, LabAddresses.DnsPort));
        if (type == SocketType.Stream) socket.Listen(64);
        return socket;
    }

    private async Task ServeDatagramsAsync(Socket socket, CancellationToken cancellationToken)
    {
        var buffer = new byte[4096];
        var anyone = new IPEndPoint(socket.AddressFamily == AddressFamily.InterNetworkV6 ? IPAddress.IPv6Any : IPAddress.Any, 0);
        while (true)
        {
            try
            {
                var received = await socket.ReceiveFromAsync(buffer, SocketFlags.None, anyone, cancellationToken);
                if (Answer(buffer.AsSpan(0, received.ReceivedBytes), UdpLimit) is { } answer) await socket.SendToAsync(answer, SocketFlags.None, received.RemoteEndPoint, cancellationToken);
            }
            catch (SocketException)
            {
                // An asker that has gone (ICMP) is not our trouble.
            }
        }
    }

    private async Task ServeStreamsAsync(Socket listener, CancellationToken cancellationToken)
    {
        while (true) _ = ServeStreamAsync(await listener.AcceptAsync(cancellationToken), cancellationToken);
    }

    private async Task ServeStreamAsync(Socket socket, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        await using var stream = new NetworkStream(socket, ownsSocket: true);
        var length = new byte[2];
        try
        {
            while (true)
            {
                limit.CancelAfter(s_idle);
                await stream.ReadExactlyAsync(length, limit.Token);
                var message = new byte[BinaryPrimitives.ReadUInt16BigEndian(length)];
                await stream.ReadExactlyAsync(message, limit.Token);
                if (Answer(message, ushort.MaxValue) is not { } answer) return;
                BinaryPrimitives.WriteUInt16BigEndian(length, (ushort)answer.Length);
                await stream.WriteAsync((byte[])[.. length, .. answer], limit.Token);
            }
        }
        catch (Exception ended) when (ended is IOException or OperationCanceledException)
        {
            // The asker has finished, or was silent too long.
        }
    }
}
