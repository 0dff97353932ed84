namespace AmbientMesh.Lab.Nodes;

/// <summary>The lab's directory in the machine's cgroup tree, in kubelet form below it: <c>/kubepods/QOS/podUID/CONTAINER</c>.</summary>
/// <remarks>One hierarchy is enough: it is what <c>/proc/PID/cgroup</c> shows and by which the processes of a container are found. Limits are not set.</remarks>
public sealed class Cgroups
{
    private readonly string _mount;
    private readonly string _root;

    private Cgroups(string mount, string labName) => (_mount, _root) = (mount, $"/ambientmesh-lab-{labName}");

    /// <summary>Null when the machine mounts no hierarchy that can be used.</summary>
    public static Cgroups? TryOpen(string labName)
    {
        string[] mounts = File.Exists("/sys/fs/cgroup/cgroup.controllers")
            ? ["/sys/fs/cgroup"]
            : ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/memory"];
        return Array.Find(mounts, m => File.Exists($"{m}/cgroup.procs")) is { } mount ? new Cgroups(mount, labName) : null;
    }

    /// <summary>The pod's cgroup as the kubelet names it.</summary>
    public static string PodPath(string qosClass, string podUid) =>
        qosClass == "Guaranteed" ? $"/kubepods/pod{podUid}" : $"/kubepods/{qosClass.ToLowerInvariant()}/pod{podUid}";

    /// <summary>Makes the cgroup and returns its folder, the same on the machine and on the node.</summary>
    public string Make(string path)
    {
        var folder = Folder(path);
        Directory.CreateDirectory(folder);
        return folder;
    }

    /// <summary>The machine's ids of the processes in it; empty when it is gone.</summary>
    public IReadOnlyList<int> Processes(string path)
    {
        try
        {
            return [.. File.ReadLines($"{Folder(path)}/cgroup.procs").Select(int.Parse)];
        }
        catch (IOException)
        {
            return [];
        }
    }

    /// <summary>Removes it and what is below it as far as they are empty.</summary>
    public void Remove(string path) => RemoveFolder(Folder(path));

    /// <summary>Removes everything of the lab; false while a process is still in it.</summary>
    public bool RemoveAll()
    {
        RemoveFolder($"{_mount}{_root}");
        return !Directory.Exists($"{_mount}{_root}");
    }

    /// <summary>Every process of the lab's pods.</summary>
    public IReadOnlyList<int> AllProcesses()
    {
        var root = $"{_mount}{_root}";
        return Directory.Exists(root)
            ? [.. Directory.EnumerateDirectories(root, "*", SearchOption.AllDirectories).SelectMany(d => Processes(d[root.Length..]))]
            : [];
    }

    private string Folder(string path) => $"{_mount}{_root}{path}";

    private static void RemoveFolder(string folder)
    {
        if (!Directory.Exists(folder)) return;
        foreach (var child in Directory.GetDirectories(folder)) RemoveFolder(child);
        _ = Syscalls.RemoveDirectory(folder);   // busy while a process is still leaving; the next cleaning takes it
    }
}
