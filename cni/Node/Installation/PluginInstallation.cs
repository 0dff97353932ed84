using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Cni.Node.Installation;

/// <summary>Keeps plugin, kubeconfig and configuration stanza on the node: installs, looks again every second, installs anew what was changed. Source: reference 9.7.</summary>
/// <param name="kubeconfig">The kubeconfig's text now; null when there is none to write.</param>
internal sealed class PluginInstallation(AgentSettings settings, Func<string?> kubeconfig, AgentMetrics metrics, TimeProvider clock, ILogger log)
{
    public static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private const UnixFileMode ForOwner = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const UnixFileMode ForGroup = ForOwner | UnixFileMode.GroupRead;
    private const UnixFileMode Executable = ForOwner | UnixFileMode.UserExecute | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute;
    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    private readonly JsonObject _stanza = PluginStanza.For(settings);
    private (long Length, DateTime Written)? _installedBinary;

    /// <summary>Why the installation is not valid now; null while it is.</summary>
    public string? Problem { get; private set; } = "the plugin is not installed yet";

    private string BinaryPath => Path.Combine(settings.CniBinFolder, PluginStanza.PluginType);

    /// <summary>Installs and keeps installed until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                Ensure();
                await Task.Delay(Interval, clock, cancellationToken);
            }
        }
        catch (OperationCanceledException)
        {
            // The agent ends.
        }
    }

    /// <summary>Installs what is missing or changed. A failure is logged once, shown in <see cref="Problem"/>, and tried again.</summary>
    public void Ensure()
    {
        var before = Problem;
        var changed = false;
        // The configuration comes last: from then on the runtime calls the plugin.
        Problem = Try("COPY_BINARIES_FAILURE", EnsureBinary, ref changed)
            ?? Try("CREATE_KUBECONFIG_FAILURE", EnsureKubeconfig, ref changed)
            ?? Try("CREATE_CNI_CONFIG_FAILURE", EnsureConfiguration, ref changed);
        metrics.InstallReady(Problem is null);
        if (Problem is null && changed)
        {
            metrics.Installed("SUCCESS");
            log.LogInformation("plugin and configuration are installed in {Folder}", settings.CniConfigFolder);
        }
        if (Problem is not null && Problem != before) log.LogError("{Problem}", Problem);
    }

    /// <summary>Takes everything back out; what cannot be removed is logged.</summary>
    public void Remove()
    {
        // The stanza first, so that no pod meets a stanza without its plugin.
        foreach (var step in (Action[])[RemoveConfiguration, () => File.Delete(settings.KubeconfigPath), () => File.Delete(BinaryPath)])
        {
            try
            {
                step();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException)
            {
                log.LogError("cleaning up after the plugin: {Reason}", e.Message);
            }
        }
    }

    private string? Try(string result, Func<bool> step, ref bool changed)
    {
        try
        {
            changed |= step();
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException or Kubernetes.KubernetesConfigurationException)
        {
            if (Problem != e.Message) metrics.Installed(result);
            return e.Message;
        }
    }

    private bool EnsureBinary()
    {
        var source = new FileInfo(settings.PluginSource);
        if (!source.Exists) throw new FileNotFoundException($"The plugin's executable {settings.PluginSource} is missing from the image.");
        var target = new FileInfo(BinaryPath);
        // Compared by content once; afterwards any touch of the file shows in its length or time.
        if (target.Exists && _installedBinary == (target.Length, target.LastWriteTimeUtc)) return false;
        var changed = !target.Exists || !SameContent(source, target);
        if (changed) WriteWhole(BinaryPath, Executable, stream =>
        {
            using var from = source.OpenRead();
            from.CopyTo(stream);
        });
        target.Refresh();
        _installedBinary = (target.Length, target.LastWriteTimeUtc);
        return changed;
    }

    private bool EnsureKubeconfig() =>
        kubeconfig() is { } text && WriteIfDifferent(settings.KubeconfigPath, text, ForOwner);

    private bool EnsureConfiguration()
    {
        if (!settings.Chained) return WriteIfDifferent(Path.Combine(settings.CniConfigFolder, NonChainedName), Text(PluginStanza.Standalone(_stanza)), ConfigMode);
        var primary = Primary() ?? throw new FileNotFoundException($"No CNI configuration is in {settings.CniConfigFolder} yet; the cluster's own CNI writes it.");
        var text = File.ReadAllText(primary);
        if (settings.OwnsConfig) return WriteIfDifferent(OwnedPath, Text(Added(primary, text)), ConfigMode);
        if (PluginStanza.IsIn(text, _stanza)) return false;
        var list = primary.EndsWith(".conflist", StringComparison.Ordinal) ? primary : primary + "list";
        WriteIfDifferent(list, Text(Added(primary, text)), ConfigMode);
        if (list != primary) File.Delete(primary);   // the list made of it has taken its place
        return true;
    }

    private JsonObject Added(string path, string text)
    {
        try
        {
            return PluginStanza.Added(text, _stanza);
        }
        catch (FormatException e)
        {
            throw new FormatException($"{path} is no CNI configuration: {e.Message}", e);
        }
    }

    private void RemoveConfiguration()
    {
        if (!settings.Chained) File.Delete(Path.Combine(settings.CniConfigFolder, NonChainedName));
        else if (settings.OwnsConfig) File.Delete(OwnedPath);
        else if (Primary() is { } primary && PluginStanza.Removed(File.ReadAllText(primary)) is { } without) WriteIfDifferent(primary, Text(without), ConfigMode);
    }

    /// <summary>The configuration the runtime uses: the named one, else the first by name that is not our own.</summary>
    private string? Primary()
    {
        if (settings.CniConfigName.Length > 0)
        {
            var named = Path.Combine(settings.CniConfigFolder, settings.CniConfigName);
            return File.Exists(named) ? named : File.Exists(named + "list") ? named + "list" : null;
        }
        if (!Directory.Exists(settings.CniConfigFolder)) throw new DirectoryNotFoundException($"The CNI configuration folder {settings.CniConfigFolder} does not exist.");
        return Directory.EnumerateFiles(settings.CniConfigFolder)
            .Where(path => Path.GetExtension(path) is ".conf" or ".conflist" && path != OwnedPath)
            .Order(StringComparer.Ordinal)
            .FirstOrDefault();
    }

    private string OwnedPath => Path.Combine(settings.CniConfigFolder, settings.OwnedConfigName);
    private static string NonChainedName => "YYY-istio-cni.conf";
    private UnixFileMode ConfigMode => settings.ConfigGroupReadable ? ForGroup : ForOwner;
    private static string Text(JsonObject json) => json.ToJsonString(s_indented) + "\n";

    private static bool SameContent(FileInfo one, FileInfo other) => one.Length == other.Length && File.ReadAllBytes(one.FullName).AsSpan().SequenceEqual(File.ReadAllBytes(other.FullName));

    private bool WriteIfDifferent(string path, string text, UnixFileMode mode)
    {
        if (File.Exists(path) && File.ReadAllText(path) == text) return false;
        WriteWhole(path, mode, stream => stream.Write(System.Text.Encoding.UTF8.GetBytes(text)));
        return true;
    }

    // Readers see the old file or the new one, never a half.
    private static void WriteWhole(string path, UnixFileMode mode, Action<Stream> write)
    {
        var folder = Path.GetDirectoryName(path)!;
        if (!Directory.Exists(folder)) throw new DirectoryNotFoundException($"The folder {folder} does not exist.");
        var part = Path.Combine(folder, $".{Path.GetFileName(path)}.{Environment.ProcessId}.tmp");
        try
        {
            using (var stream = new FileStream(part, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = mode })) write(stream);
            File.SetUnixFileMode(part, mode);
            File.Move(part, path, overwrite: true);
        }
        catch
        {
            File.Delete(part);
            throw;
        }
    }
}
