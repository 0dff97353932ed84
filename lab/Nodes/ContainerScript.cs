using System.Text;

namespace AmbientMesh.Lab.Nodes;

/// <summary>The shell script that turns a fresh mount and pid namespace on a node into the container and then becomes its program.</summary>
/// <remarks>Pure. The order matters: cgroup first (it is not reachable later), root made read-only after everything is mounted, rights dropped last.</remarks>
internal static class ContainerScript
{
    /// <summary>First line of standard output: the program runs next.</summary>
    public const string Started = "\u0001started";

    /// <summary>First line of standard output, followed by the reason: it cannot run.</summary>
    public const string Refused = "\u0001refused ";

    public static string For(ContainerSpec spec, string workDirectory, string cgroupFolder)
    {
        var script = new StringBuilder();
        script.AppendLine("exec 2>&4 4>&-")   // the container's standard error, which the waiting shell has put aside
            .AppendLine("set -e")
            .AppendLine($"echo 0 > {cgroupFolder}/cgroup.procs")
            .AppendLine($"W={workDirectory}")
            .AppendLine("mkdir -p $W/fs; mount -t tmpfs -o mode=755 container $W/fs; mkdir $W/fs/upper $W/fs/work $W/fs/root")
            .AppendLine($"mount -t overlay overlay -o lowerdir={NodeHost.BaseRoot},upperdir=$W/fs/upper,workdir=$W/fs/work $W/fs/root")
            .AppendLine("cd $W/fs/root");
        KernelFileSystems(script, spec);
        if (spec.AppDirectory is { } app) script.AppendLine($"mkdir -p app; mount --bind {Shell.Quote(app)} app; mount -o remount,bind,ro app");
        // The test resolves absolute links (/var/run -> /run) as the container will see them, not as the node does.
        script.AppendLine("""target() { p=$(chroot . readlink -m -- "$1" 2>/dev/null) || p=$1; printf '.%s' "$p"; }""");
        foreach (var mount in spec.Mounts) Mount(script, mount);
        script.AppendLine("mkdir -p .old; pivot_root . .old; cd /; umount -l /.old; rmdir /.old");
        if (spec.Rights.ReadOnlyRoot)
        {
            // Only the mounts made here: where a volume stands at one of these places, its own setting holds.
            foreach (var place in (string[])["/", "/run", "/tmp"])
                if (spec.Mounts.All(m => m.Target.TrimEnd('/') != place && m.Target.TrimEnd('/') != "/var" + place)) script.AppendLine($"mount -o remount,bind,ro {place}");
        }
        Become(script, spec);
        return script.ToString();
    }

    /// <summary>The words that give up rights and set the environment; a program and its arguments follow.</summary>
    public static string RightsWords(ContainerSpec spec)
    {
        var rights = spec.Rights;
        var kept = string.Concat(rights.Capabilities.Select(c => $",+{c}"));
        var groups = rights.Groups.Count > 0 ? $"--groups {string.Join(',', rights.Groups)}" : "--clear-groups";
        return $"setpriv --reuid {rights.User} --regid {rights.Group} {groups} --inh-caps=-all --bounding-set=-all{kept}" +
               $"{(rights.NoNewPrivileges ? " --no-new-privs" : "")} -- env -i {Shell.Quote(spec.Environment.Select(e => $"{e.Key}={e.Value}"))}";
    }

    private static void KernelFileSystems(StringBuilder script, ContainerSpec spec)
    {
        script.AppendLine("mount -t proc -o nosuid,noexec,nodev proc proc")
            .AppendLine($"mount -t sysfs -o nosuid,noexec,nodev{(spec.Rights.Privileged ? "" : ",ro")} sysfs sys");
        if (!spec.Rights.Privileged)
            script.AppendLine("for p in bus fs irq sys sysrq-trigger; do [ -e proc/$p ] && mount --bind proc/$p proc/$p && mount -o remount,bind,ro proc/$p; done");
        script.AppendLine("mount -t tmpfs -o nosuid,strictatime,mode=755,size=64m tmpfs dev")
            .AppendLine("for d in null zero full random urandom tty; do touch dev/$d; mount --bind /dev/$d dev/$d; done")
            .AppendLine("mkdir dev/pts dev/shm dev/mqueue")
            .AppendLine("mount -t devpts -o nosuid,noexec,newinstance,ptmxmode=0666,mode=0620 devpts dev/pts; ln -s pts/ptmx dev/ptmx")
            .AppendLine("mount -t tmpfs -o nosuid,nodev,noexec,size=64m shm dev/shm")
            .AppendLine("ln -s /proc/self/fd dev/fd; ln -s /proc/self/fd/0 dev/stdin; ln -s /proc/self/fd/1 dev/stdout; ln -s /proc/self/fd/2 dev/stderr")
            .AppendLine("mount -t tmpfs -o mode=755 tmpfs run; mount -t tmpfs -o mode=1777 tmpfs tmp");
    }

    private static void Mount(StringBuilder script, ContainerMount mount)
    {
        var source = Shell.Quote(mount.Source);
        script.AppendLine($"t=$(target {Shell.Quote(mount.Target)})")
            .AppendLine($"if [ -d {source} ]; then mkdir -p \"$t\"; else mkdir -p \"$(dirname \"$t\")\"; [ -e \"$t\" ] || touch \"$t\"; fi")
            .AppendLine($"mount --rbind {source} \"$t\"");
        script.AppendLine(mount.Propagation switch
        {
            MountPropagation.HostToContainer => "mount --make-rslave \"$t\"",
            MountPropagation.Bidirectional => "mount --make-rshared \"$t\"",
            _ => "mount --make-rprivate \"$t\"",
        });
        if (mount.ReadOnly) script.AppendLine("mount -o remount,bind,ro \"$t\"");
    }

    private static void Become(StringBuilder script, ContainerSpec spec)
    {
        var program = Shell.Quote(spec.Command[0]);
        var path = spec.Environment.LastOrDefault(e => e.Key == "PATH").Value ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        script.AppendLine($"cd {Shell.Quote(spec.WorkingDirectory)} 2>/dev/null || {{ mkdir -p {Shell.Quote(spec.WorkingDirectory)} && cd {Shell.Quote(spec.WorkingDirectory)}; }}")
            .AppendLine($"if ! PATH={Shell.Quote(path)} command -v {program} >/dev/null; then")
            .AppendLine(spec.Command[0].Contains('/')
                ? $"  printf '%s\\n' {Shell.Quote($"{Refused}exec: \"{spec.Command[0]}\": stat {spec.Command[0]}: no such file or directory")}; exit 128"
                : $"  printf '%s\\n' {Shell.Quote($"{Refused}exec: \"{spec.Command[0]}\": executable file not found in $PATH")}; exit 128")
            .AppendLine("fi")
            .AppendLine($"printf '%s\\n' {Shell.Quote(Started)}")
            .AppendLine($"exec {RightsWords(spec)} {Shell.Quote(spec.Command)}");
    }
}
