using AmbientMesh.Telemetry;

namespace AmbientMesh.Ztunnel.Reporting;

/// <summary>Descriptors, memory and build of this process.</summary>
public static class ProcessMetrics
{
    public static void Register(MetricRegistry registry, string version)
    {
        registry.GaugeFrom("process_open_fds", "Number of open file descriptors", () => Directory.EnumerateFileSystemEntries("/proc/self/fd").Count());
        registry.GaugeFrom("process_max_fds", "Maximum number of file descriptors", MaxDescriptors);
        registry.GaugeFrom("process_resident_memory_bytes", "Resident memory size in bytes", () => Environment.WorkingSet);
        registry.GaugeFrom("dotnet_gc_heap_bytes", "Bytes in the managed heap", () => GC.GetTotalMemory(false));
        registry.GaugeFrom("dotnet_gc_allocated_bytes", "Bytes allocated since the start", () => GC.GetTotalAllocatedBytes());
        registry.GaugeFrom("dotnet_threadpool_threads", "Threads of the pool", () => ThreadPool.ThreadCount);
        registry.Gauge("istio_build", "Istio component build info.", "component", "tag").With("ztunnel", version).Set(1);
    }

    private static double MaxDescriptors()
    {
        // Max open files            1024                 4096                 files
        foreach (var line in File.ReadLines("/proc/self/limits"))
            if (line.StartsWith("Max open files", StringComparison.Ordinal) && double.TryParse(line[26..].TrimStart().Split(' ')[0], out var limit)) return limit;
        return 0;
    }
}
