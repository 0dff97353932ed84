namespace AmbientMesh.Lab.Nodes;

/// <summary>What a container is made from.</summary>
/// <param name="AppDirectory">Folder on the node that becomes <c>/app</c>; null for an image of host programs.</param>
/// <param name="Entrypoint">Runs when the container names no command.</param>
/// <param name="Id">Shown as the container's imageID.</param>
public sealed record Image(string? AppDirectory, IReadOnlyList<string> Entrypoint, string Id);

/// <summary>How an image name becomes something to run, or why not.</summary>
public abstract record ImageLookup
{
    private ImageLookup() { }

    public sealed record Found(Image Image) : ImageLookup;

    /// <summary>No such image here; the lab has no registry to ask.</summary>
    public sealed record Absent(string Message) : ImageLookup;

    /// <summary>Not an image name at all.</summary>
    public sealed record Invalid(string Message) : ImageLookup;
}

/// <summary>Maps image names to published folders: <c>ambientmesh/NAME[:tag]</c> is the folder NAME, <c>host/PROGRAM</c> a program of the machine.</summary>
/// <param name="directory">The published folders as the machine sees them; bound into every node at <see cref="NodeHost.ImageRoot"/>.</param>
/// <param name="overrideDirectory">Folders that stand in for those of the same name; bound at <see cref="NodeHost.OverrideRoot"/>.</param>
public sealed class ImageStore(string directory, string overrideDirectory = "/nonexistent")
{
    private static readonly Dictionary<string, string> s_programs = new()
    {
        ["controlplane"] = "controlplane",
        ["ztunnel"] = "ztunnel",
        ["cni"] = "cni-node",
        ["samples"] = "samples",
        ["meshctl"] = "meshctl",
    };

    public string Directory => directory;
    public string OverrideDirectory => overrideDirectory;

    /// <summary>Puts a foreign program in place of an image's own. A file stands alone in its folder under the image's program name.</summary>
    /// <exception cref="FileNotFoundException">There is no such file or folder.</exception>
    public void Replace(string image, string path)
    {
        var target = Path.Combine(overrideDirectory, image);
        if (System.IO.Directory.Exists(path))
        {
            CopyFolder(path, target);
            return;
        }
        if (!File.Exists(path)) throw new FileNotFoundException($"{path} does not exist; it was to take the place of {image}.", path);
        System.IO.Directory.CreateDirectory(target);
        var program = Path.Combine(target, s_programs.GetValueOrDefault(image, image));
        File.Copy(path, program, overwrite: true);
        File.SetUnixFileMode(program, (UnixFileMode)0x1ED);   // 0755
    }

    private static void CopyFolder(string source, string target)
    {
        System.IO.Directory.CreateDirectory(target);
        foreach (var file in System.IO.Directory.GetFiles(source)) File.Copy(file, Path.Combine(target, Path.GetFileName(file)), overwrite: true);
        foreach (var folder in System.IO.Directory.GetDirectories(source)) CopyFolder(folder, Path.Combine(target, Path.GetFileName(folder)));
    }

    public ImageLookup Find(string name)
    {
        if (name.Length == 0 || name.Any(c => char.IsWhiteSpace(c) || char.IsUpper(c)))
            return new ImageLookup.Invalid($"Failed to apply default image tag \"{name}\": couldn't parse image name \"{name}\": invalid reference format");
        var path = name.Split('@')[0];
        var colon = path.LastIndexOf(':');
        if (colon > path.LastIndexOf('/')) path = path[..colon];
        var parts = path.Split('/');
        var (owner, image) = parts.Length >= 2 ? (parts[^2], parts[^1]) : ("", parts[^1]);
        return owner switch
        {
            "host" => new ImageLookup.Found(new Image(null, [image], $"host://{image}")),
            "ambientmesh" when System.IO.Directory.Exists(Path.Combine(overrideDirectory, image)) => Folder(image, NodeHost.OverrideRoot),
            "ambientmesh" when System.IO.Directory.Exists(Path.Combine(directory, image)) => Folder(image, NodeHost.ImageRoot),
            "ambientmesh" => new ImageLookup.Absent(
                $"failed to pull and unpack image \"{name}\": there is no folder {image} in {directory} (publish it with './mesh images', or give its folder with --images)"),
            _ => new ImageLookup.Absent($"failed to pull and unpack image \"{name}\": the lab has no registry; it knows ambientmesh/NAME and host/PROGRAM"),
        };
    }

    private static ImageLookup.Found Folder(string image, string root) =>
        new(new Image($"{root}/{image}", [$"/app/{s_programs.GetValueOrDefault(image, image)}"], $"folder://{image}"));
}
