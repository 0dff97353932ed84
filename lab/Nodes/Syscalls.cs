using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace AmbientMesh.Lab.Nodes;

/// <summary>The few system calls the kubelet makes itself.</summary>
internal static class Syscalls
{
    public const int SignalTerminate = 15;
    public const int SignalKill = 9;

    /// <summary>True when the signal was sent; false when the process is gone.</summary>
    public static bool Signal(int processId, int signal) => Kill(processId, signal) == 0;

    public static bool RemoveDirectory(string path) => Rmdir(path) == 0;

    public static uint EffectiveUserId => GetEffectiveUserId();

    /// <summary>Renames, replacing what stands there; links are moved themselves.</summary>
    public static void Replace(string from, string to)
    {
        if (Rename(from, to) != 0) throw new IOException($"{from} could not be renamed to {to} (errno {Marshal.GetLastPInvokeError()}).");
    }

    /// <summary>Gives a file to a group; its owner stays.</summary>
    public static void ChangeGroup(string path, long group)
    {
        if (Chown(path, -1, (int)group) != 0) throw new IOException($"{path} could not be given to group {group} (errno {Marshal.GetLastPInvokeError()}).");
    }

    /// <summary>A new pseudo terminal: its controlling side, and the path of the other one.</summary>
    /// <exception cref="IOException">The system has none left.</exception>
    public static (SafeFileHandle Terminal, string Path) OpenTerminal()
    {
        var descriptor = PosixOpenTerminal(ReadWrite | NoControllingTerminal | CloseOnExec);
        var terminal = new SafeFileHandle(descriptor, ownsHandle: true);
        var name = new byte[64];
        if (descriptor < 0 || GrantTerminal(descriptor) != 0 || UnlockTerminal(descriptor) != 0 || TerminalName(descriptor, name, name.Length) != 0)
        {
            terminal.Dispose();
            throw new IOException($"No pseudo terminal could be opened (errno {Marshal.GetLastPInvokeError()}).");
        }
        return (terminal, System.Text.Encoding.ASCII.GetString(name, 0, Array.IndexOf(name, (byte)0)));
    }

    public static void ResizeTerminal(SafeFileHandle terminal, int columns, int rows)
    {
        var size = new WindowSize { Rows = (ushort)rows, Columns = (ushort)columns };
        _ = SetWindowSize((int)terminal.DangerousGetHandle(), SetWindowSizeRequest, ref size);
    }

    private const int ReadWrite = 2;
    private const int NoControllingTerminal = 0x100;
    private const int CloseOnExec = 0x80000;
    private const nuint SetWindowSizeRequest = 0x5414;

    private struct WindowSize
    {
        public ushort Rows;
        public ushort Columns;
        public ushort PixelsAcross;
        public ushort PixelsDown;
    }

    [DllImport("libc", EntryPoint = "rename", SetLastError = true, CharSet = CharSet.Ansi)]
    private static extern int Rename(string from, string to);

    [DllImport("libc", EntryPoint = "chown", SetLastError = true, CharSet = CharSet.Ansi)]
    private static extern int Chown(string path, int owner, int group);

    [DllImport("libc", EntryPoint = "posix_openpt", SetLastError = true)]
    private static extern int PosixOpenTerminal(int flags);

    [DllImport("libc", EntryPoint = "grantpt", SetLastError = true)]
    private static extern int GrantTerminal(int descriptor);

    [DllImport("libc", EntryPoint = "unlockpt", SetLastError = true)]
    private static extern int UnlockTerminal(int descriptor);

    [DllImport("libc", EntryPoint = "ptsname_r", SetLastError = true)]
    private static extern int TerminalName(int descriptor, byte[] name, nint length);

    [DllImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static extern int SetWindowSize(int descriptor, nuint request, ref WindowSize size);

    [DllImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static extern int Kill(int processId, int signal);

    [DllImport("libc", EntryPoint = "rmdir", SetLastError = true, CharSet = CharSet.Ansi)]
    private static extern int Rmdir(string path);

    [DllImport("libc", EntryPoint = "geteuid")]
    private static extern uint GetEffectiveUserId();
}
