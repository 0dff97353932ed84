namespace AmbientMesh.Fuzz;

/// <summary>A parser under hostile input, with what must hold whatever the input is.</summary>
/// <remarks>A run that ends in an exception is a finding: a target catches what its parser may throw, and nothing else.</remarks>
public abstract class FuzzTarget
{
    public abstract string Name { get; }

    /// <summary>Which parsers it drives, and what is demanded of them, in one line.</summary>
    public abstract string Purpose { get; }

    /// <summary>Inputs are never longer.</summary>
    public virtual int MaxBytes => 4096;

    /// <summary>What one run may allocate; more is a finding.</summary>
    public virtual long MaxAllocatedBytes(int inputBytes) => (8 << 20) + (inputBytes * 2048L);

    /// <summary>Valid and nearly valid inputs to begin with.</summary>
    public abstract IEnumerable<byte[]> Seeds();

    /// <summary>Words of the format, which mutations put in.</summary>
    public virtual IEnumerable<byte[]> Words() => [];

    /// <summary>One run.</summary>
    /// <exception cref="Exception">The parser broke a promise.</exception>
    public abstract void Run(byte[] input);
}

/// <summary>Something that must hold for every input did not.</summary>
public sealed class BrokenPromiseException(string message) : Exception(message);

/// <summary>What targets demand.</summary>
internal static class Demand
{
    public static void That(bool holds, string promise)
    {
        if (!holds) throw new BrokenPromiseException(promise);
    }

    public static void Equal<T>(T expected, T actual, string what)
    {
        if (!EqualityComparer<T>.Default.Equals(expected, actual)) throw new BrokenPromiseException($"{what}: '{expected}' became '{actual}'");
    }

    public static void SameSequence<T>(IEnumerable<T> expected, IEnumerable<T> actual, string what)
    {
        var (a, b) = (expected.ToList(), actual.ToList());
        if (!a.SequenceEqual(b)) throw new BrokenPromiseException($"{what}: [{string.Join(" | ", a)}] became [{string.Join(" | ", b)}]");
    }
}
