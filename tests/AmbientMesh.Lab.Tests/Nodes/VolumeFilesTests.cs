using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Tests.Nodes;

public sealed class VolumeFilesTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("volume-").FullName;
    private readonly FakeTimeProvider _clock = new();

    [Fact]
    public void Files_stand_behind_links_and_a_change_swaps_all_of_them()
    {
        VolumeFiles.Write(_folder, [File("a", "1"), File("deep/dir/b", "2")], _clock);
        Assert.Equal("..data/a", new FileInfo($"{_folder}/a").LinkTarget);
        Assert.Equal("..data/deep", new FileInfo($"{_folder}/deep").LinkTarget);
        Assert.StartsWith("..2026_01_01_00_00_00.", new FileInfo($"{_folder}/..data").LinkTarget);
        Assert.Equal("2", System.IO.File.ReadAllText($"{_folder}/deep/dir/b"));

        Assert.True(VolumeFiles.Write(_folder, [File("a", "3"), File("c", "4")], _clock));
        Assert.Equal("3", System.IO.File.ReadAllText($"{_folder}/a"));
        Assert.Equal("4", System.IO.File.ReadAllText($"{_folder}/c"));
        Assert.Equal(["..data", "a", "c"], new DirectoryInfo(_folder).EnumerateFileSystemInfos().Select(f => f.Name).Where(n => !n.StartsWith("..2", StringComparison.Ordinal)).Order(StringComparer.Ordinal));
        Assert.Single(Directory.GetDirectories(_folder, "..2*"));
    }

    [Fact]
    public void The_same_files_again_change_nothing()
    {
        VolumeFiles.Write(_folder, [File("a", "1")], _clock);
        var before = new FileInfo($"{_folder}/..data").LinkTarget;
        Assert.False(VolumeFiles.Write(_folder, [File("a", "1")], _clock));
        Assert.Equal(before, new FileInfo($"{_folder}/..data").LinkTarget);
    }

    [Fact]
    public void An_empty_volume_is_a_folder_too()
    {
        VolumeFiles.Write(_folder, [], _clock);
        Assert.True(Directory.Exists($"{_folder}/..data"));
        Assert.False(VolumeFiles.Write(_folder, [], _clock));
    }

    private static VolumeFile File(string path, string content) => new(path, content, VolumeFile.DefaultMode);

    public void Dispose() => Directory.Delete(_folder, recursive: true);
}
