namespace AmbientMesh.Telemetry;

/// <summary>Descriptors, memory, processor time and runtime of this process, under Prometheus' customary names.</summary>
public static class ProcessMetrics
{
    public static void Register(MetricRegistry registry)
    {
        registry.GaugeFrom("process_open_fds", "Number of open file descriptors", () => OrUnknown(() => Directory.EnumerateFileSystemEntries("/proc/self/fd").Count()));
        registry.GaugeFrom("process_max_fds", "Maximum number of file descriptors", () => OrUnknown(MaxDescriptors));
        registry.GaugeFrom("process_resident_memory_bytes", "Resident memory size in bytes", () => Environment.WorkingSet);
        registry.CounterFrom("process_cpu_seconds_total", "Processor time spent, user and system", [], () => [new ObservedSeries([], Environment.CpuUsage.TotalTime.TotalSeconds)]);
        registry.GaugeFrom("dotnet_gc_heap_bytes", "Bytes in the managed heap", () => GC.GetTotalMemory(false));
        registry.CounterFrom("dotnet_gc_allocated_bytes_total", "Bytes allocated since the start", [], () => [new ObservedSeries([], GC.GetTotalAllocatedBytes())]);
        registry.CounterFrom("dotnet_gc_collections_total", "Garbage collections by generation", ["generation"],
            () => Enumerable.Range(0, GC.MaxGeneration + 1).Select(generation => new ObservedSeries([$"{generation}"], GC.CollectionCount(generation))));
        registry.CounterFrom("dotnet_gc_pause_seconds_total", "Time for which garbage collections stopped the process", [], () => [new ObservedSeries([], GC.GetTotalPauseDuration().TotalSeconds)]);
        registry.GaugeFrom("dotnet_threadpool_threads", "Threads of the pool", () => ThreadPool.ThreadCount);
        registry.GaugeFrom("dotnet_threadpool_queue_length", "Work items waiting for a thread of the pool", () => ThreadPool.PendingWorkItemCount);
    }

    /// <summary>What a file of the kernel tells; not a number when it cannot be opened, as happens when no descriptor is left: the other metrics are wanted then most of all.</summary>
    internal static double OrUnknown(Func<double> read)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return double.NaN;
        }
    }

    private static double MaxDescriptors()
    {
        // Max open files            1024                 4096                 files
        foreach (var line in File.ReadLines("/proc/self/limits"))
            if (line.StartsWith("Max open files", StringComparison.Ordinal) && double.TryParse(line[26..].TrimStart().Split(' ')[0], out var limit)) return limit;
        return 0;
    }
}
