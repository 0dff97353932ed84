using System.Runtime.InteropServices;

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

    [DllImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static extern int Kill(int processId, int signal);

    [DllImport("libc", EntryPoint = "rmdir", SetLastError = true, CharSet = CharSet.Ansi)]
    private static extern int Rmdir(string path);

    [DllImport("libc", EntryPoint = "geteuid")]
    private static extern uint GetEffectiveUserId();
}
