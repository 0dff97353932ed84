using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Nodes;

/// <summary>Keeps one container of a pod running as its restart policy says: image, start, hooks, probes, end, back-off, again.</summary>
internal sealed class ContainerRunner
{
    private static readonly TimeSpan s_configurationRetry = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_soon = TimeSpan.FromMilliseconds(500);
    private readonly Lock _changing = new();
    private readonly IPodContext _pod;
    private readonly RestartBackoff _restarts = new();
    private readonly RestartBackoff _pulls = new();
    private readonly TaskCompletionSource _started = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile ContainerRecord _record;
    private volatile RunningContainer? _running;
    private string _terminationFile = "";

    /// <param name="restarts">How often it was started before, under another kubelet.</param>
    public ContainerRunner(IPodContext pod, JsonObject spec, ContainerRole role, int restarts = 0)
    {
        _pod = pod;
        Spec = spec;
        Role = role;
        _record = new ContainerRecord(spec, role, new ContainerState.Waiting(
            pod.Pod.InitContainers().Any() && role != ContainerRole.Init ? "PodInitializing" : "ContainerCreating"))
        { RestartCount = restarts };
    }

    public JsonObject Spec { get; }
    public ContainerRole Role { get; }
    public string Name => _record.Name;
    public ContainerRecord Record => _record;

    /// <summary>The run going on; null between runs.</summary>
    public RunningContainer? Running => _running;

    /// <summary>Log of the newest run, and of the one before.</summary>
    public ContainerLog? Log { get; private set; }
    public ContainerLog? PreviousLog { get; private set; }

    /// <summary>Completes when the container has been started and its startup probe, if any, has succeeded.</summary>
    public Task Started => _started.Task;

    private KubeletContext Kubelet => _pod.Kubelet;
    private string FieldPath => $"spec.{(Role == ContainerRole.Main ? "containers" : "initContainers")}{{{Name}}}";

    /// <summary>Runs until it has ended for good, or until <paramref name="stop"/> and <see cref="StopAsync"/> have ended it.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        try
        {
            while (!stop.IsCancellationRequested)
            {
                var image = await ImageAsync(stop);
                var ran = await RunOnceAsync(image, stop);
                if (ran is null)
                {
                    await Task.Delay(s_configurationRetry, Kubelet.Clock, stop);
                    continue;
                }
                if (stop.IsCancellationRequested || !Restarts(ran.ExitCode)) return;
                await BackOffAsync(ran, stop);
                Set(r => r with { RestartCount = r.RestartCount + 1 });
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // The pod is ending; a run still going on is ended by StopAsync.
        }
    }

    /// <summary>preStop, TERM, and KILL when <paramref name="kill"/> fires. Returns when the program is gone.</summary>
    public async Task StopAsync(string message, CancellationToken kill)
    {
        if (_running is not { } running) return;
        Kubelet.Events.Normal(_pod.Pod, "Killing", message, FieldPath);
        if (Spec.Map("lifecycle", "preStop") is { } hook)
        {
            var problem = await Probe.AttemptAsync(Kubelet.Node, hook, Spec, _pod.Address, running, kill);
            if (problem is not null && !kill.IsCancellationRequested) Kubelet.Events.Warning(_pod.Pod, "FailedPreStopHook", "PreStopHook failed", FieldPath);
        }
        running.Signal(Syscalls.SignalTerminate);
        try
        {
            await running.Exited.WaitAsync(kill);
        }
        catch (OperationCanceledException)
        {
            running.Signal(Syscalls.SignalKill);
            await running.Exited;
        }
    }

    private bool Restarts(int exitCode) => Role == ContainerRole.Sidecar || _pod.Pod.RestartPolicy() switch
    {
        "Always" => Role == ContainerRole.Main || exitCode != 0,
        "OnFailure" => exitCode != 0,
        _ => false,
    };

    // ---- image -------------------------------------------------------------------------------------------------------------

