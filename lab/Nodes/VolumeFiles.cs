using System.Globalization;
using System.Text;

namespace AmbientMesh.Lab.Nodes;

/// <summary>One file of a volume. The path is relative and may have folders.</summary>
public sealed record VolumeFile(string Path, byte[] Content, UnixFileMode Mode)
{
    public const UnixFileMode DefaultMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    public VolumeFile(string path, string content, UnixFileMode mode) : this(path, Encoding.UTF8.GetBytes(content), mode) { }
}

/// <summary>Writes the files of a volume so that readers see all of the old or all of the new.</summary>
/// <remarks>
/// Files stand in a folder named for the time; <c>..data</c> links to it and is swapped by a rename; each top entry links through <c>..data</c>.
/// Source: kubelet AtomicWriter, recorded in the samples (inside-a-container, volume-update).
/// </remarks>
public static class VolumeFiles
{
    private const string Data = "..data";

    /// <summary>True when something changed.</summary>
    /// <param name="group">Group that owns the files; null for root's.</param>
    public static bool Write(string directory, IReadOnlyList<VolumeFile> files, TimeProvider clock, long? group = null)
    {
        Directory.CreateDirectory(directory);
        var link = Path.Combine(directory, Data);
        var current = new FileInfo(link).LinkTarget;
        if (current is not null && Same(Path.Combine(directory, current), files)) return false;
        var fresh = string.Create(CultureInfo.InvariantCulture, $"..{clock.GetUtcNow():yyyy_MM_dd_HH_mm_ss}.{Random.Shared.Next(100_000_000, int.MaxValue)}");
        foreach (var file in files) WriteFile(Path.Combine(directory, fresh, file.Path), file, group);
        Directory.CreateDirectory(Path.Combine(directory, fresh));
        var next = Path.Combine(directory, "..data_tmp");
        File.Delete(next);
        File.CreateSymbolicLink(next, fresh);
        Syscalls.Replace(next, link);   // File.Move looks at what a link leads to
        LinkTop(directory, files);
        if (current is not null) Directory.Delete(Path.Combine(directory, current), recursive: true);
        return true;
    }

    private static void WriteFile(string path, VolumeFile file, long? group)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, file.Content);
        var mode = file.Mode;
        if (group is { } id)
        {
            Syscalls.ChangeGroup(path, id);
            mode |= UnixFileMode.GroupRead;
        }
        File.SetUnixFileMode(path, mode);
    }

    private static void LinkTop(string directory, IReadOnlyList<VolumeFile> files)
    {
        var wanted = files.Select(f => f.Path.Split('/')[0]).ToHashSet(StringComparer.Ordinal);
        foreach (var top in wanted)
        {
            var path = Path.Combine(directory, top);
            if (!Path.Exists(path) && new FileInfo(path).LinkTarget is null) File.CreateSymbolicLink(path, $"{Data}/{top}");
        }
        foreach (var entry in new DirectoryInfo(directory).EnumerateFileSystemInfos().Where(e => !e.Name.StartsWith("..", StringComparison.Ordinal) && !wanted.Contains(e.Name)))
            entry.Delete();
    }

    private static bool Same(string directory, IReadOnlyList<VolumeFile> files)
    {
        if (!Directory.Exists(directory)) return false;
        var present = Directory.EnumerateFiles(directory, "*", SearchOption.AllDirectories).Select(f => Path.GetRelativePath(directory, f)).ToHashSet(StringComparer.Ordinal);
        return present.Count == files.Count && files.All(f => present.Contains(f.Path) && File.ReadAllBytes(Path.Combine(directory, f.Path)).AsSpan().SequenceEqual(f.Content));
    }
}
