namespace AmbientMesh.Lab.Nodes;

/// <summary>How mounts made later reach a container.</summary>
public enum MountPropagation
{
    None,
    HostToContainer,
    Bidirectional,
}

/// <summary>A file or folder of the node seen in a container.</summary>
/// <param name="Source">Path on the node; exists.</param>
/// <param name="Target">Absolute path in the container; made when missing.</param>
public sealed record ContainerMount(string Source, string Target, bool ReadOnly, MountPropagation Propagation = MountPropagation.None);

/// <summary>With which rights the program runs.</summary>
/// <param name="Capabilities">Those kept, see <see cref="Nodes.Capabilities.Keep"/>.</param>
/// <param name="Groups">Supplementary groups.</param>
public sealed record ContainerRights(
    long User, long Group, IReadOnlyList<long> Groups, IReadOnlyList<string> Capabilities, bool NoNewPrivileges, bool ReadOnlyRoot, bool Privileged);

/// <summary>Everything needed to start one container once.</summary>
/// <param name="Command">Program and arguments; at least the program.</param>
/// <param name="Environment">In order; a name may come twice, the last wins.</param>
/// <param name="AppDirectory">See <see cref="Image.AppDirectory"/>.</param>
/// <param name="CgroupPath">The pod's, in kubelet form.</param>
public sealed record ContainerSpec(
    string Id, string Name, IReadOnlyList<string> Command, string WorkingDirectory, IReadOnlyList<KeyValuePair<string, string>> Environment,
    string? AppDirectory, IReadOnlyList<ContainerMount> Mounts, ContainerRights Rights, bool HostPid, string CgroupPath);
