using System.Diagnostics;
using System.Net;
using System.Runtime.InteropServices;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Model.Tests;
using AmbientMesh.Ztunnel.Outbound;

namespace AmbientMesh.Benchmarks.Policy;

/// <summary>What decisions cost: verdicts over many policies, routes in a mesh of 50,000 workloads, and changing either.</summary>
internal static class PolicyBenchmark
{
    private const int Workloads = 50_000, PodsPerService = 10;
    private static readonly IPEndPoint Destination = new(IPAddress.Parse("10.0.0.2"), 8080);

    public static void Run()
    {
        Console.WriteLine("| decision | time | allocated |\n|---|---|---|");
        foreach (var count in (int[])[10, 1000, 10_000]) Verdicts(count);
        Lookups();
        Changes();
        Console.WriteLine("\n| 1,000 policies of which none matches, by | ALLOW, refused and by whom | DENY |\n|---|---|---|");
        foreach (var (kind, of) in PolicySamples.NoneMatching) NoneMatching(kind, of);
    }

    private static void Verdicts(int count)
    {
        var (mesh, server) = With(Enumerable.Range(0, count).Select(i => PolicySamples.Of(i)));
        var peers = Enumerable.Range(0, 64).Select(i => new SpiffeId("cluster.local", $"ns{i % 40}", $"app{i * 7}")).ToArray();
        var source = IPAddress.Parse("10.20.30.40");
        var next = 0;
        Line($"verdict, {count:N0} policies on the workload, peers some of which are allowed", () => Authorizer.Decide(mesh, server, new ConnectionFacts(peers[next++ % 64], source, Destination)));
        Line($"verdict, {count:N0} policies, plaintext from nowhere special", () => Authorizer.Decide(mesh, server, new ConnectionFacts(null, IPAddress.Loopback, Destination)));
        var effective = Authorizer.PoliciesOf(mesh, server);
        Line($"the same {count:N0}, looked at one by one (as explain does)", () => Authorizer.Decide(effective, new ConnectionFacts(new SpiffeId("cluster.local", "nobody", "nobody"), source, Destination), []));
    }

    private static void NoneMatching(string kind, Func<int, PolicyClause[]> of)
    {
        var source = IPAddress.Parse("10.20.30.40");
        var (allowing, _) = Cost(PolicyAction.Allow);
        var (denying, _) = Cost(PolicyAction.Deny);
        Console.WriteLine($"| {kind} | {allowing / 1000:0.00} µs | {denying / 1000:0.00} µs |");

        (double Nanoseconds, long Bytes) Cost(PolicyAction action)
        {
            var (mesh, server) = With(Enumerable.Range(0, 1000).Select(i => PolicySamples.Of(i, action, of(i))));
            return Measure(() =>
            {
                var facts = new ConnectionFacts(PolicySamples.Stranger, source, Destination);
                var policies = Authorizer.PoliciesOf(mesh, server);
                return PolicyDecider.Of(policies, Authorizer.Decide(policies, facts), facts);
            });
        }
    }

    private static void Lookups()
    {
        var store = new MeshStore("n1");
        store.Edit(edit =>
        {
            for (var i = 0; i < Workloads; i++) edit.Set(PodOf(i));
            for (var i = 0; i < Workloads / PodsPerService; i++) edit.Set(ServiceOf($"s{i}", $"10.96.{i >> 8}.{i & 255}"));
            edit.Set(ServiceOf("large", "10.97.0.1"));
        });
        var mesh = store.Current;
        var source = mesh.FindWorkload("c//Pod/default/p0")!;
        var settings = new OutboundSettings("", Random.Shared);
        var vips = Enumerable.Range(0, 1024).Select(i => new IPEndPoint(IPAddress.Parse($"10.96.{i % 19}.{i & 255}"), 80)).ToArray();
        var pods = Enumerable.Range(0, 1024).Select(i => new IPEndPoint(AddressOf(i * 47 % Workloads), 8080)).ToArray();
        var stranger = new IPEndPoint(IPAddress.Parse("192.0.2.1"), 443);
        var next = 0;
        Line($"route to a service of {PodsPerService} among {Workloads:N0} workloads", () => OutboundRouter.Decide(mesh, source, vips[next++ & 1023], settings));
        Line($"route to a pod among {Workloads:N0} workloads", () => OutboundRouter.Decide(mesh, source, pods[next++ & 1023], settings));
        Line("route to an address outside the mesh", () => OutboundRouter.Decide(mesh, source, stranger, settings));
        var large = new IPEndPoint(IPAddress.Parse("10.97.0.1"), 80);
        Line("route to a service of 1,000", () => OutboundRouter.Decide(mesh, source, large, settings));
        Line($"one pod changes among {Workloads:N0}", () => store.Edit(edit => edit.Set(PodOf(77))));
    }

