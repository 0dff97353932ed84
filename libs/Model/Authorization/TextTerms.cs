namespace AmbientMesh.Model.Authorization;

/// <summary>What is asked of one text, by number: to equal, to begin or end with something, to be there. Compared ordinally.</summary>
internal sealed class TextTerms(TermNumbers numbers)
{
    private const int StackCharacters = 512;

    private readonly Dictionary<string, int> _exact = new(StringComparer.Ordinal);
    private readonly PrefixTerms _prefixes = new(numbers);
    private readonly PrefixTerms _suffixes = new(numbers);   // written backwards
    private int? _presence;

    public int Number(StringMatch match) => match switch
    {
        StringMatch.Exact exact => numbers.Of(_exact, exact.Value),
        StringMatch.Prefix prefix => _prefixes.Number(prefix.Value),
        StringMatch.Suffix suffix => _suffixes.Number(Backwards(suffix.Value)),
        _ => _presence ??= numbers.Next(),
    };

    public void Complete()
    {
        _prefixes.Complete();
        _suffixes.Complete();
    }

    public void Mark(string value, Span<ulong> held)
    {
        if (_presence is { } presence && value.Length > 0) TermNumbers.Set(held, presence);
        if (_exact.Count > 0 && _exact.TryGetValue(value, out var exact)) TermNumbers.Set(held, exact);
        if (!_prefixes.IsEmpty) _prefixes.Mark(value, held);
        if (_suffixes.IsEmpty) return;
        Span<char> backwards = value.Length <= StackCharacters ? stackalloc char[value.Length] : new char[value.Length];
        value.CopyTo(backwards);
        backwards.Reverse();
        _suffixes.Mark(backwards, held);
    }

    private static string Backwards(string text) => string.Create(text.Length, text, static (characters, from) =>
    {
        from.CopyTo(characters);
        characters.Reverse();
    });
}

/// <summary>Finds all of many prefixes that a text begins with, by one search in a sorted list.</summary>
/// <remarks>Every prefix of a text sorts before it, and all that sorts between them begins with that prefix too. So all prefixes of a text are found by going from the
/// last entry not after it to ever shorter entries that this one begins with.</remarks>
internal sealed class PrefixTerms(TermNumbers numbers)
{
    private readonly Dictionary<string, int> _numbers = new(StringComparer.Ordinal);
    private string[] _sorted = [];
    private int[] _terms = [];
    private int[] _shorter = [];   // the longest other entry that this one begins with; -1 for none

    public bool IsEmpty => _sorted.Length == 0;

    public int Number(string prefix) => numbers.Of(_numbers, prefix);

    public void Complete()
    {
        _sorted = [.. _numbers.Keys.Order(StringComparer.Ordinal)];
        _terms = [.. _sorted.Select(prefix => _numbers[prefix])];
        _shorter = new int[_sorted.Length];
        for (var i = 0; i < _sorted.Length; i++)
        {
            var shorter = i - 1;
            while (shorter >= 0 && !_sorted[i].StartsWith(_sorted[shorter], StringComparison.Ordinal)) shorter = _shorter[shorter];
            _shorter[i] = shorter;
        }
    }

    public void Mark(ReadOnlySpan<char> text, Span<ulong> held)
    {
        var entry = LastNotAfter(text);
        while (entry >= 0 && !text.StartsWith(_sorted[entry])) entry = _shorter[entry];
        for (; entry >= 0; entry = _shorter[entry]) TermNumbers.Set(held, _terms[entry]);
    }

    private int LastNotAfter(ReadOnlySpan<char> text)
    {
        var (low, high) = (0, _sorted.Length);
        while (low < high)
        {
            var middle = (low + high) >>> 1;
            if (_sorted[middle].AsSpan().SequenceCompareTo(text) <= 0) low = middle + 1;
            else high = middle;
        }
        return low - 1;
    }
}
