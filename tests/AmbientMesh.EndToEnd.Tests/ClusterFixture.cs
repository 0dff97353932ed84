using System.Text.Json;
using AmbientMesh.EndToEnd.Tests;
using AmbientMesh.Lab.Capture;
using AmbientMesh.Lab.Demo;
using AmbientMesh.Linux;

[assembly: AssemblyFixture(typeof(ClusterFixture))]
[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>One cluster with the mesh installed by its own manifests, shared by all tests: a lab made for this run, or the cluster
/// that <c>AMBIENTMESH_KUBECONFIG</c> names (<c>./mesh test --cluster</c>): there the mesh is installed and removed again unless it was
/// there before; <c>AMBIENTMESH_INSTALLED</c> takes it as it is, <c>AMBIENTMESH_KEEP</c> leaves it.</summary>
public sealed class ClusterFixture : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("mesh-e2e-").FullName;
    private readonly string? _given = Environment.GetEnvironmentVariable("AMBIENTMESH_KUBECONFIG");
    private readonly string _families;
    private readonly string _lab;
    private string? _missing;
    private bool _up;
    private MeshInstallation? _installation;

    public ClusterFixture() : this("dual")
    {
    }

    /// <param name="families">Of the lab's nodes, pods and services, as <c>mesh lab up --ip-family</c> is told.</param>
    internal ClusterFixture(string families) => (_families, _lab) = (families, families == "dual" ? $"e2e-{Environment.ProcessId}" : $"e2e-{families}-{Environment.ProcessId}");

    /// <summary>The file that kubectl and meshctl are given.</summary>
    public string Kubeconfig { get; private set; } = "";
    public CommandRunner Run { get; private set; } = null!;
    public MeshWatcher Mesh { get; private set; } = null!;

    /// <summary>Whether the cluster is a lab made for this run.</summary>
    public bool IsLab => _given is null;

    /// <summary>The wire between the nodes; only a lab can be listened to.</summary>
    public WireCapture Listen()
    {
        RequireLab("listening on the wire");
        using var @namespace = Fabric();
        return new WireCapture(@namespace);
    }

    /// <summary>Skips the running test, with the reason, where there is no cluster.</summary>
    public void Require() => Assert.SkipWhen(_missing is not null, _missing ?? "");

    public void RequireLab(string what)
    {
        Require();
        Assert.SkipWhen(_given is not null, $"{what} needs the lab; this run uses the cluster of AMBIENTMESH_KUBECONFIG.");
    }

    public async ValueTask InitializeAsync()
    {
        _missing = WhyNot();
        if (_missing is not null) return;
        var kubeconfig = _given ?? Path.Combine(_folder, "kubeconfig");
        if (_given is null)
        {
            _up = true;
            await CommandRunner.LabAsync(CancellationToken.None, "up", "--name", _lab, "--nodes", "2", "--images", Path.Combine(Samples.Root, "artifacts/publish"), "--kubeconfig", kubeconfig, "--ip-family", _families);
        }
        Kubeconfig = kubeconfig;
        Run = new CommandRunner(kubeconfig);
        Mesh = new MeshWatcher(Run, TimeProvider.System);
        _installation = new MeshInstallation(Run, Path.Combine(Samples.Root, "deploy"));
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(7));
        if (Set("AMBIENTMESH_INSTALLED")) await _installation.RolledOutAsync(limit.Token);
        else await _installation.InstallAsync(limit.Token);
    }

    public async ValueTask DisposeAsync()
    {
        if (_given is not null && _installation is not null && !Set("AMBIENTMESH_KEEP")) await _installation.RemoveAsync();
        if (_up) await CommandRunner.LabAsync(CancellationToken.None, "down", "--name", _lab);
        Directory.Delete(_folder, recursive: true);
    }

    private static bool Set(string variable) => !string.IsNullOrEmpty(Environment.GetEnvironmentVariable(variable));

    private string? WhyNot()
    {
        if (_given is not null) return File.Exists(_given) ? null : $"AMBIENTMESH_KUBECONFIG names {_given}, which does not exist.";
        if (!Environment.IsPrivilegedProcess) return "The lab makes network namespaces and needs root.";
        var images = Path.Combine(Samples.Root, "artifacts/publish/ztunnel");
        return Directory.Exists(images) ? null : "The images' folders are not built (./mesh publish).";
    }

    private NetworkNamespace Fabric()
    {
        var status = CommandRunner.ReadLab("status", "--name", _lab, "-o", "json");
        using var document = JsonDocument.Parse(status);
        return NetworkNamespace.Open($"/proc/{document.RootElement[0].GetProperty("lab").GetProperty("fabric").GetProperty("pid").GetInt32()}/ns/net");
    }
}
