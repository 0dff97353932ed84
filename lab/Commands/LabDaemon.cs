using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Http;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;
using AmbientMesh.Lab.Controllers;
using AmbientMesh.Lab.Network;
using AmbientMesh.Lab.Nodes;

namespace AmbientMesh.Lab.Commands;

/// <summary>How a lab is made.</summary>
/// <param name="ImageDirectory">Published folders.</param>
/// <param name="Kubeconfig">Where the admin's kubeconfig is written.</param>
/// <param name="Ztunnel">A program or folder to run in place of our ztunnel; null for ours.</param>
/// <param name="ApiPort">Port on the machine's loopback.</param>
/// <param name="Families">Of nodes, pods and services.</param>
public sealed record LabOptions(string Name, int Nodes, string ImageDirectory, string Kubeconfig, string? Ztunnel, int ApiPort, AddressFamilies Families = AddressFamilies.Dual);

/// <summary>The process behind one lab: machines, API server, controllers, kubelets, service routing and DNS, until it is told to end.</summary>
/// <param name="progress">Gets a line as each part stands.</param>
internal sealed class LabDaemon(LabOptions options, Action<string> progress)
{
    private static readonly TimeSpan s_statusPeriod = TimeSpan.FromSeconds(1);
    private readonly LabPaths _paths = new(options.Name);
    private readonly DateTimeOffset _startedAt = TimeProvider.System.GetUtcNow();

