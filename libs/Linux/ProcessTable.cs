using System.Globalization;

namespace AmbientMesh.Linux;

/// <summary>One line of the process table.</summary>
/// <param name="Started">Clock ticks since boot; smaller is older.</param>
/// <param name="Cgroups">The text of <c>/proc/&lt;pid&gt;/cgroup</c>.</param>
public sealed record ProcessEntry(int Id, string Name, long Started, string Cgroups, string NamespacePath);

/// <summary>Reads a mounted <c>proc</c> file system, the host's or our own. Processes that end while being read are left out.</summary>
public static class ProcessTable
{
    /// <summary>All processes under <paramref name="proc"/> (<c>/proc</c>, <c>/host/proc</c>), oldest first.</summary>
    public static IReadOnlyList<ProcessEntry> Read(string proc) =>
    [
        .. Directory.EnumerateDirectories(proc)
            .Select(folder => (folder, pid: int.TryParse(Path.GetFileName(folder), NumberStyles.None, CultureInfo.InvariantCulture, out var pid) ? pid : 0))
            .Where(process => process.pid > 0)
            .Select(process => TryRead(process.folder, process.pid))
            .OfType<ProcessEntry>()
            .OrderBy(process => process.Started).ThenBy(process => process.Id),
    ];

    /// <summary>The arguments of a process; empty when it has ended.</summary>
    public static string[] Arguments(string proc, int id)
    {
        try
        {
            return File.ReadAllText($"{proc}/{id}/cmdline").Split('\0', StringSplitOptions.RemoveEmptyEntries);
        }
        catch (IOException)
        {
            return [];
        }
    }

    /// <summary>The effective user of a process; null when it has ended.</summary>
    public static int? UserId(string proc, int id)
    {
        try
        {
            // Uid: real effective saved filesystem
            var line = File.ReadLines($"{proc}/{id}/status").FirstOrDefault(l => l.StartsWith("Uid:", StringComparison.Ordinal));
            return line is null ? null : int.Parse(line.Split('\t')[2], CultureInfo.InvariantCulture);
        }
        catch (IOException)
        {
            return null;
        }
    }

    private static ProcessEntry? TryRead(string folder, int pid)
    {
        try
        {
            var stat = File.ReadAllText(folder + "/stat");
            var afterName = stat.LastIndexOf(')');
            // proc(5): the name in brackets may hold anything; field 22 is starttime, field 3 follows the bracket.
            var fields = stat[(afterName + 2)..].Split(' ');
            var name = stat[(stat.IndexOf('(') + 1)..afterName];
            return new ProcessEntry(pid, name, long.Parse(fields[19], CultureInfo.InvariantCulture), File.ReadAllText(folder + "/cgroup"), folder + "/ns/net");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
