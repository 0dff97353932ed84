using System.Diagnostics;

namespace AmbientMesh.Fuzz;

/// <summary>What is wrong with an input.</summary>
/// <param name="Key">Equal for inputs that show the same fault.</param>
public sealed record Fault(string Key, string Text);

/// <summary>Runs one input and judges it: no unexpected exception, bounded time and memory.</summary>
public static class Trial
{
    /// <summary>Most processor time of this process for one input, the best of three; what others do on the machine does not count.</summary>
    public static readonly TimeSpan MaxTime = TimeSpan.FromMilliseconds(500);

    /// <summary>Null when all promises held.</summary>
    public static Fault? Of(FuzzTarget target, byte[] input)
    {
        var fault = Once(target, input, out var time);
        for (var again = 0; again < 2 && fault is null && time > MaxTime; again++)
        {
            fault = Once(target, input, out var next);
            if (next < time) time = next;
        }
        return fault ?? (time > MaxTime ? new Fault("slow", $"took {time.TotalMilliseconds:0} ms; at most {MaxTime.TotalMilliseconds:0} are allowed") : null);
    }

    private static Fault? Once(FuzzTarget target, byte[] input, out TimeSpan time)
    {
        var started = Environment.CpuUsage.TotalTime;
        var allocated = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            target.Run(input);
            allocated = GC.GetAllocatedBytesForCurrentThread() - allocated;
            return allocated > target.MaxAllocatedBytes(input.Length)
                ? new Fault("memory", $"allocated {allocated} bytes for {input.Length} bytes of input; at most {target.MaxAllocatedBytes(input.Length)} are allowed")
                : null;
        }
        catch (Exception e)
        {
            return new Fault($"{e.GetType().Name} {Place(e)}", e.ToString());
        }
        finally
        {
            time = Environment.CpuUsage.TotalTime - started;
        }
    }

    /// <summary>The innermost of our own methods in the stack; for a broken promise the promise itself.</summary>
    private static string Place(Exception e) =>
        e is BrokenPromiseException ? e.Message.Split(':')[0]
        : new StackTrace(e).GetFrames().Select(f => f.GetMethod()).FirstOrDefault(m => m?.DeclaringType?.FullName?.StartsWith("AmbientMesh", StringComparison.Ordinal) == true) is { } ours
            ? $"{ours.DeclaringType!.Name}.{ours.Name}" : "";
}
