using System.Runtime.InteropServices;

namespace AmbientMesh.Linux;

/// <summary>How many more file descriptors this process may open.</summary>
public static class DescriptorRoom
{
    /// <summary>What is left above a descriptor that was opened just now. The kernel gives the lowest number that is free, so all below it are in use.</summary>
    /// <exception cref="SystemCallException">The limit cannot be read.</exception>
    public static long Above(SafeHandle newest)
    {
        Span<ulong> limits = stackalloc ulong[2];
        if (Libc.ResourceLimits(Libc.OpenFilesLimit, limits) != 0) throw SystemCallException.Last("getrlimit", "reading the limit of open files");
        return (long)Math.Min(limits[0], int.MaxValue) - newest.DangerousGetHandle() - 1;
    }
}
