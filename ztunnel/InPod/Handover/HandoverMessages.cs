using System.Globalization;
using System.Text;
using AmbientMesh.Linux;

namespace AmbientMesh.Ztunnel.InPod.Handover;

/// <summary>What two proxies of one node say to each other, one packet each: a question for one pod's sockets, an answer with their names and descriptors.</summary>
/// <example><code>
/// HANDOVER/1 4 4026532311                     device and inode of the pod's namespace, decimal
/// HANDOVER/1 tcp/15008 tcp/15006 tcp/15001    and as many descriptors, in this order
/// </code></example>
internal static class HandoverMessages
{
    public const int MaxBytes = 1024;
    private const string Version = "HANDOVER/1";

    public static byte[] Question(NamespaceId pod) => Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{Version} {pod.Device} {pod.Inode}"));

    public static byte[] Answer(IEnumerable<string> names) => Encoding.ASCII.GetBytes(string.Join(' ', names.Prepend(Version)));

    /// <summary>Null when the packet is no question of this version.</summary>
    public static NamespaceId? ReadQuestion(ReadOnlySpan<byte> packet)
    {
        var words = Words(packet);
        return words is [_, var device, var inode] && ulong.TryParse(device, NumberStyles.None, CultureInfo.InvariantCulture, out var dev)
            && ulong.TryParse(inode, NumberStyles.None, CultureInfo.InvariantCulture, out var ino) ? new NamespaceId(dev, ino) : null;
    }

    /// <summary>The names, in the order of the descriptors; null when the packet is no answer of this version.</summary>
    public static string[]? ReadAnswer(ReadOnlySpan<byte> packet) => Words(packet) is { } words ? words[1..] : null;

    private static string[]? Words(ReadOnlySpan<byte> packet) =>
        Encoding.ASCII.GetString(packet).Split(' ') is var words && words[0] == Version ? words : null;
}
