namespace AmbientMesh.Kubernetes.Tests;

/// <summary>Closes a JSON text which a recording cut, after the last value that is whole, so that what was kept can be read.</summary>
internal static class ShortenedJson
{
    public static string Close(string text)
    {
        var open = new Stack<char>();
        var (end, closers) = (0, "");
        var inString = false;
        var isKey = false;
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            if (inString)
            {
                if (c == '\\') i++;
                else if (c == '"')
                {
                    inString = false;
                    if (!isKey) Keep(i + 1);
                }
                continue;
            }
            switch (c)
            {
                case '"':
                    inString = true;
                    isKey = open.Count > 0 && open.Peek() == '}' && text[..i].TrimEnd() is [.., '{' or ','];
                    break;
                case '{' or '[':
                    open.Push(c == '{' ? '}' : ']');
                    Keep(i + 1);
                    break;
                case '}' or ']':
                    open.Pop();
                    Keep(i + 1);
                    break;
                case ',':
                    Keep(i);   // a number, true, false or null ended before it
                    break;
            }
        }
        return text[..end] + closers;

        void Keep(int until) => (end, closers) = (until, string.Concat(open));
    }
}
