using System.Buffers;

namespace AmbientMesh.Hbone;

/// <summary>Arrays for the byte path in four sizes, kept across bursts and given back when they are no longer needed.</summary>
/// <remarks>The shared pool of the runtime drops large arrays at every full collection, which shows as megabytes allocated under steady load. Here a
/// size keeps what it needed at its busiest in the last interval and frees the rest.</remarks>
internal static class BytePool
{
    private static readonly TimeSpan TrimEvery = TimeSpan.FromSeconds(10);
    private static readonly Shelf[] Shelves = [new(4 * 1024), new(16 * 1024), new(64 * 1024), new(256 * 1024), new(512 * 1024)];

    /// <summary>Bytes lying unused in the pool.</summary>
    public static long IdleBytes => Shelves.Sum(s => s.IdleBytes);

    public static byte[] Rent(int atLeast)
    {
        foreach (var shelf in Shelves)
            if (atLeast <= shelf.Size) return shelf.Take();
        return ArrayPool<byte>.Shared.Rent(atLeast);
    }

    public static void Return(byte[] array)
    {
        foreach (var shelf in Shelves)
        {
            if (array.Length != shelf.Size) continue;
            shelf.Put(array);
            return;
        }
        if (array.Length > 0) ArrayPool<byte>.Shared.Return(array);
    }

    private sealed class Shelf(int size)
    {
        private readonly Lock _gate = new();
        private readonly Stack<byte[]> _free = new();
        private int _leastFree;   // arrays nobody needed since the last trim
        private Timer? _trim;
        private bool _armed;

        public int Size => size;

        public long IdleBytes
        {
            get { lock (_gate) return (long)_free.Count * size; }
        }

        public byte[] Take()
        {
            lock (_gate)
            {
                if (_free.TryPop(out var array))
                {
                    _leastFree = Math.Min(_leastFree, _free.Count);
                    return array;
                }
            }
            return GC.AllocateUninitializedArray<byte>(size);
        }

        public void Put(byte[] array)
        {
            lock (_gate)
            {
                _free.Push(array);
                if (_armed) return;
                _armed = true;
                _leastFree = _free.Count;
                _trim ??= new Timer(static s => ((Shelf)s!).Trim(), this, Timeout.Infinite, Timeout.Infinite);
                _trim.Change(TrimEvery, Timeout.InfiniteTimeSpan);
            }
        }

        private void Trim()
        {
            lock (_gate)
            {
                for (; _leastFree > 0; _leastFree--) _free.Pop();
                _leastFree = _free.Count;
                _armed = _free.Count > 0;
                if (_armed) _trim!.Change(TrimEvery, Timeout.InfiniteTimeSpan);
            }
        }
    }
}
