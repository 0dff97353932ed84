using System.Net.Sockets;
using AmbientMesh.Linux;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.InPod.Handover;
using Microsoft.Win32.SafeHandles;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>A listening socket of an earlier proxy is taken for what the kernel says it is.</summary>
public sealed class InheritedSocketTests
{
    [Fact]
    [Scenario("T-24")]
    public void A_socket_of_another_pods_namespace_is_not_taken()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "Network namespaces need root.");
        using NetworkNamespace own = NetworkNamespace.Create(), other = NetworkNamespace.Create();
        var settings = new ZtunnelSettings();
        using var listeningThere = new PodSockets(other, settings).Listen(15008);

        using var inherited = Holding("tcp/15008", listeningThere);
        using var opened = new PodSockets(own, settings, inherited).Listen(15008);
        using var rightly = Holding("tcp/15008", listeningThere);
        using var taken = new PodSockets(other, settings, rightly).Listen(15008);

        Assert.NotEqual(listeningThere.GetCookie(), opened.GetCookie());
        Assert.NotEqual(listeningThere.GetNetworkNamespaceCookie(), opened.GetNetworkNamespaceCookie());
        Assert.Equal(listeningThere.GetCookie(), taken.GetCookie());
    }

    private static InheritedSockets Holding(string name, Socket socket)
    {
        const int duplicate = 1030;   // F_DUPFD_CLOEXEC
        var sockets = new InheritedSockets();
        sockets.Add(name, new SafeFileHandle(Libc.ControlDescriptor((int)socket.Handle, duplicate, 0), ownsHandle: true));
        return sockets;
    }
}
