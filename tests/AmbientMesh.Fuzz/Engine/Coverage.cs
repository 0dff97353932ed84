namespace AmbientMesh.Fuzz;

/// <summary>Which edges of the code the input under way has taken; <see cref="Instrumentation"/> puts a call to <see cref="Hit"/> into every basic block.</summary>
/// <remarks>As afl does it: an edge is two blocks that follow each other, counted in a map that may collide. Hot: no check, no lock.</remarks>
public static class Coverage
{
    internal const int Size = 1 << 15;

    private static readonly byte[] Map = new byte[Size];
    private static readonly byte[] Seen = new byte[Size];   // per edge, the classes of counts ever met, one bit each
    private static int _previous;

    /// <summary>Called by instrumented code at the beginning of a block.</summary>
    public static void Hit(int block)
    {
        Map[(block ^ _previous) & (Size - 1)]++;
        _previous = block >> 1;
    }

    internal static void Begin()
    {
        Array.Clear(Map);
        _previous = 0;
    }

    /// <summary>Whether the input took an edge, or an order of magnitude of repetitions, that none took before; remembers it.</summary>
    internal static bool TakeNews()
    {
        var news = false;
        for (var at = 0; at < Size; at += sizeof(ulong))
        {
            if (BitConverter.ToUInt64(Map, at) == 0) continue;
            for (var i = at; i < at + sizeof(ulong); i++)
            {
                var bit = Class(Map[i]);
                if ((Seen[i] | bit) == Seen[i]) continue;
                Seen[i] |= bit;
                news = true;
            }
        }
        return news;
    }

    /// <summary>Edges taken so far by any input.</summary>
    internal static int Edges => Seen.Count(classes => classes != 0);

    private static byte Class(byte count) => count switch
    {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        < 8 => 8,
        < 16 => 16,
        < 32 => 32,
        < 128 => 64,
        _ => 128,
    };
}
