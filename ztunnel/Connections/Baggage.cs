using System.Runtime.CompilerServices;
using System.Text;
using AmbientMesh.Model;

namespace AmbientMesh.Ztunnel.Connections;

/// <summary>What one end of a tunnel says of its workload in the <c>baggage</c> header; for telemetry only, it proves nothing.</summary>
public sealed record Baggage
{
    private const int MaxValue = 253;

    /// <summary>By version of a workload: a pod's connections all say the same.</summary>
    private static readonly ConditionalWeakTable<Workload, string> Written = [];

    public string Cluster { get; init; } = "";
    public string Namespace { get; init; } = "";
    public string WorkloadName { get; init; } = "";
    public string ServiceName { get; init; } = "";
    public string ServiceVersion { get; init; } = "";
    public string Region { get; init; } = "";
    public string Zone { get; init; } = "";

    /// <summary>The header's value for a workload: fixed order, empty members left out (L4 reference §3.2).</summary>
    public static string Write(Workload workload) => Written.TryGetValue(workload, out var written) ? written : Written.GetValue(workload, Text);

    private static string Text(Workload workload)
    {
        var text = new StringBuilder(160);
        Member(text, "k8s.cluster.name", workload.ClusterId);
        Member(text, "k8s.namespace.name", workload.Namespace);
        Member(text, workload.Kind switch
        {
            WorkloadKind.Deployment => "k8s.deployment.name",
            WorkloadKind.CronJob => "k8s.cronjob.name",
            WorkloadKind.Job => "k8s.job.name",
            _ => "k8s.pod.name",
        }, workload.WorkloadName);
        Member(text, "service.name", workload.CanonicalName);
        Member(text, "service.version", workload.CanonicalRevision);
        Member(text, "cloud.region", workload.Locality.Region);
        Member(text, "cloud.availability_zone", workload.Locality.Zone);
        return text.ToString();
    }

    /// <summary>Reads every instance of the header; of repeated members the last wins, unknown ones are ignored. Never fails.</summary>
    public static Baggage Parse(IEnumerable<string> headers)
    {
        var baggage = new Baggage();
        foreach (var header in headers)
        {
            foreach (var member in header.Split(','))
            {
                var equals = member.IndexOf('=');
                if (equals < 0) continue;
                var value = member[(equals + 1)..].Trim();
                if (value.Length > MaxValue) continue;   // it becomes a label of metrics (T-40)
                baggage = member[..equals].Trim() switch
                {
                    "k8s.cluster.name" => baggage with { Cluster = value },
                    "k8s.namespace.name" => baggage with { Namespace = value },
                    "k8s.deployment.name" or "k8s.cronjob.name" or "k8s.job.name" or "k8s.pod.name" => baggage with { WorkloadName = value },
                    "service.name" => baggage with { ServiceName = value },
                    "service.version" => baggage with { ServiceVersion = value },
                    "cloud.region" => baggage with { Region = value },
                    "cloud.availability_zone" => baggage with { Zone = value },
                    _ => baggage,
                };
            }
        }
        return baggage;
    }

    /// <summary>What may be believed of it: a peer can be mistaken about its own name, but not claim to be of another namespace than its certificate proves.</summary>
    /// <param name="peer">Proven by mutual TLS.</param>
    public Baggage As(SpiffeId peer) => Namespace.Length == 0 || Namespace == peer.Namespace ? this : new Baggage { Namespace = peer.Namespace };

    private static void Member(StringBuilder text, string name, string value)
    {
        if (value.Length == 0 || value.AsSpan().IndexOfAnyExceptInRange('\x21', '\x7e') >= 0 || value.Contains(',')) return;
        if (text.Length > 0) text.Append(',');
        text.Append(name).Append('=').Append(value);
    }
}