    private async Task<Image> ImageAsync(CancellationToken stop)
    {
        var name = Spec.Text("image") ?? "";
        while (true)
        {
            switch (Kubelet.Images.Find(name))
            {
                case ImageLookup.Found found:
                    Kubelet.Events.Normal(_pod.Pod, "Pulled", $"Container image \"{name}\" already present on machine and can be accessed by the pod", FieldPath);
                    return found.Image;
                case ImageLookup.Invalid invalid:
                    Kubelet.Events.Warning(_pod.Pod, "InspectFailed", invalid.Message, FieldPath);
                    Kubelet.Events.Warning(_pod.Pod, "Failed", "Error: InvalidImageName", FieldPath);
                    Wait("InvalidImageName", invalid.Message);
                    await Task.Delay(s_configurationRetry, Kubelet.Clock, stop);
                    break;
                case ImageLookup.Absent when Spec.Text("imagePullPolicy") == "Never":
                    var never = $"Container image \"{name}\" is not present with pull policy of Never";
                    Kubelet.Events.Warning(_pod.Pod, "ErrImageNeverPull", never, FieldPath);
                    Kubelet.Events.Warning(_pod.Pod, "Failed", "Error: ErrImageNeverPull", FieldPath);
                    Wait("ErrImageNeverPull", never);
                    await Task.Delay(s_configurationRetry, Kubelet.Clock, stop);
                    break;
                case ImageLookup.Absent absent:
                    await PullFailedAsync(name, absent.Message, stop);
                    break;
            }
        }
    }

    private async Task PullFailedAsync(string name, string problem, CancellationToken stop)
    {
        Kubelet.Events.Normal(_pod.Pod, "Pulling", $"Pulling image \"{name}\"", FieldPath);
        Kubelet.Events.Warning(_pod.Pod, "Failed", $"Failed to pull image \"{name}\": {problem}", FieldPath);
        Kubelet.Events.Warning(_pod.Pod, "Failed", "Error: ErrImagePull", FieldPath);
        Wait("ErrImagePull", problem);
        if (_pulls.Next(TimeSpan.Zero) is var first && first == TimeSpan.Zero) first = _pulls.Next(TimeSpan.Zero);
        Kubelet.Events.Normal(_pod.Pod, "BackOff", $"Back-off pulling image \"{name}\"", FieldPath);
        Wait("ImagePullBackOff", $"Back-off pulling image \"{name}\": ErrImagePull: {problem}");
        await Task.Delay(first, Kubelet.Clock, stop);
    }

    // ---- one run -----------------------------------------------------------------------------------------------------------

    /// <summary>Null when the container cannot be configured at this time.</summary>
    private async Task<ContainerState.Terminated?> RunOnceAsync(Image image, CancellationToken stop)
    {
        RunningContainer running;
        ContainerSpec? spec = null;
        try
        {
            spec = Plan(image);
            PreviousLog = Log;
            Log = NewLog();
            running = await RunningContainer.StartAsync(Kubelet.Node, Kubelet.Cgroups, _pod.Sandbox, spec, Log, Kubelet.Clock, stop);
        }
        catch (ContainerConfigurationException wrong)
        {
            Kubelet.Events.Warning(_pod.Pod, "Failed", $"Error: {wrong.Message}", FieldPath);
            Wait("CreateContainerConfigError", wrong.Message);
            return null;
        }
        catch (ContainerStartException refused)
        {
            Kubelet.Events.Normal(_pod.Pod, "Created", "Container created", FieldPath);
            Kubelet.Events.Warning(_pod.Pod, "Failed", $"Error: {refused.Message}", FieldPath);
            return Ended(new ContainerState.Terminated(128, "StartError", refused.Message, DateTimeOffset.UnixEpoch, Kubelet.Clock.GetUtcNow(), $"containerd://{spec!.Id}"));
        }
        _running = running;
        Kubelet.Events.Normal(_pod.Pod, "Created", "Container created", FieldPath);
        Kubelet.Events.Normal(_pod.Pod, "Started", "Container started", FieldPath);
        Set(r => r with
        {
            State = new ContainerState.Running(running.StartedAt),
            ImageId = image.Id,
            ContainerId = $"containerd://{running.Spec.Id}",
            User = running.Spec.Rights.User,
            Group = running.Spec.Rights.Group,
            Started = Spec.Map("startupProbe") is null,
            Ready = IsReadyAtOnce,
        });
        using var over = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var watching = WatchAsync(running, over.Token);
        var exit = await running.Exited;
        _running = null;
        await over.CancelAsync();
        await watching;
        return Ended(new ContainerState.Terminated(exit.Code, exit.Code == 0 ? "Completed" : "Error", await LastWordsAsync(exit.Code), running.StartedAt, exit.At, $"containerd://{running.Spec.Id}"));
    }

