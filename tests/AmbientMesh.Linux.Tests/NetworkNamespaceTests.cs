using System.Net;
using System.Net.Sockets;

namespace AmbientMesh.Linux.Tests;

public class NetworkNamespaceTests
{
    [Fact]
    public async Task A_socket_made_inside_belongs_to_the_namespace_after_leaving_it()
    {
        using var inside = await Kernel.NamespaceAsync();
        using var listener = inside.Run(() =>
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
            socket.Listen();
            return socket;
        });
        var address = listener.LocalEndPoint!;

        using var outside = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await Assert.ThrowsAsync<SocketException>(async () => await outside.ConnectAsync(address, Patience.Token));

        using var client = inside.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        await client.ConnectAsync(address, Patience.Token);
        using var accepted = await listener.AcceptAsync(Patience.Token);
        Assert.Equal(client.LocalEndPoint, accepted.RemoteEndPoint);
    }

    [Fact]
    public async Task The_thread_is_back_home_after_running_inside_also_when_the_work_fails()
    {
        using var inside = await Kernel.NamespaceAsync();
        Assert.Throws<InvalidOperationException>(() => inside.Run<int>(() => throw new InvalidOperationException()));
        using var now = NetworkNamespace.Current();
        Assert.Equal(NetworkNamespace.Home.Id, now.Id);
    }

    [Fact]
    public async Task Running_inside_one_from_inside_another_comes_back_to_the_outer_one()
    {
        using var outer = await Kernel.NamespaceAsync();
        using var inner = await Kernel.NamespaceAsync();
        var seen = outer.Run(() => (inner.Run(CurrentId), CurrentId()));
        Assert.Equal((inner.Id, outer.Id), seen);
        Assert.NotEqual(inner.Id, outer.Id);
    }

    [Fact]
    public async Task The_same_namespace_has_one_id_whatever_path_it_was_opened_by()
    {
        var name = $"ambient-linux-{Environment.ProcessId}";
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "Network namespaces need root.");
        await Kernel.ShAsync(null, $"ip netns add {name}");
        try
        {
            using var named = NetworkNamespace.Open($"/var/run/netns/{name}");
            using var again = NetworkNamespace.Open(named.Path);
            Assert.Equal(named.Id, again.Id);
            Assert.Equal(named.Id, named.Run(CurrentId));
        }
        finally
        {
            await Kernel.ShAsync(null, $"ip netns del {name}");
        }
    }

    [Theory]
    [InlineData("/proc/self/ns/mnt")]
    [InlineData("/etc/passwd")]
    public void What_is_not_a_network_namespace_is_refused_by_name(string path)
    {
        var refusal = Assert.Throws<IOException>(() => NetworkNamespace.Open(path));
        Assert.Contains(path, refusal.Message);
    }

    [Fact]
    public void A_refused_descriptor_is_closed()
    {
        var handle = File.OpenHandle("/etc/passwd");
        Assert.Throws<IOException>(() => NetworkNamespace.FromHandle(handle));
        Assert.True(handle.IsClosed);
    }

    private static NamespaceId CurrentId()
    {
        using var current = NetworkNamespace.Current();
        return current.Id;
    }
}
