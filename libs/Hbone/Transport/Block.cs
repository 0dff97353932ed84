
namespace AmbientMesh.Hbone;

/// <summary>A pooled piece of memory with a reference count: the connection reader fills it, streams may keep parts of it until they are consumed.</summary>
/// <remarks>Per-byte speed: renting and releasing allocate nothing once warm. The array goes back to the pool with the last reference.</remarks>
internal sealed class Block
{
    public const int Small = 16 * 1024;
    public const int Medium = 64 * 1024;
    public const int Large = 256 * 1024;

    private const int MaxIdleShells = 4096;
    private static readonly Lock Gate = new();
    private static readonly Stack<Block> Shells = new();   // Block objects without memory; a few dozen bytes each

    private int _references;

    private Block() { }

    public byte[] Array { get; private set; } = [];

    /// <summary>A block of at least <paramref name="size"/> bytes with one reference.</summary>
    public static Block Rent(int size)
    {
        Block? block;
        lock (Gate)
        {
            if (!Shells.TryPop(out block)) block = new Block();
        }
        block.Array = BytePool.Rent(size);
        block._references = 1;
        return block;
    }

    public bool IsShared => Volatile.Read(ref _references) > 1;

    public void Retain() => Interlocked.Increment(ref _references);

    public void Release()
    {
        if (Interlocked.Decrement(ref _references) != 0) return;
        BytePool.Return(Array);
        Array = [];
        lock (Gate)
        {
            if (Shells.Count < MaxIdleShells) Shells.Push(this);
        }
    }
}
