using System.Net;
using System.Runtime.InteropServices;

namespace AmbientMesh.Linux;

/// <summary>Addresses of the interfaces of a network namespace.</summary>
public static unsafe partial class InterfaceAddresses
{
    /// <summary>Every IPv4 and IPv6 address, loopback and link-local included.</summary>
    /// <exception cref="SystemCallException">The kernel refused.</exception>
    public static IReadOnlyList<IPAddress> Of(NetworkNamespace inside) => inside.Run(Read);

    private static List<IPAddress> Read()
    {
        if (GetInterfaces(out var first) != 0) throw SystemCallException.Last("getifaddrs", "listing addresses");
        try
        {
            var found = new List<IPAddress>();
            for (var entry = first; entry is not null; entry = entry->Next)
                if (Parse(entry->Address) is { } address) found.Add(address);
            return found;
        }
        finally
        {
            FreeInterfaces(first);
        }
    }

    // sockaddr: family 2, then for IPv4 port 2 | address 4, for IPv6 port 2 | flow 4 | address 16
    private static IPAddress? Parse(byte* sockaddr) => sockaddr is null ? null : *(ushort*)sockaddr switch
    {
        2 => new IPAddress(new ReadOnlySpan<byte>(sockaddr + 4, 4)),
        10 => new IPAddress(new ReadOnlySpan<byte>(sockaddr + 8, 16)),
        _ => null,
    };

    [StructLayout(LayoutKind.Sequential)]
    private struct Interface
    {
        public Interface* Next;
        public byte* Name;
        public uint Flags;
        public byte* Address;
    }

    [LibraryImport("libc", EntryPoint = "getifaddrs", SetLastError = true)]
    private static partial int GetInterfaces(out Interface* first);

    [LibraryImport("libc", EntryPoint = "freeifaddrs")]
    private static partial void FreeInterfaces(Interface* first);
}
