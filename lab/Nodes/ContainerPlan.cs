using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Nodes;

/// <summary>Turns a container of a pod's spec into what is started. Pure.</summary>
internal static class ContainerPlan
{
    /// <exception cref="ContainerConfigurationException">The spec cannot be carried out; the message says why.</exception>
    public static ContainerSpec Make(
        JsonObject pod, JsonObject container, Image image, IReadOnlyList<KeyValuePair<string, string>> environment,
        IReadOnlyDictionary<string, string> volumes, IReadOnlyList<ContainerMount> podFiles)
    {
        string[] command = [.. container.Texts("command")];
        string[] arguments = [.. container.Texts("args")];
        if (command.Length == 0) command = [.. image.Entrypoint];
        return new ContainerSpec(
            PodSandbox.NewId(), container.Text("name") ?? "", [.. ContainerEnvironment.Expand([.. command, .. arguments], environment)],
            container.Text("workingDir") ?? "/", environment, image.AppDirectory, [.. podFiles, .. Mounts(container, volumes, environment)], Rights(pod, container),
            pod.Flag("spec", "hostPID") == true, Cgroups.PodPath(pod.QosClass(), pod.Uid()));
    }

    /// <summary>The container's security context over the pod's. Source: Kubernetes, security context.</summary>
    public static ContainerRights Rights(JsonObject pod, JsonObject container)
    {
        var own = container.Map("securityContext");
        var shared = pod.Map("spec", "securityContext");
        var user = own.Number("runAsUser") ?? shared.Number("runAsUser") ?? 0;
        var group = own.Number("runAsGroup") ?? shared.Number("runAsGroup") ?? 0;
        if ((own.Flag("runAsNonRoot") ?? shared.Flag("runAsNonRoot")) == true && user == 0)
            throw new ContainerConfigurationException($"container has runAsNonRoot and image will run as root (pod: \"{pod.Name()}_{pod.Namespace()}({pod.Uid()})\", container: {container.Text("name")})");
        var groups = new List<long> { group };
        if (shared.Number("fsGroup") is { } owner) groups.Add(owner);
        groups.AddRange(shared.List("supplementalGroups")?.Select(g => long.Parse(g!.ToJsonString())) ?? []);
        var privileged = own.Flag("privileged") == true;
        try
        {
            var capabilities = Capabilities.Keep(own.Texts("capabilities", "add"), own.Texts("capabilities", "drop"), privileged);
            return new ContainerRights(user, group, [.. groups.Distinct()], capabilities, own.Flag("allowPrivilegeEscalation") == false,
                own.Flag("readOnlyRootFilesystem") == true, privileged);
        }
        catch (ArgumentException unknown)
        {
            throw new ContainerConfigurationException(unknown.Message);
        }
    }

    private static IEnumerable<ContainerMount> Mounts(JsonObject container, IReadOnlyDictionary<string, string> volumes, IReadOnlyList<KeyValuePair<string, string>> environment)
    {
        // Parents before what stands inside them.
        foreach (var mount in container.Objects("volumeMounts").OrderBy(m => (m.Text("mountPath") ?? "").Count(c => c == '/')))
        {
            var name = mount.Text("name") ?? "";
            if (!volumes.TryGetValue(name, out var source)) throw new ContainerConfigurationException($"cannot find volume \"{name}\" to mount into container \"{container.Text("name")}\"");
            var inside = mount.Text("subPath") ?? (mount.Text("subPathExpr") is { } pattern ? ContainerEnvironment.Expand([pattern], environment).First() : "");
            if (inside.Length > 0) source = $"{source}/{inside}";
            var propagation = mount.Text("mountPropagation") switch
            {
                "HostToContainer" => MountPropagation.HostToContainer,
                "Bidirectional" => MountPropagation.Bidirectional,
                _ => MountPropagation.None,
            };
            var readOnly = mount.Flag("readOnly") == true || source.Contains("/volumes/kubernetes.io~") && !source.Contains("/kubernetes.io~empty-dir/");
            yield return new ContainerMount(source, mount.Text("mountPath") ?? "/", readOnly, propagation);
        }
    }
}
