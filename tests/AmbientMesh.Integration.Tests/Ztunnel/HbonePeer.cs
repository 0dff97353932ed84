using System.Net;
using System.Net.Sockets;
using AmbientMesh.Hbone;
using AmbientMesh.Identity;
using AmbientMesh.Model;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>A mesh peer of the test's own: dials a pod's port 15008 from another pod with a certificate of its choice.</summary>
public static class HbonePeer
{
    public static readonly SpiffeId Default = new("cluster.local", "default", "plain");

    /// <summary>A TCP connection from inside a pod.</summary>
    public static async Task<Socket> DialAsync(PodNamespace from, IPEndPoint destination) => (await PodClient.ConnectAsync(from, destination)).Client;

    /// <summary>A tunnel to a pod.</summary>
    public static async Task<HboneClientConnection> ConnectAsync(ControlPlaneStandIn plane, PodNamespace from, PodNamespace to, Svid? own = null)
    {
        var credentials = TlsCredentials.Of(own ?? plane.Authority.IssueSvid(Default), SvidRules.Strict, TimeProvider.System);
        var expected = new SpiffeId("cluster.local", "default", to.Name);
        var tls = await TlsHandshake.ConnectAsync(new SocketTransport(await DialAsync(from, TestMesh.At(to, 15008))), credentials, [expected], Patience.Token);
        return HboneClientConnection.Start(tls, new HboneOptions(), tls.Peer);
    }

    /// <summary>The status a CONNECT is answered with.</summary>
    public static async Task<int> AskAsync(HboneClientConnection tunnel, string authority)
    {
        Assert.True(HboneAuthority.TryParse(authority, out var parsed));
        switch (await tunnel.ConnectAsync(parsed, [], Patience.Token))
        {
            case ConnectOutcome.Established established:
                await established.Stream.DisposeAsync();
                return 200;
            case ConnectOutcome.Rejected rejected:
                return rejected.Status;
            case var other:
                throw new InvalidOperationException($"no answer: {other}");
        }
    }
}
