namespace AmbientMesh.Ztunnel.Dns;

/// <summary>Bounds how many queries wait for something at a time, so that a silent name server cannot use the process up. Thread-safe.</summary>
/// <param name="most">How many may wait.</param>
/// <param name="all">The bound that holds for all pods together; null for that bound itself.</param>
public sealed class QueryLimit(int most, QueryLimit? all)
{
    /// <summary>Of one pod. A resolver library has a handful at a time.</summary>
    public const int PerPod = 256;

    /// <summary>Of all pods of the node; each waiting query has up to three sockets.</summary>
    public const int PerNode = 2048;

    private int _waiting;

    public int Waiting => Volatile.Read(ref _waiting);

    /// <summary>Takes a place; false when there is none. Each place taken is given back by <see cref="Leave"/>.</summary>
    public bool TryEnter()
    {
        if (Interlocked.Increment(ref _waiting) <= most && all?.TryEnter() != false) return true;
        Interlocked.Decrement(ref _waiting);
        return false;
    }

    public void Leave()
    {
        Interlocked.Decrement(ref _waiting);
        all?.Leave();
    }
}
