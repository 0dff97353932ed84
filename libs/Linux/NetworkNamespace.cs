using System.Globalization;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace AmbientMesh.Linux;

/// <summary>What makes a network namespace that one and no other, while it exists: the device and inode of its nsfs file.</summary>
public readonly record struct NamespaceId(ulong Device, ulong Inode)
{
    public override string ToString() => $"net:[{Inode}]";
}

/// <summary>An open network namespace. It lives at least as long as this handle. Thread-safe.</summary>
/// <remarks>
/// <see cref="Run{T}"/> enters the namespace on the calling thread and always comes back; when coming back is impossible the process ends,
/// because a thread left behind in a pod's namespace would open other pods' sockets there. Source: <c>setns(2)</c>.
/// </remarks>
public sealed class NetworkNamespace : IDisposable
{
    [ThreadStatic] private static NetworkNamespace? t_entered;
    private static readonly Lazy<NetworkNamespace> s_home = new(() => Open("/proc/self/ns/net"));

    private NetworkNamespace(SafeFileHandle handle)
    {
        Handle = handle;
        Id = Identify(handle);
    }

    /// <summary>The descriptor, for handing to another process; owned by this object.</summary>
    public SafeFileHandle Handle { get; }

    public NamespaceId Id { get; }

    /// <summary>A path that other processes can open while this handle is open.</summary>
    public string Path => string.Create(CultureInfo.InvariantCulture, $"/proc/{Environment.ProcessId}/fd/{Handle.DangerousGetHandle()}");

    /// <summary>The namespace the process was started in.</summary>
    public static NetworkNamespace Home => s_home.Value;

    /// <summary>Opens a namespace file (<c>/proc/1/ns/net</c>, <c>/var/run/netns/x</c>).</summary>
    /// <exception cref="IOException">No such file, no permission, or not a network namespace.</exception>
    public static NetworkNamespace Open(string path)
    {
        SafeFileHandle handle;
        try
        {
            handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        }
        catch (UnauthorizedAccessException denied)
        {
            throw new IOException($"The network namespace {path} cannot be opened: {denied.Message}", denied);
        }
        return FromHandle(handle, path);
    }

    /// <summary>Takes ownership of <paramref name="handle"/>.</summary>
    /// <exception cref="IOException">It is not a network namespace; the handle has been closed.</exception>
    public static NetworkNamespace FromHandle(SafeFileHandle handle) => FromHandle(handle, "a received descriptor");

    /// <summary>A second handle on the calling thread's namespace.</summary>
    public static NetworkNamespace Current() => Open("/proc/thread-self/ns/net");

    /// <summary>Makes an empty namespace that has no name and goes away with its last handle, socket and process; needs CAP_SYS_ADMIN.</summary>
    /// <exception cref="SystemCallException">Not permitted.</exception>
    public static NetworkNamespace Create()
    {
        NetworkNamespace? created = null;
        Exception? failure = null;
        // A thread of its own: it enters the new namespace and ends there.
        var thread = new Thread(() =>
        {
            try
            {
                if (Libc.Unshare(Libc.CloneNewNet) != 0) throw SystemCallException.Last("unshare", "making a network namespace");
                created = Current();
            }
            catch (IOException e)
            {
                failure = e;
            }
        }, maxStackSize: 128 * 1024);
        thread.Start();
        thread.Join();
        if (failure is not null) throw failure;
        return created!;
    }

    /// <summary>Runs <paramref name="work"/> inside the namespace, on the calling thread; sockets made by it belong to the namespace for good.</summary>
    /// <remarks>
    /// Keep to creating, configuring, binding and listening. Do not start asynchronous operations, tasks, threads or processes inside: a pool
    /// thread started there would stay in the namespace. Connect, accept and send after leaving. Costs two system calls.
    /// </remarks>
    /// <exception cref="SystemCallException">The namespace cannot be entered.</exception>
    public T Run<T>(Func<T> work)
    {
        var from = t_entered;
        var back = from ?? Home;
        Enter(this, "entering");
        t_entered = this;
        try
        {
            return work();
        }
        finally
        {
            t_entered = from;
            Return(back);
        }
    }

    /// <inheritdoc cref="Run{T}"/>
    public void Run(Action work) => Run(() =>
    {
        work();
        return true;
    });

    public void Dispose() => Handle.Dispose();

    private static NetworkNamespace FromHandle(SafeFileHandle handle, string origin)
    {
        if (Libc.ControlDevice((int)handle.DangerousGetHandle(), Libc.NamespaceTypeRequest) == Libc.CloneNewNet) return new NetworkNamespace(handle);
        handle.Dispose();
        throw new IOException($"{origin} is not a network namespace.");
    }

    private static void Enter(NetworkNamespace target, string purpose)
    {
        var held = false;
        try
        {
            target.Handle.DangerousAddRef(ref held);
            if (Libc.SetNamespace((int)target.Handle.DangerousGetHandle(), Libc.CloneNewNet) != 0)
                throw SystemCallException.Last("setns", $"{purpose} network namespace {target.Id}");
        }
        finally
        {
            if (held) target.Handle.DangerousRelease();
        }
    }

    private static void Return(NetworkNamespace home)
    {
        if (Libc.SetNamespace((int)home.Handle.DangerousGetHandle(), Libc.CloneNewNet) != 0)
            Environment.FailFast($"A thread cannot leave a network namespace (errno {Marshal.GetLastPInvokeError()}); going on would mix up pods.");
    }

    private static NamespaceId Identify(SafeFileHandle handle)
    {
        Span<byte> status = stackalloc byte[Libc.StatusBytes];
        if (Libc.FileStatus((int)handle.DangerousGetHandle(), status) != 0) throw SystemCallException.Last("fstat", "identifying a network namespace");
        // struct stat begins with st_dev and st_ino, 8 bytes each, on every 64-bit Linux.
        return new NamespaceId(MemoryMarshal.Read<ulong>(status), MemoryMarshal.Read<ulong>(status[8..]));
    }
}
