using System.Buffers.Binary;

namespace AmbientMesh.Fuzz;

/// <summary>Makes new inputs of old ones. Deterministic for a given random source.</summary>
internal sealed class Mutator(Random random, IReadOnlyList<byte[]> words, int maxBytes)
{
    private static readonly long[] Edges = [0, 1, -1, 2, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, 1023, 1024, 16383, 16384, 32767, 32768, 65535, 65536, int.MaxValue, int.MinValue, uint.MaxValue, 1L << 24];

    /// <summary>One to sixteen changes to <paramref name="parent"/>, some of them with parts of <paramref name="other"/>.</summary>
    public byte[] Next(byte[] parent, byte[] other)
    {
        var bytes = new List<byte>(parent);
        for (var changes = 1 << random.Next(5); changes > 0; changes--) Change(bytes, other);
        if (bytes.Count > maxBytes) bytes.RemoveRange(maxBytes, bytes.Count - maxBytes);
        return [.. bytes];
    }

    private void Change(List<byte> bytes, byte[] other)
    {
        if (bytes.Count == 0)
        {
            bytes.Add((byte)random.Next(256));
            return;
        }
        var at = random.Next(bytes.Count);
        switch (random.Next(words.Count > 0 ? 12 : 10))
        {
            case 0: bytes[at] ^= (byte)(1 << random.Next(8)); break;
            case 1: bytes[at] = (byte)random.Next(256); break;
            case 2: bytes[at] += (byte)(random.Next(71) - 35); break;
            case 3: PutNumber(bytes, at); break;
            case 4: bytes.RemoveRange(at, Math.Min(bytes.Count - at, Length(bytes.Count))); break;
            case 5: bytes.InsertRange(at, Fill()); break;
            case 6: Copy(bytes, at, insert: true, bytes); break;
            case 7: Copy(bytes, at, insert: false, bytes); break;
            case 8: Copy(bytes, at, insert: true, other); break;
            case 9: Copy(bytes, at, insert: false, other); break;
            case 10: bytes.InsertRange(at, words[random.Next(words.Count)]); break;
            default: Put(bytes, at, words[random.Next(words.Count)]); break;
        }
    }

    private int Length(int limit) => 1 + random.Next(Math.Min(limit, random.Next(3) switch { 0 => 4, 1 => 32, _ => 512 }));

    private byte[] Fill()
    {
        var bytes = new byte[Length(1024)];
        if (random.Next(2) == 0) random.NextBytes(bytes);
        else Array.Fill(bytes, (byte)random.Next(256));
        return bytes;
    }

    private void PutNumber(List<byte> bytes, int at)
    {
        var number = new byte[8];
        var value = Edges[random.Next(Edges.Length)];
        if (random.Next(2) == 0) BinaryPrimitives.WriteInt64BigEndian(number, value);
        else BinaryPrimitives.WriteInt64LittleEndian(number, value);
        var size = 1 << random.Next(3);
        Put(bytes, at, random.Next(2) == 0 ? number[..size] : number[^size..]);
    }

    private void Copy(List<byte> bytes, int at, bool insert, IReadOnlyList<byte> from)
    {
        if (from.Count == 0) return;
        var start = random.Next(from.Count);
        var part = from.Skip(start).Take(Length(from.Count - start)).ToArray();
        if (insert) bytes.InsertRange(at, part);
        else Put(bytes, at, part);
    }

    private static void Put(List<byte> bytes, int at, byte[] what)
    {
        for (var i = 0; i < what.Length && at + i < bytes.Count; i++) bytes[at + i] = what[i];
    }
}
