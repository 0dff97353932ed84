using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Nodes;

/// <summary>The volumes of one pod on its node, in the kubelet's folder <c>/var/lib/kubelet/pods/UID</c>.</summary>
internal sealed class PodVolumes(NodeHost node, string podUid, VolumeContents contents, TimeProvider clock)
{
    private readonly List<string> _memoryMounts = [];
    private readonly Lock _writing = new();

    /// <summary>The pod's folder as the node sees it.</summary>
    public string Directory => $"/var/lib/kubelet/pods/{podUid}";

    /// <summary>Makes all volumes and returns where each stands on the node. May be repeated.</summary>
    /// <exception cref="VolumeException">One cannot be made; the message names it.</exception>
    public async Task<IReadOnlyDictionary<string, string>> MountAsync(JsonObject pod, CancellationToken cancellationToken)
    {
        var paths = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var volume in pod.Objects("spec", "volumes"))
        {
            var name = volume.Text("name") ?? "";
            try
            {
                paths[name] = await MountAsync(pod, volume, name, cancellationToken);
            }
            catch (VolumeException failed)
            {
                throw new VolumeException($"MountVolume.SetUp failed for volume \"{name}\" : {failed.Message}");
            }
        }
        return paths;
    }

    /// <summary>Writes changed ConfigMaps, Secrets, labels and due tokens into the volumes.</summary>
    public void Refresh(JsonObject pod)
    {
        foreach (var volume in pod.Objects("spec", "volumes"))
        {
            try
            {
                WriteFiles(pod, volume, volume.Text("name") ?? "");
            }
            catch (VolumeException)
            {
                // The source is gone; a running pod keeps what it has.
            }
        }
    }

    public async Task RemoveAsync(CancellationToken cancellationToken)
    {
        if (_memoryMounts.Count > 0) await node.RunAsync(["umount", "-l", .. _memoryMounts], cancellationToken: cancellationToken);
        _memoryMounts.Clear();
        var folder = node.HostPath(Directory);
        if (System.IO.Directory.Exists(folder)) System.IO.Directory.Delete(folder, recursive: true);
    }

    private async Task<string> MountAsync(JsonObject pod, JsonObject volume, string name, CancellationToken cancellationToken)
    {
        if (volume.Map("hostPath") is { } hostPath) return await HostPathAsync(hostPath, cancellationToken);
        if (WriteFiles(pod, volume, name) is { } written) return written;
        if (volume.Map("emptyDir") is { } empty) return await EmptyAsync(pod, empty, name, cancellationToken);
        throw new VolumeException($"the lab knows no volume of type {volume.Select(p => p.Key).FirstOrDefault(k => k != "name")}");
    }

    private string? WriteFiles(JsonObject pod, JsonObject volume, string name)
    {
        lock (_writing)
        {
            if (contents.Files(pod, volume) is not { } files) return null;
            var type = volume.Select(p => p.Key).First(k => k != "name") switch { "configMap" => "configmap", "downwardAPI" => "downward-api", var other => other };
            var path = $"{Directory}/volumes/kubernetes.io~{type}/{name}";
            VolumeFiles.Write(node.HostPath(path), files, clock, pod.Number("spec", "securityContext", "fsGroup"));
            return path;
        }
    }

    private async Task<string> EmptyAsync(JsonObject pod, JsonObject empty, string name, CancellationToken cancellationToken)
    {
        var path = $"{Directory}/volumes/kubernetes.io~empty-dir/{name}";
        var folder = node.HostPath(path);
        if (System.IO.Directory.Exists(folder)) return path;
        System.IO.Directory.CreateDirectory(folder);
        if (empty.Text("medium") == "Memory")
        {
            var size = Quantity.Parse(empty.At("sizeLimit")?.ToString()) is { } bytes ? $",size={bytes:0}" : "";
            await node.CheckAsync(["mount", "-t", "tmpfs", "-o", $"mode=1777{size}", "tmpfs", path], cancellationToken: cancellationToken);
            _memoryMounts.Add(path);
        }
        var group = pod.Number("spec", "securityContext", "fsGroup");
        await node.CheckAsync(["sh", "-c", $"{(group is { } id ? $"chgrp {id} {path}; chmod 2777 {path}" : $"chmod 0777 {path}")}"], cancellationToken: cancellationToken);
        return path;
    }

    // Source: Kubernetes hostPath types; messages as the kubelet's.
    private async Task<string> HostPathAsync(JsonObject hostPath, CancellationToken cancellationToken)
    {
        var path = hostPath.Text("path") ?? "";
        var quoted = Shell.Quote(path);
        var (test, what) = (hostPath.Text("type") ?? "") switch
        {
            "DirectoryOrCreate" => ($"[ -d {quoted} ] || mkdir -p -m 0755 {quoted}", "a directory"),
            "FileOrCreate" => ($"[ -f {quoted} ] || touch {quoted}", "a file"),
            "Directory" => ($"[ -d {quoted} ]", "a directory"),
            "File" => ($"[ -f {quoted} ]", "a file"),
            "Socket" => ($"[ -S {quoted} ]", "a socket file"),
            "CharDevice" => ($"[ -c {quoted} ]", "a character device"),
            "BlockDevice" => ($"[ -b {quoted} ]", "a block device"),
            _ => ($"[ -e {quoted} ] || mkdir -p {quoted}", "there"),
        };
        var result = await node.RunAsync(["sh", "-c", test], cancellationToken: cancellationToken);
        return result.Succeeded ? path : throw new VolumeException($"hostPath type check failed: {path} is not {what}");
    }
}
