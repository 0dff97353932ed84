using System.Globalization;
using System.Text;

namespace AmbientMesh.Lab.Api.CustomResources.Cel;

/// <summary>An expression this evaluator cannot read or evaluate; the rule then counts as not checked.</summary>
internal sealed class CelException(string message) : Exception(message);

internal enum CelToken
{
    End,
    Name,
    Symbol,
    Text,
    Integer,
    Real,
}

/// <summary>Splits a CEL expression into tokens.</summary>
internal static class CelLexer
{
    private static readonly string[] Symbols = ["==", "!=", "<=", ">=", "&&", "||", "(", ")", "[", "]", "{", "}", ".", ",", "?", ":", "+", "-", "*", "/", "%", "!", "<", ">"];

    public static List<(CelToken Kind, string Text)> Read(string source)
    {
        var tokens = new List<(CelToken, string)>();
        for (var i = 0; i < source.Length;)
        {
            var c = source[i];
            if (char.IsWhiteSpace(c))
            {
                i++;
            }
            else if (c is '"' or '\'' || (c is 'r' or 'R' && i + 1 < source.Length && source[i + 1] is '"' or '\''))
            {
                tokens.Add((CelToken.Text, Quoted(source, ref i)));
            }
            else if (char.IsAsciiDigit(c))
            {
                tokens.Add(Number(source, ref i));
            }
            else if (char.IsAsciiLetter(c) || c == '_')
            {
                var start = i;
                while (i < source.Length && (char.IsAsciiLetterOrDigit(source[i]) || source[i] == '_')) i++;
                tokens.Add((CelToken.Name, source[start..i]));
            }
            else
            {
                var at = i;
                var symbol = Array.Find(Symbols, s => string.CompareOrdinal(source, at, s, 0, s.Length) == 0) ?? throw new CelException($"unexpected '{c}' at {i}");
                tokens.Add((CelToken.Symbol, symbol));
                i += symbol.Length;
            }
        }
        tokens.Add((CelToken.End, ""));
        return tokens;
    }

    private static (CelToken, string) Number(string source, ref int i)
    {
        var start = i;
        if (source[i] == '0' && i + 1 < source.Length && source[i + 1] is 'x' or 'X')
        {
            i += 2;
            while (i < source.Length && char.IsAsciiHexDigit(source[i])) i++;
            return (CelToken.Integer, long.Parse(source.AsSpan(start + 2, i - start - 2), NumberStyles.HexNumber, CultureInfo.InvariantCulture).ToString());
        }
        while (i < source.Length && (char.IsAsciiDigit(source[i]) || (source[i] == '.' && i + 1 < source.Length && char.IsAsciiDigit(source[i + 1])) || source[i] is 'e' or 'E')) i++;
        var text = source[start..i];
        if (i < source.Length && source[i] is 'u' or 'U') i++;
        return (text.AsSpan().IndexOfAny('.', 'e', 'E') >= 0 ? CelToken.Real : CelToken.Integer, text);
    }

    private static string Quoted(string source, ref int i)
    {
        var raw = source[i] is 'r' or 'R';
        if (raw) i++;
        var quote = source[i].ToString();
        if (i + 2 < source.Length && source[i + 1] == source[i] && source[i + 2] == source[i]) quote = new string(source[i], 3);
        i += quote.Length;
        var text = new StringBuilder();
        while (true)
        {
            if (i >= source.Length) throw new CelException("unterminated text");
            if (string.CompareOrdinal(source, i, quote, 0, quote.Length) == 0)
            {
                i += quote.Length;
                return text.ToString();
            }
            if (source[i] == '\\' && !raw)
            {
                i++;
                text.Append(source[i] switch { 'n' => '\n', 't' => '\t', 'r' => '\r', var other => other });
                i++;
            }
            else
            {
                text.Append(source[i++]);
            }
        }
    }
}
