using System.Runtime.InteropServices;
using AmbientMesh.Hbone;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel;
using AmbientMesh.Ztunnel.Admin;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.InPod;
using Microsoft.Extensions.Logging;

switch (args.FirstOrDefault() ?? "proxy")
{
    case "version":
        Console.WriteLine($"ztunnel {ZtunnelApp.Version}");
        return 0;
    case "help" or "--help" or "-h":
        Console.WriteLine("Usage: ztunnel [proxy|version|request [GET|POST] URL|help]\nSettings come from the environment; see the README.");
        return 0;
    case "request":
        await using (var output = Console.OpenStandardOutput()) return await AdminRequest.RunAsync(args[1..], output, Console.Error);
    case "proxy":
        break;
    case var other:
        Console.Error.WriteLine($"\"{other}\" is no command; expected proxy, version, request or help.");
        return 1;
}

var environment = new Dictionary<string, string>(StringComparer.Ordinal);
foreach (System.Collections.DictionaryEntry variable in Environment.GetEnvironmentVariables()) environment[(string)variable.Key] = (string?)variable.Value ?? "";
var settings = SettingsReader.Read(environment, File.Exists, out var problems, path => File.Exists(path) ? File.ReadAllText(path) : null);
string[] refusals = [.. problems, .. Prerequisites.Missing(File.ReadAllText("/proc/self/status"), settings.DedicatedWorkload is not null)];
if (refusals.Length > 0)
{
    foreach (var refusal in refusals) Console.Error.WriteLine(refusal);
    return 1;
}

SocketEngine.ContinueInline(settings.WorkerThreads);   // before any socket, and in this process's own namespace
ThreadPool.SetMinThreads(settings.WorkerThreads, settings.WorkerThreads);

var levels = LogFilter.Parse("hickory_server::server=off," + settings.LogLevels);
await using var lines = new MeshLoggerProvider(Console.OpenStandardOutput(), settings.LogLayout, levels, TimeProvider.System);
using var loggers = LoggerFactory.Create(builder => builder.SetMinimumLevel(LogLevel.Trace).AddProvider(lines));
var log = loggers.CreateLogger("ztunnel::app");
var interrupted = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context =>
{
    context.Cancel = true;
    interrupted.TrySetResult();
});
using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context =>
{
    context.Cancel = interrupted.TrySetResult();   // the second one ends the process at once
});

try
{
    await using var app = await ZtunnelApp.StartAsync(settings, loggers, levels, TimeProvider.System);
    lines.Register(app.Metrics);
    log.Write(LogLevel.Information, settings.DedicatedWorkload is { } only
        ? $"ztunnel {ZtunnelApp.Version}: dedicated proxy mode for {only}"
        : $"ztunnel {ZtunnelApp.Version} on node {settings.NodeName}: shared proxy mode - in-pod mode enabled");
    var first = await Task.WhenAny(interrupted.Task, app.ShutdownAsked, app.Running);
    if (first == app.Running) await app.Running;
    log.Write(LogLevel.Information, $"shutting down; open connections may run for {settings.TerminationDeadline.TotalSeconds} s");
    await app.DrainAsync();
    log.Write(LogLevel.Information, "Shutdown completed gracefully");
    return 0;
}
catch (ZdsProtocolException e)
{
    log.Write(LogLevel.Error, $"WorkloadProxyManager run error: protocol error \"{e.Message}\"");
    return 1;
}
catch (IOException e)
{
    log.Write(LogLevel.Error, e.Message);
    return 1;
}
