using System.Net.Sockets;
using System.Runtime.InteropServices;
using AmbientMesh.Cni.Node;
using AmbientMesh.Kubernetes;
using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging;

var (settings, problems) = AgentSettings.Read(Environment.GetEnvironmentVariable);
if (!LogFilter.TryParse(settings.LogFilter, out var filter, out var filterProblem)) problems = [.. problems, $"AGENT_LOG_LEVEL has the level '{filterProblem}': expected error, warn, info, debug, trace or off"];
foreach (var problem in problems) Console.Error.WriteLine($"cni-node: {problem}");
if (problems.Count > 0) return 2;
// A kernel without IPv6 has no IPv6 traffic to redirect.
if (!Socket.OSSupportsIPv6) settings = settings with { Redirect = settings.Redirect with { RedirectsIpv6 = false } };

await using var output = new MeshLoggerProvider(Console.OpenStandardOutput(), settings.LogsAsJson ? LogLayout.Json : LogLayout.Plain, filter!, TimeProvider.System, plainPrefix: "cni::");
using var logs = LoggerFactory.Create(builder => builder.SetMinimumLevel(LogLevel.Trace).AddProvider(output));
await using var levels = LevelEndpoint.TryStart(filter!, logs.CreateLogger("cni::agent"), TimeProvider.System);
using var stop = new CancellationTokenSource();
using var onTerminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
using var onInterrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
try
{
    var connection = KubernetesConnection.Find(null, Environment.GetEnvironmentVariable, TimeProvider.System);
    using var client = new KubernetesClient(connection, new KubernetesClientOptions { Name = "istio-cni-node" });
    await new NodeAgent(settings, client, TimeProvider.System, logs, output.Register).RunAsync(stop.Token);
    return 0;
}
catch (Exception e) when (e is IOException or KubernetesConfigurationException)
{
    Console.Error.WriteLine($"cni-node: {e.Message}");
    return 1;
}

void Stop(PosixSignalContext context)
{
    context.Cancel = true;
    stop.Cancel();
}