    /// <summary>Runs until SIGTERM or SIGINT, with 0; 1 when the lab cannot be made or breaks. Leaves nothing but the state directory, which the caller of <c>down</c> removes.</summary>
    public async Task<int> RunAsync()
    {
        using var ending = new CancellationTokenSource();
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, s => End(s, ending));
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, s => End(s, ending));
        Directory.CreateDirectory(_paths.Directory);
        new LabState(options.Name, LabProcess.Of(Environment.ProcessId), false, ApiUrl, options.Kubeconfig, null, Fabric.Bridge, [], _startedAt).Save(_paths);
        try
        {
            await RunLabAsync(ending.Token);
        }
        catch (OperationCanceledException) when (ending.IsCancellationRequested)
        {
            progress("ended");
        }
        catch (Exception failed) when (failed is IOException or InvalidOperationException or ArgumentException or ApiException or SocketException)
        {
            progress($"failed: {failed.Message}");
            await Console.Error.WriteLineAsync(failed.StackTrace);
            return 1;
        }
        return 0;
    }

    private string ApiUrl => $"https://127.0.0.1:{options.ApiPort}";

    private static void End(PosixSignalContext signal, CancellationTokenSource ending)
    {
        signal.Cancel = true;
        ending.Cancel();
    }

    private async Task RunLabAsync(CancellationToken ending)
    {
        var cgroups = Cgroups.TryOpen(options.Name) ?? throw new InvalidOperationException("no cgroup hierarchy is mounted");
        var images = new ImageStore(options.ImageDirectory, _paths.Overrides);
        if (options.Ztunnel is { } ztunnel) images.Replace("ztunnel", ztunnel);
        progress($"making {options.Nodes} nodes and the wire between them");
        await using var machines = await LabMachines.CreateAsync(_paths.Directory, images, options.Nodes, ending, options.Families);
        Save(machines, null, isReady: false);

        progress("starting the API server");
        await using var api = new ApiServer(ApiOptions(machines), TimeProvider.System);
        var routing = new ServiceRouting(api.Store, machines.Nodes, progress);
        var kubelets = machines.Nodes.Select(n => new Kubelet(n, cgroups, images, api.Store, Tokens(api), StartAgain(n), progress)).ToArray();
        Func<CancellationToken, Task> StartAgain(NodeHost node) => async cancellationToken =>
        {
            await machines.StartAgainAsync(node, cancellationToken);
            routing.Renew(node);
        };
        api.Pods = new PodRuntime(kubelets);
        await api.StartAsync(ending);
        ClusterDnsObjects.Create(api.Store, options.Families);

        progress("starting controllers, kubelets, service routing and DNS");
        using var dns = new ClusterDns(api.Store, machines.Fabric.Network, options.Families);
        await routing.ApplyAsync(ending);
        foreach (var kubelet in kubelets) await kubelet.RegisterAsync(ending);
        Task[] running =
        [
            dns.RunAsync(ending), routing.RunAsync(ending), .. kubelets.Select(k => k.RunAsync(ending)),
            .. ClusterControllers.Run(api.Store, progress, ending), KeepStateAsync(machines, api.Store, ending),
        ];
        await File.WriteAllTextAsync(options.Kubeconfig, api.AdminKubeconfig(options.Name, ApiUrl), ending);
        File.SetUnixFileMode(options.Kubeconfig, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        Save(machines, api.Store, isReady: true);
        progress("ready");
        try
        {
            await await Task.WhenAny(running);   // none of them ends before the lab does, so this is its end or a defect
        }
        finally
        {
            foreach (var process in cgroups.AllProcesses()) Syscalls.Signal(process, Syscalls.SignalKill);
        }
    }

    private ApiServerOptions ApiOptions(LabMachines machines)
    {
        IPEndPoint[] inside = [.. LabAddresses.FabricAddresses(options.Families).Select(address => new IPEndPoint(address, LabAddresses.ApiServerPort))];
        return new ApiServerOptions
        {
            Listen = [new IPEndPoint(IPAddress.Loopback, options.ApiPort), .. inside],
            Advertise = inside[0],
            ServiceCidrs = LabAddresses.ServiceCidrs(options.Families),
            CreateListenSocket = endpoint => inside.Contains(endpoint) ? machines.Fabric.Network.Run(() => Bind((IPEndPoint)endpoint)) : Bind((IPEndPoint)endpoint),
        };
    }

    private static Socket Bind(IPEndPoint endpoint)
    {
        var socket = new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(endpoint);
        return socket;
    }

    // As a kubelet asks: bound to the pod; the default token lives a year and warns after the hour it was asked for.
    private static TokenSource Tokens(ApiServer api) => (JsonObject pod, string? audience, TimeSpan lifetime, out DateTimeOffset expires) =>
    {
        var isDefault = audience is null && lifetime == TimeSpan.FromSeconds(3607);
        var issued = api.Tokens.Issue(pod.Namespace(), pod.Text("spec", "serviceAccountName") ?? "default", audience is null ? [] : [audience],
            isDefault ? TimeSpan.FromDays(365) : lifetime, ("Pod", pod), isDefault ? 3607 : null);
        expires = issued.Expires;
        return issued.Token;
    };

    private async Task KeepStateAsync(LabMachines machines, ClusterStore store, CancellationToken ending)
    {
        using var timer = new PeriodicTimer(s_statusPeriod);
        while (await timer.WaitForNextTickAsync(ending))
        {
            try
            {
                Save(machines, store, isReady: true);
            }
            catch (InvalidOperationException)
            {
                // A node is switched off at the moment; what was saved before stands.
            }
        }
    }

    private void Save(LabMachines machines, ClusterStore? store, bool isReady)
    {
        var pods = store?.List(Resources.Pods).Items ?? [];
        var nodes = machines.Nodes.Select(n => new LabNodeState(
            n.Name, LabProcess.Of(n.ProcessId), n.Name, [.. LabAddresses.NodeAddresses(n.Number, n.Families).Select(address => address.ToString())], LabAddresses.NodePodCidrs(n.Number, n.Families)[0],
            store?.TryGet(Resources.Nodes, "", n.Name)?.Condition("Ready") == "True", pods.Count(p => p.NodeName() == n.Name && !p.IsFinished())));
        new LabState(options.Name, LabProcess.Of(Environment.ProcessId), isReady, ApiUrl, options.Kubeconfig, LabProcess.Of(machines.Fabric.ProcessId), Fabric.Bridge,
            [.. nodes], _startedAt).Save(_paths);
    }
}
