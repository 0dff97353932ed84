namespace AmbientMesh.Cli.Reaching;

/// <summary>Reads a pod's name as people write it: <c>namespace/name</c>, <c>name.namespace</c> as istioctl has it, or <c>name</c>.</summary>
public static class PodName
{
    public static (string Namespace, string Name) Parse(string text, string defaultNamespace)
    {
        if (text.StartsWith("pod/", StringComparison.Ordinal)) text = text["pod/".Length..];
        if (text.IndexOf('/') is var slash and > 0) return (text[..slash], text[(slash + 1)..]);
        // A namespace has no dot, so the last one separates.
        return text.LastIndexOf('.') is var dot and > 0 ? (text[(dot + 1)..], text[..dot]) : (defaultNamespace, text);
    }
}
