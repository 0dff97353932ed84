using System.Text.Json;

namespace AmbientMesh.Lab.Commands;

/// <summary>A process that belongs to a lab. The start time tells it from a later one with the same id.</summary>
/// <param name="StartTicks">Field 22 of <c>/proc/PID/stat</c>.</param>
public sealed record LabProcess(int Pid, long StartTicks)
{
    public static LabProcess Of(int pid) => new(pid, StartOf(pid) ?? throw new InvalidOperationException($"process {pid} is not running"));

    public bool IsAlive => StartOf(Pid) == StartTicks;

    private static long? StartOf(int pid)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{pid}/stat");
            var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            return fields[0] == "Z" ? null : long.Parse(fields[19]);
        }
        catch (IOException)
        {
            return null;
        }
    }
}

/// <summary>A node as <c>mesh lab status</c> shows it.</summary>
/// <param name="Process">Its first process: <c>nsenter -t PID -a</c> enters the node.</param>
/// <param name="Wire">Its interface on the fabric's bridge: where the traffic between nodes can be captured.</param>
public sealed record LabNodeState(string Name, LabProcess Process, string Wire, IReadOnlyList<string> Addresses, string PodCidr, bool Ready, int Pods);

/// <summary>What is known of a lab from outside its daemon; written by the daemon.</summary>
/// <param name="Fabric">Holds the namespace of the wire between the nodes.</param>
public sealed record LabState(
    string Name, LabProcess Daemon, bool IsReady, string ApiServer, string Kubeconfig, LabProcess? Fabric, string FabricBridge, IReadOnlyList<LabNodeState> Nodes, DateTimeOffset StartedAt)
{
    private static readonly JsonSerializerOptions s_format = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    /// <summary>Null when there is none, or none that can be read.</summary>
    public static LabState? Load(LabPaths paths)
    {
        try
        {
            return JsonSerializer.Deserialize<LabState>(File.ReadAllText(paths.State), s_format);
        }
        catch (Exception missing) when (missing is IOException or JsonException)
        {
            return null;
        }
    }

    public void Save(LabPaths paths)
    {
        var next = paths.State + ".next";
        File.WriteAllText(next, JsonSerializer.Serialize(this, s_format));
        File.Move(next, paths.State, overwrite: true);
    }

    public static string Json(object value) => JsonSerializer.Serialize(value, s_format);
}
