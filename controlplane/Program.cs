using System.Runtime.InteropServices;
using AmbientMesh.ControlPlane.Serving;
using AmbientMesh.ControlPlane.Settings;
using AmbientMesh.Kubernetes;
using AmbientMesh.Telemetry;
using AmbientMesh.Telemetry.Otlp;
using Microsoft.Extensions.Logging;

const int UnusableSettings = 2;
const int Failed = 1;

var (settings, problems) = SettingsReader.Read(args, Environment.GetEnvironmentVariable);
if (problems.Count > 0)
{
    foreach (var problem in problems) Console.Error.WriteLine($"controlplane: {problem}");
    return UnusableSettings;
}

var clock = TimeProvider.System;
var filter = LogFilter.Parse($"{settings.LogLevel},Microsoft=warn");
await using var lines = new MeshLoggerProvider(Console.OpenStandardOutput(), settings.LogsAsJson ? LogLayout.Json : LogLayout.Plain, filter, clock, "controlplane::");
using var logs = LoggerFactory.Create(logging => logging.SetMinimumLevel(LogLevel.Trace).AddProvider(lines));
await using var levels = LevelEndpoint.TryStart(filter, logs.CreateLogger("AmbientMesh.ControlPlane"), clock);
using var stop = new CancellationTokenSource();
void Stop(PosixSignalContext signal)
{
    signal.Cancel = true;
    stop.Cancel();
}
using var onTerminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
using var onInterrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);

try
{
    var connection = KubernetesConnection.Find(settings.Kubeconfig, Environment.GetEnvironmentVariable, clock);
    await using var controlPlane = await ControlPlaneProcess.StartAsync(settings, connection, clock, logs, stop.Token);
    lines.Register(controlPlane.Metrics);
    await using var export = OtlpExport.Start(settings.Export, controlPlane.Metrics, "istiod", typeof(ControlPlaneProcess).Assembly.GetName().Version?.ToString(3) ?? "",
        [new("k8s.pod.name", settings.PodName), new("k8s.namespace.name", settings.SystemNamespace), new("k8s.cluster.name", settings.ClusterId)], () => { }, clock, logs.CreateLogger("AmbientMesh.ControlPlane"));
    await controlPlane.Ended.WaitAsync(stop.Token);
    return 0;
}
catch (OperationCanceledException) when (stop.IsCancellationRequested)
{
    return 0;
}
catch (Exception problem) when (problem is KubernetesConfigurationException or KubernetesException or IOException or FormatException)
{
    Console.Error.WriteLine($"controlplane: {problem.Message}");
    return Failed;
}
