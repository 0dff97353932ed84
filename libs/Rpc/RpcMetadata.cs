using System.Collections;
using System.Text;

namespace AmbientMesh.Rpc;

/// <summary>Headers or trailers of a call in order; keys are lower case and may repeat, values of keys ending in <c>-bin</c> are bytes in base64.</summary>
public sealed class RpcMetadata : IEnumerable<KeyValuePair<string, string>>
{
    private const string BinarySuffix = "-bin";
    private readonly List<KeyValuePair<string, string>> _entries = [];

    public int Count => _entries.Count;

    /// <summary>Adds a text entry.</summary>
    /// <exception cref="ArgumentException">A key outside a-z 0-9 _ - ., or a value that is not printable ASCII.</exception>
    public void Add(string key, string value)
    {
        if (!IsKey(key)) throw new ArgumentException($"'{key}' is not a metadata key; only a-z 0-9 _ - . are allowed", nameof(key));
        if (value.Any(c => c is < ' ' or > '~')) throw new ArgumentException($"the value of metadata '{key}' is not printable ASCII", nameof(value));
        _entries.Add(new(key, value));
    }

    /// <summary>Adds bytes under a key that ends in <c>-bin</c>.</summary>
    public void Add(string key, ReadOnlySpan<byte> value)
    {
        if (!key.EndsWith(BinarySuffix, StringComparison.Ordinal)) throw new ArgumentException($"binary metadata '{key}' must end in -bin", nameof(key));
        Add(key, Convert.ToBase64String(value).TrimEnd('='));
    }

    /// <summary>The first value of <paramref name="key"/>, null when there is none.</summary>
    public string? Get(string key)
    {
        foreach (var entry in _entries)
            if (entry.Key == key) return entry.Value;
        return null;
    }

    /// <summary>The bytes of a <c>-bin</c> entry, padded or not; null when absent or not base64.</summary>
    public byte[]? GetBytes(string key)
    {
        var text = Get(key);
        if (text is null) return null;
        var padded = text.PadRight((text.Length + 3) / 4 * 4, '=');
        var bytes = new byte[padded.Length / 4 * 3];
        return Convert.TryFromBase64String(padded, bytes, out var written) ? bytes[..written] : null;
    }

    public IEnumerator<KeyValuePair<string, string>> GetEnumerator() => _entries.GetEnumerator();
    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    public override string ToString()
    {
        var text = new StringBuilder();
        foreach (var (key, value) in _entries) text.Append(key).Append(": ").Append(key == "authorization" ? "…" : value).Append('\n');
        return text.ToString();
    }

    /// <summary>Adds what a peer sent, which the HTTP layer has already checked.</summary>
    internal void AddReceived(string key, string value) => _entries.Add(new(key, value));

    private static bool IsKey(string key) => key.Length > 0 && key.All(c => c is (>= 'a' and <= 'z') or (>= '0' and <= '9') or '_' or '-' or '.');
}