    private static void Changes()
    {
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var store = new MeshStore("n1");
        var started = Stopwatch.GetTimestamp();
        store.Edit(edit =>
        {
            for (var i = 0; i < 10_000; i++) edit.Set(PolicySamples.Of(i));
        });
        var loading = Stopwatch.GetElapsedTime(started);
        store.Edit(edit => edit.Set(Server));
        Console.WriteLine($"| 10,000 policies of one namespace taken in one response | {loading.TotalMilliseconds:0} ms | {(GC.GetTotalMemory(forceFullCollection: true) - before) / 1048576.0:0.0} MB kept |");
        var next = 0;
        Line("one of 10,000 policies of a namespace changes", () => store.Edit(edit => edit.Set(PolicySamples.Of(next++ % 10_000))));
        var facts = new ConnectionFacts(new SpiffeId("cluster.local", "ns1", "app1"), IPAddress.Loopback, Destination);
        Line("the first verdict after that (the index is made anew)", () =>
        {
            var mesh = store.Edit(edit => edit.Set(PolicySamples.Of(next++ % 10_000)));
            return Authorizer.Decide(mesh, Server, facts);
        });
    }

    private static Workload Server { get; } = new() { Uid = "c//Pod/default/server", Name = "server", Namespace = "default" };

    private static (MeshSnapshot Mesh, Workload Server) With(IEnumerable<AuthorizationPolicy> policies)
    {
        var store = new MeshStore();
        var mesh = store.Edit(edit =>
        {
            edit.Set(Server);
            foreach (var policy in policies) edit.Set(policy);
        });
        return (mesh, Server);
    }

    private static IPAddress AddressOf(int i) => IPAddress.Parse($"10.{i >> 16}.{(i >> 8) & 255}.{i & 255}");

    private static Workload PodOf(int i) => new()
    {
        Uid = $"c//Pod/default/p{i}",
        Name = $"p{i}",
        Namespace = "default",
        ServiceAccount = $"sa{i % 500}",
        Node = $"n{i % 1000}",
        Addresses = [AddressOf(i)],
        SpeaksHbone = true,
        Services = i < 1000 ? [(NameOf($"s{i / PodsPerService}"), default), (NameOf("large"), default)] : [(NameOf($"s{i / PodsPerService}"), default)],
    };

    private static ServiceName NameOf(string name) => new("default", $"{name}.default.svc.cluster.local");

    private static MeshService ServiceOf(string name, string vip) => new()
    {
        Name = name,
        Namespace = "default",
        Hostname = NameOf(name).Hostname,
        Vips = [new NetworkAddress("", IPAddress.Parse(vip))],
        Ports = new PortMap([(80, 8080)]),
        IsCanonical = true,
    };

    private static void Line(string what, Func<object?> decide)
    {
        var (time, bytes) = Measure(decide);
        Console.WriteLine($"| {what} | {time / 1000:0.00} µs | {bytes:N0} B |");
    }

    /// <summary>Nanoseconds of processor time and bytes allocated for each call, once warmed up; the best of five rounds counts.</summary>
    private static (double Nanoseconds, long Bytes) Measure(Func<object?> decide)
    {
        var count = 1;
        // Until the compiler has seen it often enough, and then long enough to be measured.
        for (var warm = ProcessorNanoseconds(); ProcessorNanoseconds() - warm < 400_000_000; count++) decide();
        count = Math.Max(1, count / 8);
        var best = double.MaxValue;
        var allocated = 0L;
        for (var round = 0; round < 5; round++)
        {
            var bytes = GC.GetAllocatedBytesForCurrentThread();
            var started = ProcessorNanoseconds();
            for (var i = 0; i < count; i++) decide();
            best = Math.Min(best, (ProcessorNanoseconds() - started) / (double)count);
            allocated = (GC.GetAllocatedBytesForCurrentThread() - bytes) / count;
        }
        return (best, allocated);
    }

    /// <summary>Processor time of this thread: what others do on the machine does not count.</summary>
    private static long ProcessorNanoseconds()
    {
        const int ThreadClock = 3;   // CLOCK_THREAD_CPUTIME_ID
        var time = default(TimeSpec);
        if (ReadClock(ThreadClock, ref time) != 0) throw new InvalidOperationException("the thread's processor time cannot be read");
        return (time.Seconds * 1_000_000_000) + time.Nanoseconds;
    }

    [DllImport("libc", EntryPoint = "clock_gettime")]
    private static extern int ReadClock(int clock, ref TimeSpec time);

    private struct TimeSpec
    {
        public long Seconds;
        public long Nanoseconds;
    }
}