    private bool IsReadyAtOnce => Role != ContainerRole.Init && Spec.Map("readinessProbe") is null && Spec.Map("startupProbe") is null;

    private ContainerSpec Plan(Image image)
    {
        var pod = _pod.Pod;
        var environment = ContainerEnvironment.Build(pod, Spec, Kubelet);
        var directory = $"/var/lib/kubelet/pods/{pod.Uid()}";
        _terminationFile = $"{directory}/containers/{Name}/{Random.Shared.Next():x8}";
        var onMachine = Kubelet.Node.HostPath(_terminationFile);
        Directory.CreateDirectory(Path.GetDirectoryName(onMachine)!);
        File.WriteAllText(onMachine, "");
        File.SetUnixFileMode(onMachine, (UnixFileMode)0x1B6);   // rw for all: any user of the container may write its last words
        ContainerMount[] files =
        [
            new($"{directory}/etc-hosts", "/etc/hosts", ReadOnly: false), new($"{directory}/hostname", "/etc/hostname", ReadOnly: false),
            new($"{directory}/resolv.conf", "/etc/resolv.conf", ReadOnly: false), new(_terminationFile, Spec.Text("terminationMessagePath") ?? "/dev/termination-log", ReadOnly: false),
        ];
        return ContainerPlan.Make(pod, Spec, image, environment, _pod.Volumes, files);
    }

    private ContainerLog NewLog()
    {
        var pod = _pod.Pod;
        return new ContainerLog(Kubelet.Node.HostPath($"/var/log/pods/{pod.Namespace()}_{pod.Name()}_{pod.Uid()}/{Name}/{_record.RestartCount}.log"), Kubelet.Clock);
    }

    private async Task<string?> LastWordsAsync(int exitCode)
    {
        var file = Kubelet.Node.HostPath(_terminationFile);
        var text = File.Exists(file) ? await File.ReadAllTextAsync(file) : "";
        if (text.Length > 0) return text.Length > 4096 ? text[..4096] : text;
        if (Spec.Text("terminationMessagePolicy") != "FallbackToLogsOnError" || exitCode == 0 || Log is null) return null;
        var lines = new Queue<string>();
        await foreach (var line in Log.ReadAsync(follow: false))
        {
            lines.Enqueue(line.Text + "\n");
            if (lines.Count > 80) lines.Dequeue();
        }
        return string.Concat(lines);
    }

    private ContainerState.Terminated Ended(ContainerState.Terminated ended)
    {
        Set(r => r with { State = ended, Ready = Role == ContainerRole.Init && ended.ExitCode == 0, Started = false, ContainerId = ended.ContainerId });
        return ended;
    }

    private async Task BackOffAsync(ContainerState.Terminated ended, CancellationToken stop)
    {
        var wait = _restarts.Next(ended.FinishedAt - ended.StartedAt is var ran && ended.StartedAt == DateTimeOffset.UnixEpoch ? TimeSpan.Zero : ran);
        Set(r => r with { Last = ended });
        if (wait == TimeSpan.Zero) return;
        var pod = _pod.Pod;
        Kubelet.Events.Warning(pod, "BackOff", $"Back-off restarting failed container {Name} in pod {pod.Name()}_{pod.Namespace()}({pod.Uid()})", FieldPath);
        Wait("CrashLoopBackOff", $"back-off {RestartBackoff.Text(wait)} restarting failed container={Name} pod={pod.Name()}_{pod.Namespace()}({pod.Uid()})");
        await Task.Delay(wait, Kubelet.Clock, stop);
    }

    // ---- hooks and probes --------------------------------------------------------------------------------------------------

