using System.Runtime.InteropServices;

namespace AmbientMesh.Linux;

/// <summary>The C library calls that .NET has no wrapper for; layouts are those of 64-bit little-endian glibc and musl.</summary>
internal static unsafe partial class Libc
{
    public const int CloneNewNet = 0x40000000;
    public const int SolSocket = 1;
    public const int ScmRights = 1;
    public const int MsgPeek = 0x2;
    public const int MsgCtrunc = 0x8;
    public const int MsgTrunc = 0x20;
    public const int MsgDontWait = 0x40;
    public const int MsgNoSignal = 0x4000;
    public const int MsgCmsgCloexec = 0x40000000;

    public const int Eintr = 4;
    public const int Eagain = 11;
    public const int Enoent = 2;
    public const int Epipe = 32;
    public const int Econnreset = 104;

    [StructLayout(LayoutKind.Sequential)]
    public struct IoVector
    {
        public void* Base;
        public nuint Length;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct MessageHeader
    {
        public void* Name;
        public uint NameLength;
        public IoVector* Vectors;
        public nuint VectorCount;
        public void* Control;
        public nuint ControlLength;
        public int Flags;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct ControlHeader
    {
        public nuint Length;
        public int Level;
        public int Type;
    }

    [LibraryImport("libc", EntryPoint = "setns", SetLastError = true)]
    public static partial int SetNamespace(int descriptor, int type);

    [LibraryImport("libc", EntryPoint = "unshare", SetLastError = true)]
    public static partial int Unshare(int flags);

    [LibraryImport("libc", EntryPoint = "recvmsg", SetLastError = true)]
    public static partial nint ReceiveMessage(int descriptor, MessageHeader* message, int flags);

    [LibraryImport("libc", EntryPoint = "sendmsg", SetLastError = true)]
    public static partial nint SendMessage(int descriptor, MessageHeader* message, int flags);

    /// <summary>NS_GET_NSTYPE: answers the CLONE_NEW… flag of the namespace behind a descriptor (<c>ioctl_ns(2)</c>).</summary>
    public const nuint NamespaceTypeRequest = 0xb703;

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    public static partial int ControlDevice(int descriptor, nuint request);

    /// <summary>Room for any 64-bit <c>struct stat</c>.</summary>
    public const int StatusBytes = 256;

    [LibraryImport("libc", EntryPoint = "fstat", SetLastError = true)]
    public static partial int FileStatus(int descriptor, Span<byte> status);

    public const int OpenFilesLimit = 7;   // RLIMIT_NOFILE

    /// <summary>The soft and the hard limit of a resource.</summary>
    [LibraryImport("libc", EntryPoint = "getrlimit", SetLastError = true)]
    public static partial int ResourceLimits(int resource, Span<ulong> softAndHard);

    public const int SetDescriptorFlags = 2;   // F_SETFD

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    public static partial int ControlDescriptor(int descriptor, int command, int argument);

    [LibraryImport("libc", EntryPoint = "geteuid")]
    public static partial uint EffectiveUserId();
}
