using System.Globalization;

namespace AmbientMesh.Lab.Api.CustomResources.Cel;

/// <summary>A parsed expression.</summary>
internal abstract record CelNode
{
    public sealed record Literal(object? Value) : CelNode;
    public sealed record Variable(string Name) : CelNode;
    public sealed record Member(CelNode Target, string Name) : CelNode;
    public sealed record Index(CelNode Target, CelNode Key) : CelNode;
    /// <summary>A function, or a method when <paramref name="Target"/> is not null.</summary>
    public sealed record Call(CelNode? Target, string Name, IReadOnlyList<CelNode> Arguments) : CelNode;
    public sealed record ListOf(IReadOnlyList<CelNode> Items) : CelNode;
    public sealed record MapOf(IReadOnlyList<(CelNode Key, CelNode Value)> Entries) : CelNode;
    public sealed record Unary(string Operator, CelNode Operand) : CelNode;
    public sealed record Binary(string Operator, CelNode Left, CelNode Right) : CelNode;
    public sealed record Choice(CelNode Condition, CelNode Then, CelNode Else) : CelNode;
}

/// <summary>Parses the Common Expression Language by its precedence: ?: || &amp;&amp; relations + * unary members.</summary>
internal sealed class CelParser
{
    private static readonly string[][] Levels = [["||"], ["&&"], ["==", "!=", "<", "<=", ">", ">=", "in"], ["+", "-"], ["*", "/", "%"]];
    private readonly List<(CelToken Kind, string Text)> _tokens;
    private int _at;

    private CelParser(string source) => _tokens = CelLexer.Read(source);

    /// <summary>Throws <see cref="CelException"/> for what it cannot read.</summary>
    public static CelNode Parse(string source)
    {
        var parser = new CelParser(source);
        var node = parser.Expression();
        return parser._tokens[parser._at].Kind == CelToken.End ? node : throw new CelException($"unexpected '{parser._tokens[parser._at].Text}'");
    }

    private bool IsSymbol(string text) => _tokens[_at] is { Kind: CelToken.Symbol or CelToken.Name } t && t.Text == text;

    private bool Take(string symbol)
    {
        if (!IsSymbol(symbol) || _tokens[_at].Kind == CelToken.Name) return false;
        _at++;
        return true;
    }

    private void Expect(string symbol)
    {
        if (!Take(symbol)) throw new CelException($"expected '{symbol}', found '{_tokens[_at].Text}'");
    }

    private CelNode Expression()
    {
        var condition = Binary(0);
        if (!Take("?")) return condition;
        var then = Expression();
        Expect(":");
        return new CelNode.Choice(condition, then, Expression());
    }

    private CelNode Binary(int level)
    {
        if (level == Levels.Length) return Unary();
        var left = Binary(level + 1);
        while (Array.Find(Levels[level], IsSymbol) is { } op)
        {
            _at++;
            left = new CelNode.Binary(op, left, Binary(level + 1));
        }
        return left;
    }

    private CelNode Unary()
    {
        if (Take("!")) return new CelNode.Unary("!", Unary());
        return Take("-") ? new CelNode.Unary("-", Unary()) : Postfix(Primary());
    }

    private CelNode Postfix(CelNode node)
    {
        while (true)
        {
            if (Take("."))
            {
                if (Take("?")) throw new CelException("optional fields are not evaluated");
                var name = Name();
                node = Take("(") ? new CelNode.Call(node, name, Arguments(")")) : new CelNode.Member(node, name);
            }
            else if (Take("["))
            {
                var key = Expression();
                Expect("]");
                node = new CelNode.Index(node, key);
            }
            else
            {
                return node;
            }
        }
    }

    private string Name()
    {
        var token = _tokens[_at++];
        return token.Kind == CelToken.Name ? token.Text : throw new CelException($"expected a name, found '{token.Text}'");
    }

    private List<CelNode> Arguments(string end)
    {
        var arguments = new List<CelNode>();
        while (!Take(end))
        {
            arguments.Add(Expression());
            if (!Take(","))
            {
                Expect(end);
                break;
            }
        }
        return arguments;
    }

    private CelNode Primary()
    {
        var token = _tokens[_at++];
        switch (token.Kind)
        {
            case CelToken.Text:
                return new CelNode.Literal(token.Text);
            case CelToken.Integer:
                return new CelNode.Literal(long.Parse(token.Text, CultureInfo.InvariantCulture));
            case CelToken.Real:
                return new CelNode.Literal(double.Parse(token.Text, CultureInfo.InvariantCulture));
            case CelToken.Name:
                if (token.Text is "true" or "false") return new CelNode.Literal(token.Text == "true");
                if (token.Text == "null") return new CelNode.Literal(null);
                return Take("(") ? new CelNode.Call(null, token.Text, Arguments(")")) : new CelNode.Variable(token.Text);
            case CelToken.Symbol when token.Text == "(":
                var inner = Expression();
                Expect(")");
                return inner;
            case CelToken.Symbol when token.Text == "[":
                return new CelNode.ListOf(Arguments("]"));
            case CelToken.Symbol when token.Text == "{":
                return Map();
            default:
                throw new CelException($"unexpected '{token.Text}'");
        }
    }

    private CelNode.MapOf Map()
    {
        var entries = new List<(CelNode, CelNode)>();
        while (!Take("}"))
        {
            var key = Expression();
            Expect(":");
            entries.Add((key, Expression()));
            if (!Take(","))
            {
                Expect("}");
                break;
            }
        }
        return new CelNode.MapOf(entries);
    }
}