    private async Task WatchAsync(RunningContainer running, CancellationToken over)
    {
        try
        {
            if (Spec.Map("lifecycle", "postStart") is { } hook && await Probe.AttemptAsync(Kubelet.Node, hook, Spec, _pod.Address, running, over) is not null && !over.IsCancellationRequested)
            {
                Kubelet.Events.Warning(_pod.Pod, "FailedPostStartHook", "PostStartHook failed", FieldPath);
                await KillAsync("FailedPostStartHook");
                return;
            }
            if (Spec.Map("startupProbe") is { } startup)
            {
                if (!await StartupAsync(startup, running, over)) return;
                Set(r => r with { Started = true, Ready = Spec.Map("readinessProbe") is null && Role != ContainerRole.Init });
            }
            _started.TrySetResult();
            await Task.WhenAll(ReadinessAsync(running, over), LivenessAsync(running, over));
        }
        catch (OperationCanceledException) when (over.IsCancellationRequested)
        {
            // The run has ended.
        }
    }

    private async Task<bool> StartupAsync(JsonObject probe, RunningContainer running, CancellationToken over)
    {
        await foreach (var verdict in VerdictsAsync("Startup", probe, running, over))
        {
            if (verdict) return true;
            await KillAsync($"Container {Name} failed startup probe, will be restarted");
            return false;
        }
        return false;
    }

    private async Task ReadinessAsync(RunningContainer running, CancellationToken over)
    {
        if (Spec.Map("readinessProbe") is not { } probe) return;
        await foreach (var verdict in VerdictsAsync("Readiness", probe, running, over)) Set(r => r with { Ready = verdict });
    }

    private async Task LivenessAsync(RunningContainer running, CancellationToken over)
    {
        if (Spec.Map("livenessProbe") is not { } probe) return;
        await foreach (var verdict in VerdictsAsync("Liveness", probe, running, over))
        {
            if (verdict) continue;
            await KillAsync($"Container {Name} failed liveness probe, will be restarted");
            return;
        }
    }

    /// <summary>The verdicts of a probe as they are reached, until the run is over.</summary>
    private async IAsyncEnumerable<bool> VerdictsAsync(
        string kind, JsonObject probe, RunningContainer running, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken over)
    {
        var schedule = new ProbeSchedule(probe);
        if (schedule.InitialDelay > TimeSpan.Zero) await Task.Delay(schedule.InitialDelay, Kubelet.Clock, over);
        var (counts, waited) = (true, TimeSpan.Zero);
        while (true)
        {
            string? problem;
            using (var limit = CancellationTokenSource.CreateLinkedTokenSource(over))
            {
                limit.CancelAfter(schedule.Timeout);
                problem = await Probe.AttemptAsync(Kubelet.Node, probe, Spec, _pod.Address, running, limit.Token);
            }
            over.ThrowIfCancellationRequested();
            if (problem is not null && counts) Kubelet.Events.Warning(_pod.Pod, "Unhealthy", $"{kind} probe failed: {problem}", FieldPath);
            if ((problem is null || counts) && schedule.Count(problem is null) is { } verdict) yield return verdict;
            // A container that is not ready yet is asked more often than its period says, so that it is found ready soon; that is not held against it.
            var soon = kind == "Readiness" && !_record.Ready && schedule.Period > s_soon;
            await Task.Delay(soon ? s_soon : schedule.Period, Kubelet.Clock, over);
            waited = soon ? waited + s_soon : schedule.Period;
            counts = waited >= schedule.Period;
            if (counts) waited = TimeSpan.Zero;
        }
    }

    private async Task KillAsync(string message)
    {
        using var grace = new CancellationTokenSource(TimeSpan.FromSeconds(_pod.Pod.Number("spec", "terminationGracePeriodSeconds") ?? 30));
        await StopAsync(message, grace.Token);
    }

    // ---- state -------------------------------------------------------------------------------------------------------------

    private void Wait(string reason, string? message) => Set(r => r with { State = new ContainerState.Waiting(reason, message), Ready = false, Started = false });

    private void Set(Func<ContainerRecord, ContainerRecord> change)
    {
        lock (_changing) _record = change(_record);
        _pod.Publish();
    }
}
